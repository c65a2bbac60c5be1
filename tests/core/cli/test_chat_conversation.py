"""The terminal's conversation with a scripted server: the rarer words of the protocol."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket

from evanesce.cli.account import GuestAccount
from evanesce.cli.client import Fields
from evanesce.cli.console import Console
from evanesce.cli.conversation import Conversation
from evanesce.cli.links import DeepLink
from evanesce.model import timestamp
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
        "cursor": f"cursor {number}",
    }


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
        await self.socket.send_message(json.dumps(events))

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

    async def prints(self, expected: str) -> None:
        """Wait for the next line that is printed."""
        while b"\n" not in self._printed:
            await trio.lowlevel.wait_readable(self._stdout)
            self._printed += os.read(self._stdout, 65_536)
        line, self._printed = self._printed.split(b"\n", 1)
        assert expected in line.decode()


@asynccontextmanager
async def stage(refused: Collection[str] = ()) -> AsyncGenerator[Stage]:
    """Yield a conversation with a server that answers 429 to the paths in `refused`."""
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
            link = DeepLink(f"ws://127.0.0.1:{server.port}/ws", "here", ROOM)
            here = Stage(connections, typed, printed)

            async def hold() -> None:
                async with trio.open_nursery() as own:
                    here.failure = await Conversation(link, GuestAccount("Ana"), Console(stdin, stdout), own).run()
                    own.cancel_scope.cancel()
                here.over.set()

            nursery.start_soon(hold)
            yield here
            nursery.cancel_scope.cancel()
    # The end of the input lets the thread go that still waits for a line.
    for descriptor in (typed, printed, stdout):
        os.close(descriptor)


async def test_a_gap_is_joined_again_and_prints_nothing_twice() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
        await connection.says(message(1, "one"), message(2, "two"), {"type": "gap", "since": "cursor 1"})
        join = await connection.takes("join")
        assert join["since"] == "cursor 1"
        again = JOINED | {"messages": [message(2, "two"), message(3, "three")], "missed": None, "cursor": "cursor 3"}
        await connection.says(message(3, "three"), again | {"ref": join["ref"]}, message(4, "four"))
        for expected in ("Ben: one", "Ben: two", "Ben: three", "you may have missed", "Ben: four"):
            await here.prints(expected)


async def test_it_comes_back_with_its_token_and_cursor() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await connection.says(message(1, "one"))
        await here.prints("you are in the room")
        await here.prints("Ben: one")
        goodbye = {"type": "goodbye", "code": 1001, "reason": "Away.", "reconnect": True, "reconnectAfter": 0.01}
        await connection.says(goodbye)
        await connection.socket.aclose(1001)
        await here.prints("Away. Reconnecting")
        connection = await here.connections.receive()
        hello = await connection.answers("hello", WELCOME)
        assert hello["token"] == "first token"
        join = await connection.answers("join", JOINED | {"missed": 3, "messages": [message(5, "five")]})
        assert join["since"] == "cursor 1"
        for expected in ("you are in the room", "you missed 3", "Ben: five"):
            await here.prints(expected)


async def test_every_third_attempt_in_a_row_does_not_name_the_room_in_the_address() -> None:
    async with stage() as here:
        paths: list[str] = []
        for _ in range(5):
            connection = await here.connections.receive()
            paths.append(connection.path)
            if len(paths) == 1:
                await connection.welcomes()
            await connection.socket.aclose(1011)
    hinted = f"/ws?roomId={ROOM}"
    assert paths == [hinted, hinted, hinted, "/ws", hinted], "the first was welcomed, so the count begins after it"


async def test_where_the_worker_of_the_room_refuses_the_first_connection_another_one_is_tried() -> None:
    hinted = f"/ws?roomId={ROOM}"
    async with stage(refused=[hinted]) as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
    assert connection.path == "/ws"
    async with stage(refused=[hinted, "/ws"]) as here:
        await here.over.wait()
    assert here.failure == "cannot reach here: it answers with HTTP status 429"


async def test_a_sign_in_that_has_run_out_is_made_anew() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await connection.socket.aclose(4401)
        connection = await here.connections.receive()
        hello = await connection.answers("hello", WELCOME | {"token": "second token"})
        assert hello["credential"] == {"provider": "guest", "displayName": "Ana"}
        await connection.answers("join", JOINED)
        await connection.socket.aclose(1011)
        connection = await here.connections.receive()
        await connection.refuses("hello", "invalid_token")
        connection = await here.connections.receive()
        assert "credential" in await connection.takes("hello")


async def test_a_server_without_guests() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.refuses("hello", "unknown_provider", message="You can sign in with: worldid.")
        await here.over.wait()
        assert here.failure is not None
        assert "open the link in a browser" in here.failure
        assert "You can sign in with: worldid." in here.failure


async def test_a_server_that_lets_nobody_in_for_the_moment() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.refuses(
            "hello", "persistence_unavailable", message="The database does not answer.", retry=True
        )
        await here.prints("* The database does not answer. Trying again.")
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")


async def test_the_token_is_renewed_when_half_of_its_time_is_over() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.answers("hello", WELCOME | {"tokenExpiresAt": timestamp(NOW + 1)})
        await connection.answers("join", JOINED)
        await connection.answers("ping", {"type": "pong", "serverTime": timestamp(NOW)})
        renewed = {"type": "token", "token": "second token", "tokenExpiresAt": timestamp(NOW + 86_400_000)}
        await connection.answers("refresh", renewed)
        assert (await connection.takes("hello"))["token"] == "second token"


async def test_a_message_is_asked_for_again_under_its_id() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.type("hello")
        first = await connection.refuses("send", "store_unavailable", retry=True, retryAfter=0.01)
        again = await connection.takes("send")
        await connection.socket.aclose(1011)
        connection = await here.connections.receive()
        await connection.welcomes()
        last = await connection.answers("send", {"type": "sent", "messageId": first["messageId"]})
        assert {command["messageId"] for command in (first, again, last)} == {first["messageId"]}
        assert last["content"] == "hello"
        await here.type("/unsend")
        assert (await connection.answers("unsend", {"type": "ok"}))["messageId"] == first["messageId"]


async def test_what_is_refused_is_said() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
        await here.type("hello")
        await connection.refuses("send", "rejected")
        await here.prints("* not sent: It is rejected.")
        await here.type("/unsend")
        await here.prints("no message to take back")


async def test_notices() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room: 1 person: Ana")
        await connection.says(
            {"type": "member_joined", "userId": "ben", "displayName": "Ben", "memberCount": 2},
            {"type": "member_updated", "userId": "ben", "displayName": "Benno"},
            {"type": "typing", "userId": "ben"},
            {"type": "member_left", "userId": "ben", "memberCount": 1},
            {"type": "skipped", "count": 2},
            {"type": "unsent", "messageId": "1"},
            {"type": "from a later version"},
            {"type": "member_count", "memberCount": 300},
            {"type": "room_closed", "reason": "It is over."},
        )
        for expected in (
            "Ben joined",
            "Ben is now Benno",
            "Benno left",
            "2 messages expired",
            "taken back",
            "It is over.",
        ):
            await here.prints(expected)
        await here.over.wait()
        assert here.failure is None


@pytest.mark.parametrize("retry", [True, False])
async def test_a_room_that_cannot_be_joined(retry: bool) -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.answers("hello", WELCOME)
        await connection.refuses("join", "room_full", retry=retry, retryAfter=0.01)
        if retry:
            await here.prints("It is room_full. Trying again")
            await connection.answers("join", JOINED)
            await here.prints("you are in the room")
        else:
            await here.over.wait()
            assert here.failure == "It is room_full."


async def test_a_code_that_forbids_coming_back() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await connection.says({"type": "goodbye", "code": 4403, "reason": "Not you.", "reconnect": False})
        await connection.socket.aclose(4403)
        await here.over.wait()
        assert here.failure == "the server closed the connection: Not you."


async def test_a_code_that_forbids_coming_back_in_place_of_a_welcome() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.takes("hello")
        await connection.says({"type": "goodbye", "code": 4429, "reason": "Close one of them.", "reconnect": False})
        await connection.socket.aclose(4429)
        await here.over.wait()
        assert here.failure == "the server closed the connection: Close one of them."
