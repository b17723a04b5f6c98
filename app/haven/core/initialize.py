"""`sys/init`: make everything a fresh cluster needs, and store it in one commit.

Two nodes may try at once; `core/keyring` is only written if absent, so one of them wins as a whole.
"""

import base64
import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from haven.barrier.barrier import persisted
from haven.barrier.keyring import Keyring, new_key
from haven.barrier.seals import SealConfiguration, SealType, wrap
from haven.core import layout
from haven.core.sealing import ShareRecord, encoded, integer, split
from haven.errors import NotApplied, OutcomeUnknown, RequestError, StorageError
from haven.storage.base import Operation, Put, PutIfAbsent, Storage

InitialEntries = Callable[[float], tuple[str, list[tuple[str, bytes]]]]
"""Takes the time since the epoch; returns the root token, and the plaintext entries by storage path."""

ALREADY = "Vault is already initialized"
LINK_KEY_BYTES = 32

_ATTEMPTS = 3
_BARRIER_PARAMETERS = ("secret_shares", "secret_threshold", "pgp_keys")
_RECOVERY_PARAMETERS = ("recovery_shares", "recovery_threshold", "recovery_pgp_keys")
_NO_PGP = "PGP keys are not supported by this server"


@dataclass(frozen=True, slots=True)
class InitRequest:
    """A validated body of `sys/init`; no recovery record: nobody will hold recovery shares."""

    seal: ShareRecord
    recovery: ShareRecord | None


@dataclass(frozen=True, slots=True)
class NewCluster:
    """What to store, and what to tell the operator once it is stored."""

    operations: Sequence[Operation] = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False)


def parse(body: Mapping[str, Any], kind: SealType) -> InitRequest:
    """Check the body against the node's seal; raises `RequestError` with Vault's texts."""
    foreign = _BARRIER_PARAMETERS if kind is SealType.STATIC else _RECOVERY_PARAMETERS
    given = [name for name in foreign if body.get(name)]
    if given:
        raise RequestError(400, f"parameters {','.join(given)} not applicable to seal type {kind.value}")
    if body.get("root_token_pgp_key"):
        raise RequestError(400, _NO_PGP)
    prefix, what = ("recovery", "recovery") if kind is SealType.STATIC else ("secret", "seal")
    record = ShareRecord(
        SealType.SHAMIR, integer(body, f"{prefix}_shares"), integer(body, f"{prefix}_threshold")
    )
    pgp_keys = body.get("recovery_pgp_keys" if kind is SealType.STATIC else "pgp_keys") or []
    if kind is SealType.STATIC and not record.shares and not record.threshold and not pgp_keys:
        return InitRequest(ShareRecord(SealType.STATIC, 1, 1), None)
    problem = record.problem()
    if not problem and pgp_keys and len(pgp_keys) != record.shares:
        problem = "count mismatch between number of provided PGP keys and number of shares"
    if problem:
        raise RequestError(400, f"invalid {what} configuration: {problem}")
    if pgp_keys:
        raise RequestError(400, _NO_PGP)
    if kind is SealType.STATIC:
        return InitRequest(ShareRecord(SealType.STATIC, 1, 1), record)
    return InitRequest(record, None)


def prepare(request: InitRequest, seal: SealConfiguration, now: float, entries: InitialEntries) -> NewCluster:
    """Make the keys and all writes of a new cluster; `now` in seconds since the epoch."""
    keyring = Keyring.fresh(now)
    token, initial = entries(now)
    plain = [*initial, *_identity()]
    answer: dict[str, Any] = {"keys": [], "keys_base64": [], "root_token": token}
    operations: list[Operation] = [Put(layout.SEAL_CONFIG, request.seal.encode())]
    if seal.type is SealType.STATIC:
        unseal_key = seal.key
        operations += _recovery(request.recovery, seal.key, answer)
    else:
        unseal_key = bytes(new_key())
        plain.append((layout.SHAMIR_KEK, unseal_key))
        answer.update(encoded(split(unseal_key, request.seal)))
    operations.append(Put(layout.UNSEAL_KEYS, wrap(unseal_key, layout.UNSEAL_KEYS, bytes(keyring.root))))
    operations += [Put(path, keyring.encrypt(path, plaintext)) for path, plaintext in plain]
    for write in persisted(keyring):
        first = isinstance(write, Put) and write.key == layout.KEYRING
        operations.append(PutIfAbsent(write.key, write.value) if first and isinstance(write, Put) else write)
    keyring.wipe()
    return NewCluster(operations, answer)


def _identity() -> list[tuple[str, bytes]]:
    name = f"haven-cluster-{secrets.token_hex(4)}"
    info = {"name": name, "id": str(uuid.uuid4())}
    return [
        (layout.CLUSTER_INFO, json.dumps(info).encode()),
        (layout.LINK_KEY, secrets.token_bytes(LINK_KEY_BYTES)),
    ]


def _recovery(record: ShareRecord | None, key: bytes, answer: dict[str, Any]) -> list[Operation]:
    if record is None:
        return []
    recovery_key = bytes(new_key())
    shares = split(recovery_key, record)
    answer["recovery_keys"] = [share.hex() for share in shares]
    answer["recovery_keys_base64"] = [base64.b64encode(share).decode() for share in shares]
    return [
        Put(layout.RECOVERY_CONFIG, record.encode()),
        Put(layout.RECOVERY_KEY, wrap(key, layout.RECOVERY_KEY, recovery_key)),
    ]


async def store(cluster: NewCluster, storage: Storage) -> None:
    """Commit a new cluster; raises `RequestError` if another node was first.

    No fence is needed, as there is no holder before there are keys. A commit of unknown outcome is sent
    again: it is conditional as a whole, so it can be applied once only, and a refusal is settled by
    reading whose keyring is there. Raises `OutcomeUnknown` if that stays open, and other storage errors.
    """
    mine = next(operation for operation in cluster.operations if isinstance(operation, PutIfAbsent))
    unknown: OutcomeUnknown | None = None
    for _ in range(_ATTEMPTS):
        try:
            await storage.commit(cluster.operations, None)
        except OutcomeUnknown as error:
            unknown = error
        except NotApplied as error:
            await _refused(storage, mine, error, unknown)
            return
        else:
            return
    raise OutcomeUnknown("initialisation may have been stored") from unknown


async def _refused(
    storage: Storage, mine: PutIfAbsent, refusal: NotApplied, unknown: OutcomeUnknown | None
) -> None:
    """Return if an earlier try of ours was applied; else raise why this one was not."""
    try:
        found = await storage.get(mine.key)
    except StorageError:
        found = None
    if found == mine.value:
        return
    if found is not None:
        raise RequestError(400, ALREADY) from refusal
    if unknown is not None:
        raise OutcomeUnknown("initialisation may have been stored") from refusal
    raise refusal
