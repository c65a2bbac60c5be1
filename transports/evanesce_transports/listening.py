"""The listener: takes clients in on a TCP port, shakes hands for TLS, and keeps each one's faults to itself."""

from __future__ import annotations

import contextlib
import errno
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from evanesce.errors import ConfigurationError
from evanesce.interfaces import Gateway, Setup
from evanesce_transports.addresses import Client, find_client, parse_networks
from evanesce_transports.linger import linger
from evanesce_transports.request import Incoming
from evanesce_transports.settings import ListenSettings, load_tls, parse_bind
from evanesce_transports.sharing import open_shared_listeners, take_waiting

log = logging.getLogger(__name__)

TLS_SECONDS = 5.0
"""How long a TLS handshake may take."""

RESPONSE_SECONDS = 10.0
"""How long a client may take to receive its last answer."""

_BUSY_SECONDS = 0.1
_BUSY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Arrival:
    """A client that has connected: `stream` is the socket's own, or the TLS above it."""

    stream: trio.abc.Stream
    socket: trio.socket.SocketType

    @property
    def tls(self) -> trio.abc.Stream | None:
        """The TLS, where there is one: then nothing may be written to the socket itself."""
        return None if isinstance(self.stream, trio.SocketStream) else self.stream


ServeClient = Callable[[Arrival], Awaitable[bytes]]
"""Serves one client to its end, and gives what is still to be sent then."""


class Listener:
    """One transport's listening sockets. Raises `ConfigurationError` for wrong settings."""

    def __init__(self, setup: Setup, settings: ListenSettings) -> None:
        path = f"plugins.{setup.name}"
        self._path = path
        self._settings = settings
        self._bind = parse_bind(settings.bind, f"{path}.bind")
        self._trusted = parse_networks(settings.trusted_proxies, f"{path}.trusted_proxies")
        self._tls = load_tls(settings, setup.folder, path)
        self._shared = setup.shared_port
        if self._shared and self._bind.port == 0:
            problem = "with more than one worker, the system cannot choose the port: each would get another one"
            raise ConfigurationError(f"{path}.bind", problem, "Name a port, or set server.workers to 1.")

    @property
    def binds(self) -> Sequence[str]:
        """Where it is going to listen."""
        return [self._settings.bind]

    def client_of(self, arrival: Arrival, request: Incoming) -> Client:
        """Find out whose request it is. Raises `OSError` where the client has left."""
        return find_client(arrival.socket.getpeername()[0], request.values(b"x-forwarded-for"), self._trusted)

    async def run(
        self, gateway: Gateway, scheme: str, serve: ServeClient, task_status: trio.TaskStatus[Sequence[str]]
    ) -> None:
        """Listen, and `serve` every client, until cancelled; reports URLs of `scheme`, with an `s` behind it for TLS.

        On a port that others share it listens no more when the gateway is draining. Raises `ConfigurationError` where
        it cannot listen.
        """
        open_listeners = open_shared_listeners if self._shared else trio.open_tcp_listeners
        try:
            listeners = await open_listeners(self._bind.port, host=self._bind.host)
        except OSError as error:
            problem = f"cannot listen on {self._settings.bind} ({error.strerror or error})"
            hint = "Choose an address of this machine and a port that nothing else listens on."
            raise ConfigurationError(f"{self._path}.bind", problem, hint) from None
        async with contextlib.AsyncExitStack() as stack:
            for listener in listeners:
                await stack.enter_async_context(listener)
            async with trio.open_nursery() as clients:
                for listener in listeners:
                    clients.start_soon(self._accept, listener, serve, clients)
                if self._shared:
                    clients.start_soon(self._leave_port, gateway, listeners, serve, clients)
                task_status.started([self._url(scheme, listener.socket) for listener in listeners])

    def _url(self, scheme: str, socket: trio.socket.SocketType) -> str:
        host, port = socket.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return f"{scheme}://{address}" if self._tls is None else f"{scheme}s://{address}"

    async def _accept(self, listener: trio.SocketListener, serve: ServeClient, clients: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:  # by `_leave_port`
                return
            except OSError as error:
                if error.errno not in _BUSY:
                    raise
                log.warning("cannot accept a connection: %s", error.strerror)
                await trio.sleep(_BUSY_SECONDS)
            else:
                clients.start_soon(self._serve_contained, stream, serve)

    async def _leave_port(
        self, gateway: Gateway, listeners: Sequence[trio.SocketListener], serve: ServeClient, clients: trio.Nursery
    ) -> None:
        """Leave new clients to the others as soon as this server is going away."""
        await gateway.wait_draining()
        for listener in listeners:
            for stream in take_waiting(listener):
                clients.start_soon(self._serve_contained, stream, serve)
            listener.socket.close()

    async def _serve_contained(self, stream: trio.SocketStream, serve: ServeClient) -> None:
        """Serve one client; whatever happens with it, the others do not notice."""
        try:
            arrival = Arrival(stream, stream.socket) if self._tls is None else await self._secure(stream, self._tls)
            if arrival is not None and (answer := await serve(arrival)):
                with trio.move_on_after(RESPONSE_SECONDS):
                    await arrival.stream.send_all(answer)
                    await linger(arrival.stream, arrival.socket)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            log.debug("a client left before it had its answer")
        except* Exception:  # the border of one client: whatever it is, it ends no other
            log.exception("a connection failed")
        finally:
            stream.socket.close()

    async def _secure(self, stream: trio.SocketStream, tls: ssl.SSLContext) -> Arrival | None:
        secure = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        with trio.move_on_after(TLS_SECONDS):
            await secure.do_handshake()
            return Arrival(secure, stream.socket)
        return None
