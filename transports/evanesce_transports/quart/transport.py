"""The transport: reads the request of each client, accepts it as a WebSocket or passes it to the application."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import trio
from quart_trio import QuartTrio

from evanesce.confidential import Confidential
from evanesce.delivery.outbox import Outbox
from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Gateway, Setup
from evanesce.listening import Client, ClientStream, serve_connection
from evanesce.listening.listener import RESPONSE_SECONDS
from evanesce_transports.admission import (
    PATH,
    admit_upgrade,
    asks_for_websocket,
    bearer_of,
    encode_acceptance,
    upgrade_required,
)
from evanesce_transports.limits import Share
from evanesce_transports.listener import HttpListener
from evanesce_transports.quart.app import build
from evanesce_transports.quart.asgi import request_http
from evanesce_transports.quart.connection import WsprotoConnection
from evanesce_transports.quart.pages import WORKER_PATH, Site, build_site, read_assets
from evanesce_transports.quart.responses import FAULT, encode_file, refusal_response
from evanesce_transports.request import FREE_BYTES, Refused, Request, read_body, read_head
from evanesce_transports.response import encode_server_options
from evanesce_transports.settings import HttpListenSettings
from evanesce_transports.websocket import WEBSOCKET

log = logging.getLogger(__name__)

QUEUE_SECONDS = 5.0
"""How long a request that was read waits for a slot."""

REQUEST_SECONDS = 20.0
"""How long the application may take for an HTTP request that was read."""

KEPT_SECONDS = 5.0
"""How long a connection waits for the next request after a file."""

KEPT_REQUESTS = 20
"""How many requests one connection may have. A page loads fewer than 10 files, and with World ID fewer than 20."""

METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
"""The methods in the response to `OPTIONS *`."""


class Settings(HttpListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.quart]`: the transport with WebSocket, HTTP and the page."""

    bind: str = "127.0.0.1:8000"
    metrics_public: bool = False
    """Whether clients on other machines may read `/metrics`. Each request is checked as with `guest.allow_public`."""


class QuartTransport:
    """WebSocket and HTTP: an `evanesce.interfaces.Transport`. Raises `ConfigurationError` for wrong settings."""

    def __init__(self, setup: Setup) -> None:
        self._settings = setup.settings if isinstance(setup.settings, Settings) else Settings()
        self._listener = HttpListener(setup, self._settings)
        self._assets = read_assets(self._listener.public_path.text)
        self._frame_bytes = setup.frame_bytes
        self._outbox_bytes = setup.outbox_bytes

    @property
    def binds(self) -> Sequence[str]:
        """The addresses to listen on."""
        return self._listener.binds

    @property
    def certificate_expires(self) -> float:
        """When the certificate expires, in seconds since 1970; infinite without one."""
        return self._listener.certificate_expires

    @property
    def reserved_paths(self) -> Sequence[str]:
        """The paths that no route of a plugin may have. One that ends in `*` stands for all with this beginning."""
        return ("/", "/api/*", PATH, "/r/*", "/static/*", WORKER_PATH, "/healthz", "/readyz", "/metrics")

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, and serve every client, until cancelled."""
        home = self._listener.public_path.home
        application = build(gateway, metrics_public=self._settings.metrics_public, home=home)
        site = await trio.to_thread.run_sync(build_site, self._assets, gateway.sign_in_pages, gateway.routes)
        handler = ClientHandler(
            self._listener, gateway, application, site, frame_bytes=self._frame_bytes, outbox_bytes=self._outbox_bytes
        )
        await self._listener.run(gateway, "http", handler.serve, task_status)


@dataclass(frozen=True, slots=True, repr=False)
class _Upgrade(Confidential):
    """A WebSocket that was accepted: its token and the bytes after its head, if any, and the response to send."""

    client: Client
    token: str | None
    rest: bytes
    acceptance: bytes


class ClientHandler:
    """Serves the clients that `listener` accepts, by `gateway`, the ASGI application, and `site` with the files."""

    def __init__(
        self,
        listener: HttpListener,
        gateway: Gateway,
        application: QuartTrio,
        site: Site,
        *,
        frame_bytes: int,
        outbox_bytes: int,
    ) -> None:
        self._listener = listener
        self._gateway = gateway
        self._application = application
        self._site = site
        self._frame_bytes = frame_bytes
        self._outbox_bytes = outbox_bytes

    async def serve(self, client_stream: ClientStream) -> bytes:
        """Serve a client to its end, and return the response that is still to be sent."""
        upgrade = await self._serve_requests(client_stream)
        if not isinstance(upgrade, _Upgrade):
            return upgrade
        client, token, rest, acceptance = upgrade.client, upgrade.token, upgrade.rest, upgrade.acceptance
        del upgrade  # otherwise kept for the whole life of the connection
        # Not in a method of its own: another coroutine would take memory for the whole life of the connection.
        outbox = Outbox(
            cast(trio.Nursery, self._listener.background),  # an outbox uses only `start_soon`
            client_stream.socket,
            WEBSOCKET,
            limit=self._outbox_bytes,
            stream=client_stream.tls,
            on_abort=client_stream.before_close,
        )
        outbox.write_raw(acceptance)
        connection = WsprotoConnection(client_stream, outbox, client=client, message_bytes=self._frame_bytes, rest=rest)
        del acceptance, rest
        await serve_connection(self._gateway, connection, token)
        return b""

    async def _serve_requests(self, client_stream: ClientStream) -> _Upgrade | bytes:
        """Serve requests for files, and the first one for anything else, which is the last one of the connection.

        Return the response that is still to be sent, or the upgrade that was accepted.
        """
        head = bytearray(client_stream.receive_waiting(FREE_BYTES))
        came_at_once = len(head)
        deadline = self._listener.deadline(client_stream)
        left = KEPT_REQUESTS
        while True:
            left -= 1
            share = self._listener.share()
            try:
                request = await read_head(client_stream.stream, head, share.reserve, deadline=deadline)
                if request is None:
                    return b""
                client = self._listener.admit(self._gateway, client_stream, request)
                if request.path == b"*":
                    return encode_server_options(METHODS)
                if asks_for_websocket(request):
                    acceptance: bytes | None
                    if len(head) == came_at_once:
                        # It needs no slot: no more clients get this far in a turn of the scheduler than the listener
                        # accepts.
                        acceptance = self._accept(request)
                    else:
                        accept = functools.partial(self._accept_later, request)
                        acceptance = await self._listener.slots.run(accept, deadline=deadline)
                    if acceptance is None:
                        return b""
                    return _Upgrade(client, bearer_of(request), request.rest, acceptance)
                response, kept = self._serve_file(client_stream, request, left)
                if response is None:
                    return await self._serve_http(client_stream, request, client, share)
                if not kept:
                    return response
                with trio.move_on_after(RESPONSE_SECONDS) as sending:
                    await client_stream.stream.send_all(response)
                if sending.cancelled_caught:
                    return b""
            except Refused as refused:
                return refusal_response(refused, bytes(head), self._gateway, self._listener.public_path)
            finally:
                share.release()
            head = bytearray(request.rest)
            came_at_once = 0
            deadline = trio.current_time() + KEPT_SECONDS

    async def _accept_later(self, request: Request) -> bytes:
        return self._accept(request)

    def _accept(self, request: Request) -> bytes:
        """Return the response that accepts an upgrade. Raises `Refused`.

        The application has no part in it: to ask it took twice as long as all the rest.
        """
        try:
            return encode_acceptance(request, admit_upgrade(self._gateway, request))
        except Refused:
            raise
        except Exception as error:  # the client is answered as when a request fails
            log.error("a request failed", exc_info=error)
            raise Refused(500, CommandError(ErrorCode.INTERNAL, FAULT)) from None

    def _serve_file(self, client_stream: ClientStream, request: Request, left: int) -> tuple[bytes | None, bool]:
        """Return the response to a request for a file, and whether the connection is kept; None for another request.

        `left` is how many further requests the connection may have. Raises `Refused`.
        """
        answer = self._site.respond(request)
        if answer is None:
            return None, False
        kept = (
            left > 0
            and request.keeps_connection
            and not request.has_body
            and not self._gateway.draining
            and self._listener.may_keep(client_stream)
        )
        return encode_file(answer, request.head.method, keep_seconds=KEPT_SECONDS if kept else None), kept

    async def _serve_http(self, client_stream: ClientStream, request: Request, client: Client, share: Share) -> bytes:
        if request.path == PATH.encode():
            raise upgrade_required(request)
        body = await read_body(request, client_stream.stream, self._frame_bytes, share.reserve)
        work = functools.partial(request_http, self._application, request, body, client_stream.socket, client)
        with trio.move_on_after(REQUEST_SECONDS):
            response = await self._listener.slots.run(work, deadline=trio.current_time() + QUEUE_SECONDS)
            if response is None:
                busy = CommandError(ErrorCode.INTERNAL, "Too many requests are waiting.", retry_after=QUEUE_SECONDS)
                raise Refused(503, busy)
            return response
        raise Refused(503, CommandError(ErrorCode.INTERNAL, "The request took too long."))
