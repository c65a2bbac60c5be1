"""The resources of this process: no core files, as many descriptors as it may have, and when garbage is collected."""

from __future__ import annotations

import gc
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

DESCRIPTOR_RESERVE = 64
"""How many descriptors clients may not take: for Redis, a restarted Valkey, the database and identity providers."""

YOUNG_OBJECTS = 50_000
"""How many objects more than at the last collection may exist before the youngest generation is collected."""

OLD_COLLECTIONS = 100
"""After how many such collections all objects may be looked at. Python waits longer where few of them are new."""

_NO_MIDDLE = -1  # the middle generation is collected with the youngest where that was done more than so many times

# The allocator of GNU's C library ("Memory Allocation Tunables") fills memory with this byte when it is freed, except
# what its cache for threads takes: there are no such caches then.
_FILL_FREED_MEMORY = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"

# A variable of our own, as the C library may remove or change its own one: the program must not start again and again.
_FILLED = "EVANESCE_FILLS_MEMORY"

_RESERVED_SHARE = 4  # the reserve is at most a fourth of all descriptors, where the limit is very low
_MOST_DESCRIPTORS = 1_048_576  # stands for an unlimited number: by default Linux allows a process no more
_MAC_DESCRIPTORS = 10_240  # OPEN_MAX: macOS refuses a higher soft limit, whatever the hard one is


def forbid_core_files() -> None:
    """Make sure that a crash of this process, or of a child, does not write its memory to a file.

    A core file holds messages and secrets. A limit of 0 does not apply to a core file that is piped to a program (as
    on most Linux distributions), so on Linux the memory is excluded from that too.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with suppress(OSError):  # no /proc in this container: only the limit applies
            Path("/proc/self/coredump_filter").write_text("0")


def with_memory_filled(*, python: bool = False) -> dict[str, str]:
    """Return the environment of this process for a child on Linux whose freed memory is overwritten.

    Settings of the C library that this process has are kept, but ours count. `python`: also that of Python's objects.
    """
    tunables = ":".join(filter(None, (os.environ.get("GLIBC_TUNABLES"), _FILL_FREED_MEMORY)))
    return os.environ | {"GLIBC_TUNABLES": tunables} | ({"PYTHONMALLOC": "malloc", _FILLED: "1"} if python else {})


def fills_memory() -> bool:
    """Return whether this process was started to overwrite what it frees, or cannot, as this is not Linux."""
    return sys.platform != "linux" or _FILLED in os.environ


def raise_descriptor_limit() -> None:
    """Raise this process's soft limit of open descriptors to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if sys.platform != "darwin" else min(_number(hard), _MAC_DESCRIPTORS)
    if _number(soft) < _number(wanted):
        with suppress(OSError, ValueError):  # a sandbox may refuse: the soft limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> int:
    """Return how many descriptors this process may have open."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def client_descriptors(limit: int) -> int:
    """Return how many of `limit` descriptors clients may take: all but the reserve."""
    return limit - min(DESCRIPTOR_RESERVE, limit // _RESERVED_SHARE)


def lowest_free_descriptor(any_open: int) -> int | None:
    """Return the lowest free descriptor, None if there is none. `any_open` is a descriptor that is open.

    The kernel assigns the lowest free descriptor. So at least this many are in use: they need not be counted.
    """
    try:
        free = os.dup(any_open)
    except OSError:
        return None
    os.close(free)
    return free


def tune_gc() -> None:
    """Tune the garbage collector for many connections. Call it after all imports, before the first connection.

    By default the youngest generation is collected whenever 700 objects more exist, and an object that survives two
    collections counts as old. With 4,000 connections in 1,000 busy rooms, more than half of the CPU time went into
    collections that found almost nothing, because reference counts free almost every object here. Imported modules
    are never freed, so they are excluded from all collections.

    An object that survives one collection counts as old here. Where thousands of clients come back at once, almost all
    objects survive: to look at them a second time, in a collection of the ten last generations together, took as long
    as the first time, and stopped the server for a fifth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, _NO_MIDDLE, OLD_COLLECTIONS)


def _number(limit: int) -> int:
    return _MOST_DESCRIPTORS if limit == resource.RLIM_INFINITY else limit
