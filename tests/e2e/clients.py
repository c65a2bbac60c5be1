"""Scripted clients over a real connection, which record all events that they receive."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import trio

from evanesce.client.connection import CloseReason, Connection, Fields
from evanesce.client.errors import Refused
from evanesce.model import Timestamp, milliseconds
from evanesce.protocol.answers import ERRORS, FRAME_ERRORS, REPLIES
from tests.patience import PATIENCE

COMMANDS = {str(kind.__struct_config__.tag): kind for kind in REPLIES}
"""The commands by their names on the wire."""


def conversation() -> list[str]:
    """Return the messages of `data/conversation.txt`."""
    text = (Path(__file__).parent / "data" / "conversation.txt").read_text(encoding="utf-8")
    return text.rstrip("\n").split("\n")[1:]


def seconds(time: str) -> float:
    """Return a timestamp of the protocol as seconds since 1970."""
    return milliseconds(Timestamp(time)) / 1000


def check_refusal(kind: str, code: str) -> None:
    """Fail unless a command of this type may be refused with this code."""
    command = COMMANDS.get(kind)
    allowed = FRAME_ERRORS if command is None else ERRORS[command]
    assert code in {allowed_code.value for allowed_code in allowed}, f"{kind} is never refused with {code}"


class Endpoint(Protocol):
    """A server that clients connect to."""

    @property
    def ws_url(self) -> str: ...


class ChatClient:
    """A client with one account, over one connection after the other.

    `record` has all events that it received, in order, over all connections. `received_at` has the time of each, in
    seconds since 1970 by the clock of this machine, which is that of the store as well.
    """

    inspect: ClassVar[Callable[[Fields], None]] = lambda event: None
    """Called with each event that any client receives. A test may set it; it raises what it finds."""

    def __init__(self, server: Endpoint, nursery: trio.Nursery, name: str) -> None:
        self.name = name
        self.server = server
        self.user_id = ""
        self.token = ""
        self.record: list[Fields] = []
        self.received_at: list[float] = []
        self._connection: Connection | None = None
        self._nursery = nursery
        self._changed = trio.Condition()

    @classmethod
    async def open(cls, server: Endpoint, nursery: trio.Nursery, name: str) -> ChatClient:
        """Connect and sign in as a guest."""
        client = cls(server, nursery, name)
        await client.connect()
        return client

    async def connect(self) -> Fields:
        """Connect, and sign in with the token of the last sign-in, if there is one."""
        with trio.fail_after(PATIENCE):
            self._connection = await Connection.open(self._nursery, self.server.ws_url)
            self._nursery.start_soon(self._record, self._connection)
            credential = {"provider": "guest", "displayName": self.name}
            welcome = await self.ask("hello", **({"token": self.token} if self.token else {"credential": credential}))
        self.user_id = welcome["userId"]
        self.token = welcome.get("token", self.token)
        return welcome

    async def open_another(self, server: Endpoint) -> ChatClient:
        """Open another connection with the same account, and a record of its own."""
        other = ChatClient(server, self._nursery, self.name)
        other.token = self.token
        await other.connect()
        return other

    async def _record(self, client: Connection) -> None:
        async for event in client.events:
            ChatClient.inspect(event)
            self.record.append(event)
            self.received_at.append(time.time())
            async with self._changed:
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()

    @property
    def connection(self) -> Connection:
        """The present connection, which may be closed already."""
        assert self._connection is not None
        return self._connection

    async def ask(self, kind: str, **fields: Any) -> Fields:
        """Send a command, and return its reply. Raises `Refused` and `Disconnected`.

        Fails for another type of reply, or another error, than the protocol's tables have for the command.
        """
        with trio.fail_after(PATIENCE):
            try:
                reply = await self.connection.request({"type": kind} | fields)
            except Refused as refused:
                check_refusal(kind, refused.code)
                raise
        assert reply["type"] == REPLIES[COMMANDS[kind]].__struct_config__.tag
        return reply

    async def join(self, room_id: str, since: str | None = None) -> Fields:
        return await self.ask("join", roomId=room_id, **({} if since is None else {"since": since}))

    async def say(self, room_id: str, content: str, message_id: str | None = None) -> Fields:
        return await self.ask("send", roomId=room_id, content=content, messageId=message_id or str(uuid.uuid4()))

    async def wait_for(self, matches: Callable[[Fields], bool], *, after: int = 0) -> Fields:
        """Wait until the record has a matching event from index `after` on, and return the event."""
        with trio.fail_after(PATIENCE):
            async with self._changed:
                while True:
                    for event in self.record[after:]:
                        if matches(event):
                            return event
                    after = len(self.record)
                    await self._changed.wait()

    async def wait_for_event(self, kind: str, *, after: int = 0, **fields: Any) -> Fields:
        """Wait for an event of a type with these fields, and return it."""
        wanted = {"type": kind} | fields
        return await self.wait_for(lambda event: wanted.items() <= event.items(), after=after)

    async def wait_closed(self) -> None:
        """Wait, without a timeout, until the connection is closed."""
        client = self.connection
        async with self._changed:
            while client.close_reason is None:
                await self._changed.wait()

    async def wait_closed_by_server(self) -> CloseReason:
        """Wait until the server has closed the connection, and return the reason."""
        client = self.connection
        with trio.fail_after(PATIENCE):
            await self.wait_closed()
        assert client.close_reason is not None
        return client.close_reason

    async def close(self) -> None:
        """Close the connection with a closing handshake."""
        await self.connection.aclose()

    async def abort(self) -> None:
        """Close the TCP connection without a closing handshake."""
        await self.connection.abort()

    def messages(self) -> list[Fields]:
        """Return all messages that this client received, in order, including those in `joined`."""
        messages: list[Fields] = []
        for event in self.record:
            if event["type"] == "joined":
                messages += event["messages"]
            elif event["type"] == "message":
                messages.append(event)
        return messages

    def contents(self) -> list[str]:
        return [message["content"] for message in self.messages()]

    def cursor(self, room_id: str) -> str:
        """Return the last cursor of a room that this client received."""
        for event in reversed(self.record):
            if event.get("roomId") != room_id:
                continue
            if event["type"] == "gap":
                return str(event["since"])
            if event["type"] in ("message", "joined"):
                return str(event["cursor"])
        raise AssertionError("it was never in this room")


async def until(check: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until `check` returns true. It is polled: use it where there is no event to wait for."""
    with trio.fail_after(patience):
        while not check():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.01)


def ids(messages: Sequence[Fields]) -> list[str]:
    return [message["messageId"] for message in messages]


def frame(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False)
