"""The types of secrets engines that can be mounted; how each is made."""

from collections.abc import Mapping

from haven.clock import Clock
from haven.core.logical import Engine
from haven.core.router import Factory
from haven.engines.cubbyhole import Cubbyhole
from haven.engines.kv1 import Kv1
from haven.engines.kv2 import Kv2


def _kv(options: Mapping[str, str], clock: Clock) -> Engine:
    return Kv2(clock) if options.get("version") == "2" else Kv1()


def _cubbyhole(options: Mapping[str, str], clock: Clock) -> Engine:
    return Cubbyhole()


ENGINES: Mapping[str, Factory] = {"kv": _kv, "cubbyhole": _cubbyhole}
"""Pass it to `Running.activate`."""
