"""The files of a database on this machine: access for their owner alone, and a name that identifies them."""

from __future__ import annotations

import logging
import os
import stat
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_COMPANIONS = ("", "-wal", "-shm", "-journal")  # https://www.sqlite.org/tempfiles.html


def keep_private(path: Path) -> None:
    """Create the database file at `path` if it does not exist, and remove the access of other users to its files.

    SQLite gives the files that it creates later the permissions of the database. The permissions of a file of another
    owner cannot be changed; a warning is logged. SQLite reports every other problem with the path.
    """
    real = _real(path)
    with suppress(OSError):
        os.close(_create(real))
    with suppress(OSError):
        for suffix in _COMPANIONS:
            _tighten(real.with_name(real.name + suffix))


def create_for_folder(path: Path) -> None:
    """Create the database file at `path` if it does not exist, and as root give it to the owner of its folder.

    A server that runs as that user can open then what root has restored. SQLite gives the files beside a database its
    owner by itself.
    """
    real = _real(path)
    with suppress(OSError), ExitStack() as stack:
        # By one descriptor: the user who owns the folder above could exchange the folder between two looks at its path.
        folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder)
        descriptor = _create(real.name, folder)
        stack.callback(os.close, descriptor)
        if os.geteuid() == 0:
            owner = os.fstat(folder)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _real(path: Path) -> Path:
    """Return where SQLite has the database and its companions, if `path` is a link."""
    return Path(os.path.realpath(path))


def _create(file: Path | str, folder: int | None = None) -> int:
    """Create a file that only its owner can access, and return its descriptor. Raises `OSError` if it exists.

    A relative `file` is in the folder of the descriptor `folder`.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    os.fchmod(descriptor, 0o600)  # the umask may have removed the owner's own access
    return descriptor


def _tighten(file: Path) -> None:
    try:
        status = file.lstat()  # where this is root, a link must not lead it to another file
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o077:
        return
    try:
        file.chmod(stat.S_IMODE(status.st_mode) & 0o700)
    except OSError as error:
        logger.warning(
            "other users of this machine may read %s, and its permissions cannot be changed (%s)", file, error.strerror
        )
    else:
        logger.warning("other users of this machine could read %s: its permissions are now for its owner alone", file)


def name_of(path: Path) -> str:
    """Return a name for the file at `path` that is the same in every container of this machine.

    The name is made of the folder's device and inode: paths differ between containers, and the file may not exist yet.
    """
    try:
        real = path.resolve()
        folder = real.parent.stat()
    except (OSError, RuntimeError):  # a path that is invalid, such as a link to itself, is reported when it is opened
        return str(path.absolute())
    return f"{_machine()}:{folder.st_dev}:{folder.st_ino}:{real.name}"


def _machine() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # this file exists on Linux alone
        return str(uuid.getnode())
