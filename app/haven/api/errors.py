"""The one table from the domain's errors to HTTP.

Two statuses are promises: 503 says that the request was surely not executed, 502 that nobody knows.
"""

import logging
import traceback
from types import TracebackType

from haven.api import replies
from haven.errors import (
    NotActive,
    NotApplied,
    OutcomeUnknown,
    RequestError,
    Sealed,
    Unavailable,
    ValueTooLarge,
)
from haven.ha.forwarding import RawResponse

log = logging.getLogger("haven.api")

RETRY = {"Retry-After": "1"}
SEALED = "Vault is sealed"
NO_ACTIVE = "local node not active but active cluster node not found"
NO_ACTIVE_TO_NAME = "no active Vault instance found"
NOT_ACTIVE_ALONE = "node is not active"
INTERNAL = "internal error"
NOT_APPLIED = "the storage did not take the write: nothing was changed, send the request again"
UNAVAILABLE = "the storage does not answer: nothing was changed, send the request again"
UNKNOWN = (
    "the outcome of this request is unknown: it may or may not have been executed; "
    "read what it would have changed before sending it again"
)


def translate(error: Exception) -> RawResponse:
    """Turn any error into an answer; one that is not of the domain is logged and tells the client nothing."""
    match error:
        case RequestError():
            sealed = any(SEALED in text for text in error.errors)
            return replies.errors(503 if sealed else error.status, error.errors)
        case ValueTooLarge():
            return replies.errors(413, [str(error)])
        case Sealed():
            return replies.errors(503, [SEALED])
        case NotActive():
            return not_active()
        case NotApplied():
            return replies.errors(503, [NOT_APPLIED], RETRY)
        case Unavailable():
            return replies.errors(503, [UNAVAILABLE], RETRY)
        case OutcomeUnknown():
            log.warning("outcome unknown told=502")
            return replies.errors(502, [UNKNOWN])
    log.error("request failed error=%s at=%s", type(error).__name__, _location(error.__traceback__))
    return replies.errors(500, [INTERNAL])


def not_active(text: str = NO_ACTIVE) -> RawResponse:
    """Answer that nobody could execute the request, and nobody has."""
    return replies.errors(503, [text], RETRY)


def _location(trace: TracebackType | None) -> str:
    """Name where an error came from: places only, since messages and locals may hold secrets."""
    frames = traceback.extract_tb(trace)
    if not frames:
        return "unknown"
    ours = [frame for frame in frames if "haven" in frame.filename] or frames
    return f"{ours[-1].filename}:{ours[-1].lineno}"
