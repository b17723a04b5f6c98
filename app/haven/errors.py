"""The domain's errors: small, translated at two borders (storage in, HTTP out).

Three outcomes of a write are three types: it returned (done), it raised
`NotApplied` (surely not done), or it raised `OutcomeUnknown` (may be done).
"""


class HavenError(Exception):
    """Base of all errors that the domain raises; its text never holds a secret."""


class StorageError(HavenError):
    """Base of what a storage backend raises."""


class NotApplied(StorageError):
    """The write was surely not applied."""


class Fenced(NotApplied):
    """The fence refused the write: the lock is no longer held under that session.

    `holder` is the session that holds the lock now, "" if none, None if unknown.
    """

    def __init__(self, holder: str | None = None) -> None:
        super().__init__("write refused by the fence")
        self.holder = holder


class ConditionFailed(NotApplied):
    """The storage judged the write and refused it: one of its conditions did not hold."""


class ValueTooLarge(NotApplied):
    """The value cannot be held by this storage; `limit` is its largest size in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"value exceeds the storage limit of {limit} bytes")
        self.limit = limit


class OutcomeUnknown(StorageError):
    """The write may or may not have been applied; settle it by reading."""


class Unavailable(StorageError):
    """A read could not be answered: no leader, no connection, deadline over."""


class BarrierError(HavenError):
    """Base of what the barrier raises."""


class Sealed(BarrierError):
    """The barrier is sealed."""

    def __init__(self) -> None:
        super().__init__("Vault is sealed")


class DecryptionFailed(BarrierError):
    """A value does not open under its key and path: wrong key, or tampered with."""


class NotActive(HavenError):
    """This node may not answer now: it holds no valid lease."""


class RequestError(HavenError):
    """A request is refused with an HTTP status and Vault's error texts."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__("; ".join(errors))
        self.status = status
        self.errors = list(errors)


def permission_denied() -> RequestError:
    """Make the error for a missing, bad or insufficient token."""
    return RequestError(403, "permission denied")


def not_found() -> RequestError:
    """Make the error for a read of nothing: 404 and no text."""
    return RequestError(404)
