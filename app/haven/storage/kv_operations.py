"""Consul transactions as values: what each operation looks like, and what a refusal says. No I/O.

Format: Consul's API for `/v1/txn` (1.8: at most 64 operations, body at most 512 kB). Values travel in base64.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import orjson

from haven.errors import ConditionFailed, Fenced, NotApplied, Unavailable
from haven.storage.base import Delete, Operation, Put

TxnOperation = dict[str, dict[str, Any]]

MAX_OPERATIONS = 64
"""Consul 1.8 answers 413 to the 65th (1.14 and later take 128)."""
MAX_BODY_BYTES = 512 * 1024
"""Default of `txn_max_req_len`, compared with the length of the JSON body."""

_ABSENT = "doesn't exist"
_CURRENT_SESSION = re.compile(r'current session "([^"]*)"')


def kv_operation(verb: str, key: str, value: bytes | None = None, **fields: Any) -> TxnOperation:
    """Return an operation with the fields that its verb uses."""
    if value is not None:
        fields["Value"] = b64encode(value).decode()
    return {"KV": {"Verb": verb, "Key": key, **fields}}


def data_operation(prefix: str, operation: Operation) -> TxnOperation:
    """Translate one storage operation; `cas` with index 0 sets only what does not exist."""
    key = prefix + operation.key
    if isinstance(operation, Delete):
        return kv_operation("delete", key)
    if isinstance(operation, Put):
        return kv_operation("set", key, operation.value)
    return kv_operation("cas", key, operation.value, Index=0)


def check_session(key: str, session: str) -> TxnOperation:
    """Refuse the transaction unless this session holds the key."""
    return kv_operation("check-session", key, Session=session)


def body_of(operations: Sequence[TxnOperation]) -> bytes:
    """Return the request's body."""
    return orjson.dumps(operations)


def modify_index(answer: dict[str, Any]) -> int:
    """Return the index that the last operation of a committed transaction gave its key."""
    return int(answer["Results"][-1]["KV"]["ModifyIndex"])


def values_of(answer: dict[str, Any]) -> list[bytes]:
    """Return the values that a transaction of reads brought; Consul gives an empty one as null."""
    return [b64decode(result["KV"]["Value"] or "", validate=True) for result in answer["Results"]]


def absent_operations(answer: dict[str, Any]) -> set[int]:
    """Return which reads of a transaction found no key; raises `Unavailable` for other refusals."""
    failed = {int(error["OpIndex"]): str(error["What"]) for error in answer["Errors"] or ()}
    if not all(_ABSENT in what for what in failed.values()):
        raise Unavailable("Consul refused a transaction of reads")
    return set(failed)


def refusal(body: bytes, fenced: bool) -> NotApplied:
    """Say why Consul rolled a transaction back (409); `fenced` means that operation 0 is the fence.

    Consul names each failed operation. The text of a failed `check-session` names the session that
    holds the key; it says that the key does not exist where nobody ever held it.
    """
    failed = _failed_operations(body)
    if not fenced or 0 not in failed:
        names = ",".join(str(number) for number in sorted(failed))
        return ConditionFailed(f"Consul refused operation {names or 'unknown'} of the transaction")
    named = _CURRENT_SESSION.search(failed[0])
    if named is not None:
        return Fenced(named.group(1))
    return Fenced("" if _ABSENT in failed[0] else None)


def _failed_operations(body: bytes) -> dict[int, str]:
    """Return Consul's text for each operation that failed; none where the body is not Consul's."""
    try:
        return {int(error["OpIndex"]): str(error["What"]) for error in orjson.loads(body)["Errors"]}
    except (ValueError, KeyError, TypeError):
        return {}
