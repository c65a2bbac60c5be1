"""The transport: reads each client's request, and gives it to the guarded WebSocket connection or to Hypercorn."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import trio
from quart_trio import QuartTrio

from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Gateway, Setup
from evanesce.outbox import Outbox
from evanesce_transports.addresses import Client
from evanesce_transports.admission import bearer_of
from evanesce_transports.framing import WEBSOCKET
from evanesce_transports.guarded import converse
from evanesce_transports.handshake import asks_for_websocket
from evanesce_transports.listening import Arrival, Listener
from evanesce_transports.quart.app import build
from evanesce_transports.quart.body import read_body
from evanesce_transports.quart.exchange import exchange
from evanesce_transports.quart.pages import load_pages
from evanesce_transports.quart.refusals import refusal
from evanesce_transports.quart.scope import CLIENT
from evanesce_transports.quart.settings import Settings
from evanesce_transports.quart.upgrade import ask
from evanesce_transports.quart.websocket import WsprotoConnection
from evanesce_transports.request import Incoming, Refused, read_head

REQUEST_SECONDS = 20.0
"""How long the application may take with an HTTP request that was read."""


class QuartTransport:
    """WebSocket and HTTP: an `evanesce.interfaces.Transport`. Raises `ConfigurationError` for wrong settings."""

    def __init__(self, setup: Setup) -> None:
        self._settings = setup.settings if isinstance(setup.settings, Settings) else Settings()
        self._listener = Listener(setup, self._settings)
        self._pages = load_pages()
        self._frame_bytes = setup.frame_bytes
        self._outbox_bytes = setup.outbox_bytes

    @property
    def binds(self) -> Sequence[str]:
        """Where it is going to listen."""
        return self._listener.binds

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, and serve every client, until cancelled."""
        application = build(gateway, self._pages, metrics_public=self._settings.metrics_public)

        serve = functools.partial(self._serve_client, application, gateway)
        await self._listener.run(gateway, "http", serve, task_status)

    async def _serve_client(self, application: QuartTrio, gateway: Gateway, arrival: Arrival) -> bytes:
        """Serve the first request; give the response that is still to be sent."""
        head = bytearray()
        try:
            request = await read_head(arrival.stream, head)
            if request is None:
                return b""
            client = self._listener.client_of(arrival, request)
            if not asks_for_websocket(request):
                body = await read_body(request, arrival.stream, self._frame_bytes)
                return await self._exchange(request, body, arrival.socket, application, client)
            outcome = await ask(application, request, client)
        except Refused as refused:
            return refusal(refused, bytes(head), gateway)
        if isinstance(outcome, bytes):
            return outcome
        token = bearer_of(request)
        del request, head  # not kept for as long as the conversation lasts
        async with trio.open_nursery() as nursery:
            outbox = Outbox(nursery, arrival.socket, WEBSOCKET, limit=self._outbox_bytes, stream=arrival.tls)
            outbox.write_raw(outcome.answer)
            connection = WsprotoConnection(
                arrival,
                outbox,
                outcome.protocol,
                address=client.address,
                message_bytes=self._frame_bytes,
                rest=outcome.rest,
            )
            await converse(gateway, connection, token)
            nursery.cancel_scope.cancel()
        return b""

    async def _exchange(
        self, request: Incoming, body: bytes, socket: trio.socket.SocketType, application: QuartTrio, client: Client
    ) -> bytes:
        with trio.move_on_after(REQUEST_SECONDS):
            return await exchange(application, request, body, socket, {CLIENT: client})
        raise Refused(503, CommandError(ErrorCode.INTERNAL, "This took too long."))
