"""The sockets of the interface for operators: a TCP port, or a Unix socket that only the server's user can use."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import trio

from evanesce.admin.access import Access
from evanesce.admin.audit_log import peer_of
from evanesce.admin.http import HttpAnswer, HttpRequest, Refused, serve_request
from evanesce.errors import ConfigurationError
from evanesce.logs import folded
from evanesce.ports import open_bound_sockets
from evanesce.unixsockets import unix_socket
from evanesce.webaddress import UNIX, is_unix, join_host_port, split_host_port

logger = logging.getLogger(__name__)

AT_ONCE = 32
"""How many connections are served at once; others wait in the kernel."""

RETRY_SECONDS = 5.0
"""How long a worker waits before it tries again to listen."""

_BUSY_SECONDS = 0.1
_BUSY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_HINT = "Choose an address of this machine that nothing else listens on, or another path for the socket"


@contextlib.asynccontextmanager
async def open_admin_sockets(bind: str) -> AsyncGenerator[list[socket.socket]]:
    """Listen on `bind` while the context lasts, and remove the file of a Unix socket in the end.

    Raises `ConfigurationError` where it cannot listen.
    """
    with contextlib.ExitStack() as stack:
        try:
            if is_unix(bind):
                path = Path(bind.removeprefix(UNIX))
                opened = [stack.enter_context(unix_socket(path, mode=0o600, backlog=AT_ONCE))]
            else:
                opened = [stack.enter_context(one) for one in await _open_tcp(bind)]
        except OSError as error:
            problem = f"cannot listen on {bind} ({error.strerror or error})"
            raise ConfigurationError("admin.bind", problem, _HINT) from None
        yield opened


async def _open_tcp(bind: str) -> list[socket.socket]:
    host, port = split_host_port(bind)
    opened = await open_bound_sockets(host, port or 0, shared=False)
    for one in opened:
        one.listen(AT_ONCE)
        one.setblocking(False)
    return opened


class AdminListener:
    """Serves operators on listening sockets."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._slots = trio.CapacityLimiter(AT_ONCE)

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for one in sockets:
                nursery.start_soon(self._accept, one, nursery)

    async def _accept(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        listener = trio.socket.from_stdlib_socket(listening.dup())
        with listener:
            while True:
                slot = object()
                await self._slots.acquire_on_behalf_of(slot)
                try:
                    client, _ = await listener.accept()
                except OSError as error:
                    self._slots.release_on_behalf_of(slot)
                    if error.errno in _BUSY:
                        await trio.sleep(_BUSY_SECONDS)
                    elif error.errno == errno.EBADF:
                        return
                    continue
                except BaseException:
                    self._slots.release_on_behalf_of(slot)
                    raise
                nursery.start_soon(self._serve, client, lambda slot=slot: self._slots.release_on_behalf_of(slot))

    async def _serve(self, client: trio.socket.SocketType, release: Callable[[], None]) -> None:
        """Serve one connection, and contain its errors."""
        try:
            async with trio.SocketStream(client) as stream:
                local, address = _addresses(client)
                with socket.socket(fileno=os.dup(client.fileno())) as connection:
                    who = peer_of(connection, address)

                async def handle(request: HttpRequest | Refused) -> HttpAnswer:
                    return await self._access.answer(request, who, local)

                await serve_request(stream, handle)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            logger.debug("an operator's client left before it received its answer")
        except Exception as error:  # an error of one client must not affect others
            logger.error("serving an operator's client failed: %s", folded(error))
        finally:
            release()


def _addresses(client: trio.socket.SocketType) -> tuple[str, str]:
    """Return the addresses of both ends, ours first; empty ones for a Unix socket."""
    if client.family == socket.AF_UNIX:
        return "", ""
    return client.getsockname()[0], client.getpeername()[0]


def listening_on(bind: str, sockets: Sequence[socket.socket]) -> list[str]:
    """Return the addresses of listening sockets, as `--url` takes them."""
    if is_unix(bind):
        return [bind]
    return [f"http://{join_host_port(*one.getsockname()[:2])}" for one in sockets]
