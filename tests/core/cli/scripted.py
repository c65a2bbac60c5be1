"""The terminal's conversation with a scripted server, without processes."""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

import trio
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket

from evanesce.cli.chat import converse
from evanesce.cli.console import Console
from evanesce.client.connection import Fields
from evanesce.client.links import DeepLink
from evanesce.model import timestamp
from evanesce.room_encryption import RoomKey
from tests.patience import PATIENCE

ROOM = "00000000-0000-4000-8000-000000000001"
NOW = 2_000_000_000_000
WELCOME: Fields = {
    "type": "welcome",
    "userId": "me",
    "displayName": "Ana",
    "serverTime": timestamp(NOW),
    "messageTtl": 60,
    "heartbeat": 25,
    "limits": {"contentBytes": 4096},
    "token": "first token",
    "tokenExpiresAt": timestamp(NOW + 86_400_000),
}
JOINED: Fields = {
    "type": "joined",
    "roomId": ROOM,
    "members": [{"userId": "me", "displayName": "Ana"}],
    "memberCount": 1,
    "messages": [],
    "cursor": "start",
    "missed": 0,
    "unsent": [],
}


def message(number: int, content: str) -> Fields:
    return {
        "type": "message",
        "messageId": str(number),
        "senderId": "ben",
        "senderName": "Ben",
        "content": content,
        "createdAt": timestamp(NOW),
        "expiresAt": timestamp(NOW + 60_000),
        "cursor": f"cursor {number}",
    }


SENT = {"messageId": "", "createdAt": timestamp(NOW), "expiresAt": timestamp(NOW + 60_000), "duplicate": False}


class Soon(random.Random):
    """Always returns the lowest number: no pause is long."""

    def uniform(self, a: float, b: float) -> float:
        return a


class ServerConnection:
    """The server's side of one connection."""

    def __init__(self, socket: WebSocketConnection, path: str) -> None:
        self.socket = socket
        self.path = path

    async def takes(self, kind: str) -> Fields:
        command: Fields = json.loads(await self.socket.get_message())
        assert command["type"] == kind
        return command

    async def says(self, *events: Fields) -> None:
        await self.socket.send_message(json.dumps([self._whole(event) for event in events]))

    def _whole(self, event: Fields) -> Fields:
        """Return an event with what the protocol requires of it, and no test wants to say."""
        whole = {"roomId": ROOM} | event
        if event["type"] == "sent":
            whole = SENT | whole
        if "messages" in event:
            whole["messages"] = [self._whole(message) for message in event["messages"]]
        return whole

    async def answers(self, kind: str, reply: Fields, *events: Fields) -> Fields:
        command = await self.takes(kind)
        await self.says(reply | {"ref": command["ref"]}, *events)
        return command

    async def refuses(self, kind: str, code: str, **fields: object) -> Fields:
        error = {"type": "error", "code": code, "message": f"It is {code}.", "retry": False}
        return await self.answers(kind, error | fields)

    async def welcomes(self, **changes: object) -> Fields:
        """Answer `hello` and `join`; return the `join`."""
        await self.answers("hello", WELCOME)
        return await self.answers("join", JOINED | changes)


class Stage:
    """A conversation with pipes for a terminal. `connections` receives each connection that it makes."""

    def __init__(self, connections: trio.MemoryReceiveChannel[ServerConnection], stdin: int, stdout: int) -> None:
        self.connections = connections
        self._stdin = stdin
        self._stdout = stdout
        self._printed = b""
        self.failure: str | None = None
        self.over = trio.Event()

    async def type(self, text: str) -> None:
        os.write(self._stdin, f"{text}\n".encode())

    async def prints(self, expected: str) -> str:
        """Wait for the next line that is printed, and return it."""
        while b"\n" not in self._printed:
            await trio.lowlevel.wait_readable(self._stdout)
            self._printed += os.read(self._stdout, 65_536)
        line, self._printed = self._printed.split(b"\n", 1)
        assert expected in line.decode()
        return line.decode()


@asynccontextmanager
async def stage(
    refused: Collection[str] = (), key: RoomKey | None = None, invite: str | None = None
) -> AsyncGenerator[Stage]:
    """Yield a conversation with a server that answers 429 to the paths in `refused`. The others are of its link."""
    announce, connections = trio.open_memory_channel[ServerConnection](10)

    async def handle(request: WebSocketRequest) -> None:
        if request.path in refused:
            await request.reject(429)
            return
        socket = await request.accept(subprotocol="evanesce.v1")
        await announce.send(ServerConnection(socket, request.path))
        await trio.sleep_forever()

    stdin, typed = os.pipe()
    printed, stdout = os.pipe()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
            link = DeepLink(f"ws://127.0.0.1:{server.port}/ws", "here", ROOM, key, invite)
            here = Stage(connections, typed, printed)

            chat = trio.CancelScope()

            async def hold() -> None:
                with chat:
                    async with trio.open_nursery() as own:
                        here.failure = await converse(link, "Ana", Console(stdin, stdout), own, Soon())
                        own.cancel_scope.cancel()
                here.over.set()

            nursery.start_soon(hold)
            yield here
            chat.cancel()
            await here.over.wait()  # the server has to answer when the chat closes its connection
            nursery.cancel_scope.cancel()
    # The end of the input lets the thread go that still waits for a line.
    for descriptor in (typed, printed, stdout):
        os.close(descriptor)
