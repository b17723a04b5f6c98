"""Refusals that several mounts share, in Vault's words, and the answer to a listing."""

from collections.abc import Sequence

from haven.core import fields
from haven.core.logical import Request, Response
from haven.errors import RequestError, not_found


def unsupported_operation() -> RequestError:
    """Make the error for a verb that a path does not know."""
    return RequestError(405, multiple(["unsupported operation"]))


def unsupported_path() -> RequestError:
    """Make the error for a path that a mount does not know."""
    return RequestError(404, multiple(["unsupported path"]))


def denied() -> RequestError:
    """Make the error for a request that the token's policies do not allow."""
    return RequestError(403, multiple(["permission denied"]))


def listing(names: Sequence[str], request: Request) -> Response:
    """Answer a LIST, paged by `after` and `limit` (OpenBao); raises 404 if there is nothing."""
    after = request.query.get("after", "")
    limit = fields.integer(request.query, "limit") or 0
    page = [name for name in names if name > after] if after else list(names)
    if limit > 0:
        page = page[:limit]
    if not page:
        raise not_found()
    return Response(data={"keys": page})


def multiple(texts: Sequence[str]) -> str:
    """Join several faults as Go's multierror prints them."""
    count = "1 error" if len(texts) == 1 else f"{len(texts)} errors"
    return f"{count} occurred:\n" + "".join(f"\t* {text}\n" for text in texts) + "\n"
