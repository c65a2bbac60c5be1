"""Clients for tests: commands with their replies, and the events that arrive meanwhile."""

from __future__ import annotations

import itertools
import uuid
from abc import ABC, abstractmethod
from typing import Any

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from evanesce.testing.connection import MemoryConnection
from evanesce.testing.plugin_log import PluginLog

_WAIT_SECONDS = 60.0


class CommandRefused(Exception):
    """The server refused a command. `reply` is the `error` that the client received, as docs/reference/errors.md says.

    Where a plugin failed, its tracebacks are in the notes of the exception.
    """

    def __init__(self, command: str, reply: dict[str, Any]) -> None:
        super().__init__(f"{command} was refused as {reply['code']}: {reply['message']}")
        self.reply = reply
        self.code: str = reply["code"]
        self.message: str = reply["message"]
        self.retry_after: float | None = reply.get("retryAfter")


class ChatClient(ABC):
    """A client, however its frames travel. One task at a time may use it.

    `user_id`, `name` and `token` are those of the `welcome`, and empty before the client has signed in.
    """

    def __init__(self) -> None:
        self.user_id = ""
        self.name = ""
        self.token = ""
        self._refs = itertools.count(1)
        self._events: list[dict[str, Any]] = []

    @abstractmethod
    async def send_frame(self, frame: str) -> None:
        """Send a frame, which is one command as JSON."""

    @abstractmethod
    async def receive_event(self) -> dict[str, Any]:
        """Wait for the next reply or event."""

    @abstractmethod
    def describe(self) -> str:
        """Return in a few words what a failed test should say of the connection."""

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and return its reply, which may be an `error`. The fields are those of the protocol."""
        ref = f"{type}-{next(self._refs)}"
        await self.send_frame(msgspec.json.encode({"type": type, "ref": ref, **fields}).decode())
        with trio.move_on_after(_WAIT_SECONDS):
            while True:
                event = await self.receive_event()
                if event.get("ref") == ref:
                    return event
                self._events.append(event)
        raise AssertionError(f"no reply to {type} within {_WAIT_SECONDS:g} s; {self.describe()}")

    async def command(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and return its reply. Raises `CommandRefused` for an `error`."""
        reply = await self.ask(type, **fields)
        if reply["type"] == "error":
            raise self.refusal(type, reply)
        return reply

    def refusal(self, command: str, reply: dict[str, Any]) -> CommandRefused:
        """Return what `command` raises for an `error`."""
        return CommandRefused(command, reply)

    async def sign_in(self, credential: dict[str, Any]) -> None:
        """Sign in. Raises `CommandRefused`."""
        welcome = await self.command("hello", credential=credential)
        self.user_id, self.name, self.token = welcome["userId"], welcome["displayName"], welcome["token"]

    async def create_room(self, **fields: Any) -> str:
        """Create a room, and return its id. Raises `CommandRefused`."""
        room = await self.command("create_room", **fields)
        room_id: str = room["roomId"]
        return room_id

    async def join(self, room_id: str, **fields: Any) -> dict[str, Any]:
        """Join a room, and return `joined`, with its members and messages. Raises `CommandRefused`."""
        return await self.command("join", roomId=room_id, **fields)

    async def leave(self, room_id: str) -> None:
        """Leave a room. Raises `CommandRefused`."""
        await self.command("leave", roomId=room_id)

    async def send(self, room_id: str, content: str, **fields: Any) -> dict[str, Any]:
        """Send a message, and return `sent`. Raises `CommandRefused`.

        The message has a new `messageId` unless there is one among `fields`.
        """
        return await self.command(
            "send", **{"roomId": room_id, "messageId": str(uuid.uuid4()), "content": content} | fields
        )

    async def event(self, type: str, **fields: Any) -> dict[str, Any]:
        """Wait for the next event of a type with these fields, for at most a minute. Earlier events are discarded."""
        with trio.move_on_after(_WAIT_SECONDS):
            while True:
                event = self._events.pop(0) if self._events else await self.receive_event()
                if event["type"] == type and all(event.get(name) == value for name, value in fields.items()):
                    return event
        raise AssertionError(f"no event {type} with {fields} within {_WAIT_SECONDS:g} s; {self.describe()}")


class MemoryClient(ChatClient):
    """A client of a server in memory. `connection` is its connection, for tests that stall or break it."""

    def __init__(self, connection: MemoryConnection, log: PluginLog) -> None:
        super().__init__()
        self.connection = connection
        self._log = log

    async def events(self, *types: str) -> list[dict[str, Any]]:
        """Return the events that have arrived since the last call, of these types only if any are given.

        Waits before until nothing happens in the server any more, as far as that takes no time: so what another client
        has sent has arrived.
        """
        await wait_all_tasks_blocked()
        events, self._events = [*self._events, *self.connection.waiting()], []
        return [event for event in events if not types or event["type"] in types]

    async def send_frame(self, frame: str) -> None:
        """See `ChatClient.send_frame`."""
        await trio.lowlevel.checkpoint()
        self.connection.send(frame)

    async def receive_event(self) -> dict[str, Any]:
        """See `ChatClient.receive_event`."""
        while True:
            try:
                return await self.connection.hear()
            except trio.TooSlowError:
                continue  # the caller has the deadline

    def describe(self) -> str:
        """See `ChatClient.describe`."""
        closed = self.connection.closed
        return "the connection is open" if closed is None else f"the connection was closed with {closed}"

    def refusal(self, command: str, reply: dict[str, Any]) -> CommandRefused:
        """Return what `command` raises, with the tracebacks of plugins where the server failed."""
        refused = super().refusal(command, reply)
        if refused.code == "internal":
            refused.add_note(str(self._log))
        return refused
