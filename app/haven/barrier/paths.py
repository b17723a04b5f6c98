"""Storage keys that the barrier itself reads and writes; the names are Vault's."""

KEYRING = "core/keyring"
"""All term keys and the root key, encrypted under the root key."""

MASTER = "core/master"
"""The root key, encrypted under the active term: how a standby learns of a rekey."""

UPGRADES = "core/upgrade/"
"""Below it, at `<n>`, the key of term n+1 encrypted under term n: how a standby follows a rotation."""


def upgrade(term: int) -> str:
    """Return where the key that follows `term` is published."""
    return f"{UPGRADES}{term}"
