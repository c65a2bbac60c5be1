"""From an upgrade request to the application's WebSocket route: the server side of ASGI's WebSocket protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, ConnectionState, WebsocketScope
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, Request
from wsproto.handshake import H11Handshake

from evanesce_transports.addresses import Client
from evanesce_transports.answers import response
from evanesce_transports.handshake import shake
from evanesce_transports.quart.scope import CLIENT
from evanesce_transports.request import Incoming

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A connection that the application let in: `answer` is to be sent first.

    `rest` is what came right behind the handshake.
    """

    answer: bytes
    protocol: Connection
    rest: bytes


async def ask(application: ASGIFramework, request: Incoming, client: Client) -> Accepted | bytes:
    """Ask the application's route whether a client may come in; gives the response where it may not. Raises `Refused`.

    The route is the door and no more: it returns before anything is said over the connection, so that nothing of the
    application (two tasks, a dozen objects, the headers three times over) lasts as long as that.
    """
    handshake, asked = shake(request)
    door = _Door(handshake, request.rest)
    try:
        await application(_scope(request, asked, client), door.receive, door.send)
    except* Exception:  # the border of one client: whatever it is, it ends no other
        log.exception("the WebSocket route failed")
        door = _Door(handshake, request.rest, status=500)
    if door.accepted is None:
        return door.rejection()
    return door.accepted


class _Door:
    """What the application is given to receive from and send to."""

    def __init__(self, handshake: H11Handshake, rest: bytes, status: int = 403) -> None:
        self._handshake = handshake
        self._rest = rest
        self._status = status
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._body = b""
        self.accepted: Accepted | None = None

    async def receive(self) -> ASGIReceiveEvent:
        """Give the application nothing: it is not there for the conversation."""
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.accept":
            answer = self._handshake.send(AcceptConnection(subprotocol=message["subprotocol"]))
            protocol = self._handshake.connection
            if protocol is None:
                raise RuntimeError("wsproto has no connection after it accepted one")
            self.accepted = Accepted(answer, protocol, self._rest)
        elif message["type"] == "websocket.close":
            pass  # the route has returned: after it accepted, that is as it should be; before, it is a rejection
        elif message["type"] == "websocket.http.response.start":
            self._status, self._headers = message["status"], message["headers"]
        elif message["type"] == "websocket.http.response.body":
            self._body += message["body"]
        else:
            raise RuntimeError(f"a WebSocket application sent {message['type']}")

    def rejection(self) -> bytes:
        """Write what the application answered instead."""
        own = (b"content-length", b"connection")  # `response` says these itself
        return response(
            self._status, [(name, value) for name, value in self._headers if name.lower() not in own], self._body
        )


def _scope(request: Incoming, asked: Request, client: Client) -> WebsocketScope:
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
        "state": ConnectionState({CLIENT: client}),
        "extensions": {"websocket.http.response": {}},
    }
