"""What a new cluster begins with."""

import secrets

from haven.core.mount_store import KEY as MOUNTS_KEY
from haven.core.mounts import AUTH, SECRETS, MountEntry, MountTable
from haven.core.policies import DEFAULT_POLICY, PREFIX, encode_policy
from haven.core.token_entry import SALT_KEY, root_token

SALT_BYTES = 32


def initial_entries(now: float) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the root token, and all that must be stored in one commit; `now` is since the epoch."""
    salt = secrets.token_bytes(SALT_BYTES)
    token, entry = root_token(salt, now)
    entries = [
        (SALT_KEY, salt),
        (MOUNTS_KEY, initial_mounts().encode()),
        (f"{PREFIX}default", encode_policy(DEFAULT_POLICY)),
    ]
    entries.extend((put.key, put.value) for put in entry.puts(salt))
    return token, entries


def initial_mounts() -> MountTable:
    """Return the mounts of a new cluster; `secret/` is KV version 2."""
    return MountTable(
        (
            MountEntry.new(
                SECRETS,
                "sys/",
                "system",
                description="system endpoints used for control, policy and debugging",
                seal_wrap=True,
            ),
            MountEntry.new(
                SECRETS,
                "cubbyhole/",
                "cubbyhole",
                description="per-token private secret storage",
                local=True,
            ),
            MountEntry.new(
                SECRETS,
                "secret/",
                "kv",
                description="key/value secret storage",
                options={"version": "2"},
            ),
            MountEntry.new(AUTH, "token/", "token", description="token based credentials"),
        )
    )
