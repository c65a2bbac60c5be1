"""A client over streams in memory, and a peer that does what a test says: no sockets, no waiting."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import lockstep_stream_pair
from trio_websocket import WebSocketConnection, wrap_server_stream

from evanesce.client.client import Client
from evanesce.client.connection import Fields
from evanesce.client.errors import Unreachable
from evanesce.client.events import State
from evanesce.model import timestamp

ROOM = "00000000-0000-4000-8000-000000000001"
NOW = 2_000_000_000.0


class Highest(random.Random):
    """Always returns the highest number: pauses are known."""

    def uniform(self, a: float, b: float) -> float:
        return b


class PeerConnection:
    """The server's side of one connection."""

    def __init__(self, socket: WebSocketConnection, url: str, stream: trio.abc.Stream) -> None:
        self.socket = socket
        self.url = url
        self._stream = stream

    async def takes(self, kind: str) -> Fields:
        """Return the next command, which has to be of a type."""
        command: Fields = json.loads(await self.socket.get_message())
        assert command["type"] == kind, command
        return command

    async def says(self, *events: Fields) -> None:
        """Send a frame."""
        await self.socket.send_message(json.dumps(events))

    async def answers(self, kind: str, reply: Fields, *events: Fields) -> Fields:
        """Take a command and reply to it."""
        command = await self.takes(kind)
        await self.says({"roomId": ROOM} | reply | {"ref": command["ref"]}, *events)
        return command

    async def welcomes(self, **changes: Any) -> Fields:
        """Reply to `hello`."""
        welcome = {
            "type": "welcome",
            "userId": "me",
            "displayName": "Ana",
            "serverTime": server_time(),
            "messageTtl": 60,
            "heartbeat": 25,
            "limits": {"contentBytes": 4096},
        }
        return await self.answers("hello", welcome | changes)

    async def lets_in(self, **changes: Any) -> Fields:
        """Reply to `join`."""
        return await self.answers("join", {"type": "joined", "memberCount": 1, "cursor": "start"} | changes)

    async def kill(self) -> None:
        """End the stream without a closing handshake."""
        await trio.aclose_forcefully(self._stream)


def server_time(seconds: float = 0.0) -> str:
    """Return a time of the server's clock, which started at `NOW` with Trio's mock clock."""
    return timestamp(round((NOW + trio.current_time() + seconds) * 1000))


def message(number: int, life: float = 60.0, **changes: Any) -> Fields:
    return {
        "type": "message",
        "roomId": ROOM,
        "messageId": str(number),
        "senderId": "ben",
        "senderName": "Ben",
        "content": f"text {number}",
        "createdAt": server_time(),
        "expiresAt": server_time(life),
        "cursor": f"cursor {number}",
    } | changes


def sent(command: Fields) -> Fields:
    times = {"createdAt": server_time(), "expiresAt": server_time(60)}
    return {"type": "sent", "messageId": command["messageId"], "duplicate": False} | times


class Peer:
    """`connections` receives the server's side of each connection; while `away`, none can be opened."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._announce, self.connections = trio.open_memory_channel[PeerConnection](100)
        self.away = False
        self.attempts: list[float] = []
        self.states: list[State] = []

    async def open_stream(self, url: str) -> trio.abc.Stream:
        """Open a stream, as the library asks for."""
        self.attempts.append(trio.current_time())
        if self.away:
            raise Unreachable("nobody is there")
        ours, theirs = lockstep_stream_pair()  # nothing is buffered between them
        self._nursery.start_soon(self._serve, url, ours)
        return theirs

    async def _serve(self, url: str, stream: trio.abc.Stream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)  # type: ignore[arg-type]
                socket = await request.accept(subprotocol="evanesce.v1")
                await self._announce.send(PeerConnection(socket, url, stream))
        except* trio.ClosedResourceError:
            pass  # it was killed


@asynccontextmanager
async def scripted(**options: Any) -> AsyncGenerator[tuple[Client, Peer]]:
    """Yield a client that runs, and its peer."""
    async with trio.open_nursery() as nursery:
        peer = Peer(nursery)
        arguments: dict[str, Any] = {"token": "a token", "dice": Highest()} | options
        client = Client("http://here", open_stream=peer.open_stream, on_state=peer.states.append, **arguments)
        nursery.start_soon(client.run)
        yield client, peer
        nursery.cancel_scope.cancel()
