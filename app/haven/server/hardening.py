"""What the processes of a node ask of the kernel and of Python."""

import ctypes
import gc
import logging
import os
import resource
import sys

log = logging.getLogger("haven.server")

PR_SET_DUMPABLE = 4
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
CAP_IPC_LOCK = 14
SPARE_FILES = 200
"""Descriptors for everything but clients: Consul, peers, the metrics port, files."""


def forbid_dumps() -> None:
    """Keep keys and the environment out of core dumps and other processes' reach; a fork inherits it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("process stays dumpable error=%s", os.strerror(ctypes.get_errno()))


def lock_memory() -> None:
    """Keep keys out of the swap where that is allowed; a fork does not inherit it."""
    if not _may_lock():
        # With a small limit a lock on future memory would make a later allocation fail.
        log.warning("memory not locked, keys may reach the swap hint=raise_the_memlock_ulimit")
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
        log.warning("memory not locked, keys may reach the swap error=%s", os.strerror(ctypes.get_errno()))
        return
    log.info("memory locked")


def tune_interpreter() -> None:
    """Let the event loop wait less for threads: hashing in one would delay the heartbeat."""
    sys.setswitchinterval(0.0005)


def freeze_after_unseal() -> None:
    """Exempt what lives now from garbage collection: halves the longest pause. Call it after each unseal."""
    gc.collect()
    gc.freeze()


def connection_limit(wanted: int) -> int:
    """Raise the limit of open files as far as allowed; return how many connections fit, at most `wanted`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fitting = max(1, hard - SPARE_FILES) if hard != resource.RLIM_INFINITY else wanted
    if fitting < wanted:
        log.warning("connections capped by open files wanted=%d capped=%d", wanted, fitting)
    return min(wanted, fitting)


def _may_lock() -> bool:
    """Tell whether memory may be locked without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return soft == resource.RLIM_INFINITY or _has_capability(CAP_IPC_LOCK)


def _has_capability(number: int) -> bool:
    """Tell whether this process has a capability in effect."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False
