"""Where the core keeps what in storage; the names are Vault's, below the storage's own prefix.

Everything is ciphertext of the barrier but what says otherwise here.
"""

from haven.barrier.paths import KEYRING, MASTER, UPGRADES, upgrade

__all__ = [
    "CLUSTER_INFO",
    "KEYRING",
    "LINK_KEY",
    "MASTER",
    "RECOVERY_CONFIG",
    "RECOVERY_KEY",
    "SEAL_CONFIG",
    "SHAMIR_KEK",
    "UNSEAL_KEYS",
    "UPGRADES",
    "upgrade",
]

SEAL_CONFIG = "core/seal-config"
"""Plain JSON: the seal's type, and into how many shares its key is split."""

UNSEAL_KEYS = "core/hsm/barrier-unseal-keys"
"""The root key, encrypted under the key of the seal: the combined shares, or the static key."""

SHAMIR_KEK = "core/shamir-kek"
"""The combined shares once more: shares offered for a rekey or a root token are compared with it."""

RECOVERY_CONFIG = "core/recovery-config"
"""Plain JSON, static seal only: into how many shares the recovery key is split."""

RECOVERY_KEY = "core/recovery-key"
"""The recovery key, encrypted under the static key: it authorises, but cannot unseal."""

CLUSTER_INFO = "core/cluster/local/info"
"""The cluster's name and id."""

LINK_KEY = "core/cluster/link-key"
"""A secret that only unsealed nodes know and that outlives rotation and rekey; Haven's own."""
