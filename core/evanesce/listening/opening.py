"""The sockets of a transport: opening those on which it listens, accepting from them, and closing with a reset."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Generator
from pathlib import Path

import trio

from evanesce.errors import ConfigurationError
from evanesce.listening.settings import Bind, UnixBind, parse_bind
from evanesce.ports import open_bound_sockets
from evanesce.unixsockets import unix_socket

BACKLOG = 0xFFFF
"""How many clients may wait in the kernel: as many as it allows, as with `trio.open_tcp_listeners`."""

SOCKET_MODE = 0o660
"""Who may connect to a Unix socket: the user and the group of the server."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: the kernel sends a reset and discards unsent data

_HINT = "Choose an address of this machine and a port, or the path of a socket, that nothing else listens on."


@contextlib.contextmanager
def shared_unix_socket(setting: str, bind: str) -> Generator[socket.socket]:
    """Listen on a Unix socket for several workers, which inherit it, while the context lasts.

    `setting` is the key whose value is `bind`. Raises `ConfigurationError` where it cannot listen.
    """
    parsed = parse_bind(bind, setting)
    if not isinstance(parsed, UnixBind):
        raise AssertionError("only Unix sockets are inherited: workers open ports themselves")
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(unix_socket(Path(parsed.path), mode=SOCKET_MODE, backlog=BACKLOG))
        except OSError as error:
            raise cannot_listen(setting, bind, error) from None
        yield opened


async def open_listeners(
    stack: contextlib.ExitStack, bind: Bind | UnixBind, folder: Path, *, shared: bool, inherited: int | None
) -> list[trio.SocketListener]:
    """Listen on an address, until `stack` closes. Relative paths start from `folder`. Raises `OSError`.

    `shared`: several processes listen on it. They share a port by SO_REUSEPORT, and the descriptor of a Unix socket,
    `inherited`, which one process has opened for all.
    """
    if isinstance(bind, Bind):
        sockets = await open_bound_sockets(bind.host, bind.port, shared=shared)
        for bound in sockets:
            stack.enter_context(bound)
        for bound in sockets:
            bound.listen(BACKLOG)
    elif not shared:
        sockets = [stack.enter_context(unix_socket(folder / bind.path, mode=SOCKET_MODE, backlog=BACKLOG))]
    elif inherited is None:
        raise OSError(errno.EBADF, "the supervisor of the workers opens Unix sockets only when it starts")
    else:
        os.set_inheritable(inherited, False)
        sockets = [stack.enter_context(socket.socket(fileno=inherited))]
    return [trio.SocketListener(trio.socket.from_stdlib_socket(bound)) for bound in sockets]


def cannot_listen(setting: str, bind: str, error: OSError) -> ConfigurationError:
    """Return the error of a setting with an address on which the server cannot listen."""
    return ConfigurationError(setting, f"cannot listen on {bind} ({error.strerror or error})", _HINT)


def reset(client: trio.socket.SocketType) -> None:
    """Close a connection with a reset, which costs little."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    client.close()


def accept_waiting(listener: trio.SocketListener, most: int) -> Generator[trio.SocketStream, None, None]:
    """Accept the clients that wait at this moment, `most` at most, without waiting for others."""
    with socket.socket(fileno=os.dup(listener.socket.fileno())) as listening:
        listening.setblocking(False)
        for _ in range(most):
            try:
                client, _ = listening.accept()
            except OSError:  # no client waits, one has left, or there is no free descriptor
                return
            yield trio.SocketStream(trio.socket.from_stdlib_socket(client))
