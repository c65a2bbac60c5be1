"""The listener: takes clients in, and gives each to the guarded WebSocket connection or to Hypercorn."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Sequence

import trio
from quart_trio import QuartTrio

from evanesce.errors import ConfigurationError, ErrorCode
from evanesce.interfaces import Gateway, Setup
from evanesce_transports.quart.addresses import CLIENT, Client, find_client
from evanesce_transports.quart.app import build
from evanesce_transports.quart.exchange import exchange
from evanesce_transports.quart.linger import linger
from evanesce_transports.quart.pages import load_pages
from evanesce_transports.quart.refusals import refusal
from evanesce_transports.quart.request import Incoming, Refused, read_body, read_head
from evanesce_transports.quart.settings import Settings, load_tls, parse_bind, parse_networks
from evanesce_transports.quart.upgrade import Upgrade

log = logging.getLogger(__name__)

TLS_SECONDS = 5.0
"""How long a TLS handshake may take."""

REQUEST_SECONDS = 20.0
"""How long the application may take with an HTTP request that was read."""

RESPONSE_SECONDS = 10.0
"""How long a client may take to receive the response."""

_BUSY_SECONDS = 0.1
_BUSY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class QuartTransport:
    """WebSocket and HTTP: an `evanesce.interfaces.Transport`. Raises `ConfigurationError` for wrong settings."""

    def __init__(self, setup: Setup) -> None:
        settings = setup.settings if isinstance(setup.settings, Settings) else Settings()
        path = f"plugins.{setup.name}"
        self._path = path
        self._settings = settings
        self._bind = parse_bind(settings.bind, f"{path}.bind")
        self._trusted = parse_networks(settings.trusted_proxies, f"{path}.trusted_proxies")
        self._tls = load_tls(settings, setup.folder, path)
        self._pages = load_pages()
        self._frame_bytes = setup.frame_bytes
        self._outbox_bytes = setup.outbox_bytes

    @property
    def binds(self) -> Sequence[str]:
        """Where it is going to listen."""
        return [self._settings.bind]

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, and serve every client, until cancelled."""
        application = build(gateway, self._pages, metrics_public=self._settings.metrics_public)
        try:
            listeners = await trio.open_tcp_listeners(self._bind.port, host=self._bind.host)
        except OSError as error:
            problem = f"cannot listen on {self._settings.bind} ({error.strerror or error})"
            hint = "Choose an address of this machine and a port that nothing else listens on."
            raise ConfigurationError(f"{self._path}.bind", problem, hint) from None
        async with contextlib.AsyncExitStack() as stack:
            for listener in listeners:
                await stack.enter_async_context(listener)
            async with trio.open_nursery() as clients:
                for listener in listeners:
                    clients.start_soon(self._accept, listener, application, gateway, clients)
                task_status.started([self._url(listener.socket) for listener in listeners])

    def _url(self, socket: trio.socket.SocketType) -> str:
        host, port = socket.getsockname()[:2]
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def _accept(
        self, listener: trio.SocketListener, application: QuartTrio, gateway: Gateway, clients: trio.Nursery
    ) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _BUSY:
                    raise
                log.warning("cannot accept a connection: %s", error.strerror)
                await trio.sleep(_BUSY_SECONDS)
            else:
                clients.start_soon(self._serve_contained, stream, application, gateway)

    async def _serve_contained(
        self, socket_stream: trio.SocketStream, application: QuartTrio, gateway: Gateway
    ) -> None:
        """Serve one client; whatever happens with it, the others do not notice."""
        try:
            await self._serve_client(socket_stream, application, gateway)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            log.debug("a client left before it had its answer")
        except* Exception:  # the border of one client: whatever it is, it ends no other
            log.exception("a connection failed")
        finally:
            socket_stream.socket.close()

    async def _serve_client(self, socket_stream: trio.SocketStream, application: QuartTrio, gateway: Gateway) -> None:
        stream: trio.abc.Stream = socket_stream
        if self._tls is not None:
            secure = trio.SSLStream(socket_stream, self._tls, server_side=True, https_compatible=True)
            with trio.move_on_after(TLS_SECONDS) as shaking:
                await secure.do_handshake()
            if shaking.cancelled_caught:
                return
            stream = secure
        answer = await self._answer(stream, socket_stream.socket, application, gateway)
        if answer:
            with trio.move_on_after(RESPONSE_SECONDS):
                await stream.send_all(answer)
                await linger(stream, socket_stream.socket)

    async def _answer(
        self, stream: trio.abc.Stream, socket: trio.socket.SocketType, application: QuartTrio, gateway: Gateway
    ) -> bytes:
        """Serve the first request; give the response that is still to be sent."""
        head = bytearray()
        try:
            request = await read_head(stream, head)
            if request is None:
                return b""
            client = find_client(socket.getpeername()[0], request.values(b"x-forwarded-for"), self._trusted)
            if b"websocket" not in request.tokens(b"upgrade"):
                body = await read_body(request, stream, self._frame_bytes)
                return await self._exchange(request, body, socket, application, client)
            upgrade = Upgrade(request, stream, socket, client, self._frame_bytes, self._outbox_bytes)
        except Refused as refused:
            return refusal(refused, bytes(head), gateway)
        del request, head  # not kept for as long as the conversation lasts
        return await upgrade.run(application)

    async def _exchange(
        self, request: Incoming, body: bytes, socket: trio.socket.SocketType, application: QuartTrio, client: Client
    ) -> bytes:
        with trio.move_on_after(REQUEST_SECONDS):
            return await exchange(application, request, body, socket, {CLIENT: client})
        raise Refused(503, "This took too long.", ErrorCode.INTERNAL)
