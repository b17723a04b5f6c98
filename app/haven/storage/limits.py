"""What no storage takes, checked before anything is sent.

Sizes, because a server may drop the connection of a too large request unread. Keys, because Consul would
store some that its own HTTP paths cannot name again, and every storage should know the same ones.
"""

from collections.abc import Sequence

from haven.errors import NotApplied, ValueTooLarge
from haven.storage.base import Delete, Limits, Operation


def check_commit(operations: Sequence[Operation], limits: Limits) -> None:
    """Raise `ValueTooLarge`, or `NotApplied` for too many operations or a key that cannot be."""
    if len(operations) > limits.operations:
        raise NotApplied(f"{len(operations)} operations exceed the storage limit of {limits.operations}")
    if not all(can_exist(operation.key) for operation in operations):
        raise NotApplied("a key is not printable, or has an empty, '.' or '..' segment")
    sizes = [0 if isinstance(operation, Delete) else len(operation.value) for operation in operations]
    if max(sizes, default=0) > limits.value_bytes:
        raise ValueTooLarge(limits.value_bytes)
    if sum(sizes) > limits.commit_bytes:
        raise ValueTooLarge(limits.commit_bytes)


def can_exist(key: str) -> bool:
    """Tell whether a storage may hold this key: printable, and no segment that HTTP servers clean away."""
    segments = key.removesuffix("/").split("/")
    return key.isprintable() and not any(segment in {"", ".", ".."} for segment in segments)
