"""A private directory for temporary files, which is removed soon after its process has ended, even by a SIGKILL."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "evanesce-"

_LOCK = "lock"


class PrivateDirectory:
    """A directory that only this user can enter. `path` is its absolute path.

    A process that is killed cannot remove its directory. So each directory contains a file that its process keeps
    locked, and creating a new directory removes those with a free lock. Blocks for a few system calls.
    """

    def __init__(self) -> None:
        _remove_abandoned()
        self.path = tempfile.mkdtemp(prefix=PREFIX)
        lock = os.path.join(self.path, _LOCK)
        self._lock = os.open(f"{lock}.new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.rename(f"{lock}.new", lock)  # it gets its name when it is locked, so that it is never found unlocked

    def remove(self) -> None:
        """Remove the directory and its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_abandoned() -> None:
    """Remove the directories of this user's processes that ended without doing so.

    A directory without a lock file is skipped: its process may be about to create the file.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user, of a running process, or removed meanwhile
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
