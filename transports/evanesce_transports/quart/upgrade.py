"""From an upgrade request to the application's WebSocket route: the server side of ASGI's WebSocket protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import unquote

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, ConnectionState, WebsocketScope
from wsproto.events import AcceptConnection, Request
from wsproto.handshake import H11Handshake

from evanesce.errors import CloseCode
from evanesce.outbox import Outbox
from evanesce_transports.addresses import Client
from evanesce_transports.answers import response
from evanesce_transports.framing import WEBSOCKET
from evanesce_transports.handshake import shake
from evanesce_transports.listening import Arrival
from evanesce_transports.quart.scope import CLIENT, CONNECTION
from evanesce_transports.quart.websocket import WsprotoConnection
from evanesce_transports.request import Incoming

log = logging.getLogger(__name__)


class Upgrade:
    """One client that asked for a WebSocket: its handshake, and the connection that it becomes."""

    def __init__(
        self, request: Incoming, arrival: Arrival, client: Client, message_bytes: int, outbox_bytes: int
    ) -> None:
        self._arrival = arrival
        self._client = client
        self._message_bytes = message_bytes
        self._outbox_bytes = outbox_bytes
        self._trailing = request.rest
        self._handshake: H11Handshake | None
        self._handshake, asked = shake(request)
        self._state = ConnectionState({CLIENT: client})
        self._scope = _scope(request, asked, client, self._state)
        self._rejection: tuple[int, list[tuple[bytes, bytes]]] = (500, [])
        self._rejection_body = b""
        self._nursery: trio.Nursery | None = None
        self._connection: WsprotoConnection | None = None

    async def run(self, application: ASGIFramework) -> bytes:
        """Call the application, and give the response for the client where it accepted no connection.

        Whatever the application raises ends this client alone, with 1011.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await application(self._scope, self._receive, self._send)
            except* Exception:  # the border of one connection: whatever it is, it ends no other
                log.exception("a WebSocket connection failed")
                if self._connection is not None:
                    await self._connection.close(CloseCode.FAULT, "")
            finally:
                if self._connection is not None:
                    self._connection.go_away()
                    self._connection.release()
                nursery.cancel_scope.cancel()
        if self._connection is not None:
            return b""
        status, headers = self._rejection
        return response(status, headers, self._rejection_body)

    async def _receive(self) -> ASGIReceiveEvent:
        """Give the application nothing: it talks over the connection itself, and is called no longer than that."""
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def _send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.accept":
            self._accept(message["subprotocol"])
        elif message["type"] == "websocket.close":
            if self._connection is None:
                self._rejection = (403, [])
            else:
                await self._connection.close(message.get("code", CloseCode.NORMAL), message.get("reason") or "")
        elif message["type"] == "websocket.http.response.start":
            self._rejection = (message["status"], _without_framing(message["headers"]))
        elif message["type"] == "websocket.http.response.body":
            self._rejection_body += message["body"]
        else:
            raise RuntimeError(f"a WebSocket application sent {message['type']}")

    def _accept(self, subprotocol: str | None) -> None:
        handshake, self._handshake = self._handshake, None
        if handshake is None or self._nursery is None:
            raise RuntimeError("a WebSocket is accepted once")
        answer = handshake.send(AcceptConnection(subprotocol=subprotocol))
        protocol = handshake.connection
        if protocol is None:
            raise RuntimeError("wsproto has no connection after it accepted one")
        arrival = self._arrival
        outbox = Outbox(self._nursery, arrival.socket, WEBSOCKET, limit=self._outbox_bytes, stream=arrival.tls)
        outbox.write_raw(answer)
        # What came right behind the handshake is the first of the conversation.
        protocol.receive_data(self._trailing)
        self._connection = self._state[CONNECTION] = WsprotoConnection(
            arrival, outbox, protocol, address=self._client.address, message_bytes=self._message_bytes
        )
        self._trailing = b""


def _scope(request: Incoming, asked: Request, client: Client, state: ConnectionState) -> WebsocketScope:
    path, _, query = request.head.target.partition(b"?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.head.headers),
        "client": (client.address, 0),
        "server": None,
        "subprotocols": asked.subprotocols,
        "state": state,
        "extensions": {"websocket.http.response": {}},
    }


def _without_framing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Leave out what `response` says itself."""
    return [(name, value) for name, value in headers if name.lower() not in (b"content-length", b"connection")]
