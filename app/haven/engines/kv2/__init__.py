"""The secrets engine KV version 2: versioned values with their metadata."""

from haven.engines.kv2.engine import Kv2

__all__ = ["Kv2"]
