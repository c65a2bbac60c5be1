"""Memory for keys: never swapped, in no core file, not in a child process, and overwritten at the end."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from types import TracebackType

_MCL_CURRENT_FUTURE_ONFAULT = 1 | 2 | 4  # from linux/mman.h; ONFAULT locks a page when it is first used


def lock_process() -> bool:
    """Keep all memory of this process out of swap, present and future; return False where that is not permitted.

    It needs an unlimited RLIMIT_MEMLOCK (`LimitMEMLOCK=infinity` of systemd) or the capability CAP_IPC_LOCK.
    """
    if sys.platform != "linux":
        return False
    return bool(_libc().mlockall(_MCL_CURRENT_FUTURE_ONFAULT) == 0)


class LockedMemory:
    """`size` bytes, all zero. As a context, they are overwritten at its end; then no view of them may be used.

    RLIMIT_MEMLOCK may not allow to lock them.
    """

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size)
        self._view = memoryview(self._map)
        self.locked: bool
        """Whether the kernel keeps the memory out of swap."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.locked = _libc().mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0
        if sys.platform == "linux":
            self._map.madvise(mmap.MADV_DONTDUMP)
            self._map.madvise(mmap.MADV_DONTFORK)

    def __enter__(self) -> LockedMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        wipe(self._view)

    def view(self, start: int, size: int) -> memoryview:
        """Return a part of the memory, which can be written."""
        return self._view[start : start + size]


def wipe(view: memoryview) -> None:
    """Overwrite bytes with zeros."""
    view[:] = bytes(len(view))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


PAGE = os.sysconf("SC_PAGE_SIZE")
"""The size of a page: what is locked is a number of whole pages."""
