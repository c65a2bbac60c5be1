"""Unix sockets to listen on: the file of a socket, who may connect to it, and one that a server left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
from collections.abc import Generator
from pathlib import Path

from evanesce.inherited import inherited_sockets


@contextlib.contextmanager
def unix_socket(path: Path, *, mode: int, backlog: int) -> Generator[socket.socket]:
    """Listen on a Unix socket while the context lasts, in place of one whose server is gone; remove its file then.

    Where the service manager passed a socket with this path, that is used, and stays. Otherwise `mode` are the
    permissions of the file, which it has before anyone can connect. Raises `OSError` where another server listens on
    it, or where something else has this name.
    """
    if (passed := inherited_sockets().find(socket.AF_UNIX, os.path.abspath(path))) is not None:
        with passed:
            _refuse_others(path, mode)
            passed.setblocking(False)
            yield passed
        return
    opened = _open(path, mode, backlog)
    with opened:
        inode = os.stat(path).st_ino
        try:
            yield opened
        finally:
            with contextlib.suppress(OSError):  # unless another server has put its own there
                if os.stat(path).st_ino == inode:
                    os.unlink(path)


def _refuse_others(path: Path, mode: int) -> None:
    """Raise `OSError` where people may connect to the service manager's socket whom `mode` would not let."""
    if stat.S_IMODE(os.stat(path).st_mode) & ~mode & 0o077:
        raise PermissionError(errno.EACCES, "others may use the service manager's socket: set SocketMode= in its unit")


def refuse_unusable(path: Path) -> None:
    """Raise `OSError` where the server cannot listen on a Unix socket at `path`. Nothing is changed."""
    if inherited_sockets().has(path):
        return
    if _is_served(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder of the socket does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the server may not write into the folder of the socket")


def _open(path: Path, mode: int, backlog: int) -> socket.socket:
    if _is_served(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(str(temporary))
        try:
            os.chmod(temporary, mode)  # nobody can connect before `listen`
            opened.listen(backlog)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _is_served(path: Path) -> bool:
    """Return whether a server listens on a Unix socket. Raises `OSError` for anything else that has this name."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is something else with this name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # so many clients wait that the kernel takes no more
            return True
    return True
