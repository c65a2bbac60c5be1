"""Scripted people over a real connection, who remember every frame that they are told."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import trio

from evanesce.cli.client import Client, Ending, Fields
from evanesce.model import Timestamp, milliseconds

PATIENCE = 10.0
"""How long anything may take that a test waits for, in seconds."""


def conversation() -> list[str]:
    """Give the messages of `data/conversation.txt`."""
    text = (Path(__file__).parent / "data" / "conversation.txt").read_text(encoding="utf-8")
    return text.rstrip("\n").split("\n")[1:]


def seconds(time: str) -> float:
    """Read a time of the wire as seconds since 1970."""
    return milliseconds(Timestamp(time)) / 1000


class Endpoint(Protocol):
    """Where one connects."""

    @property
    def ws_url(self) -> str: ...


class Person:
    """One account, on one connection after the other. `record` has all that it was told, in order, over all of them."""

    def __init__(self, server: Endpoint, nursery: trio.Nursery, name: str) -> None:
        self.name = name
        self.server = server
        self.user_id = ""
        self.token = ""
        self.record: list[Fields] = []
        self.heard_at: list[float] = []
        """When each event of `record` came: seconds since 1970, of this machine, whose clock the store's is too."""
        self.client: Client | None = None
        self._nursery = nursery
        self._told = trio.Condition()

    @classmethod
    async def arrive(cls, server: Endpoint, nursery: trio.Nursery, name: str) -> Person:
        """Connect and sign in as a guest."""
        person = cls(server, nursery, name)
        await person.connect()
        return person

    async def connect(self) -> Fields:
        """Connect, and say hello: with the token, where there is one already."""
        with trio.fail_after(PATIENCE):
            self.client = await Client.open(self._nursery, self.server.ws_url)
            self._nursery.start_soon(self._remember, self.client)
            credential = {"provider": "guest", "displayName": self.name}
            welcome = await self.ask("hello", **({"token": self.token} if self.token else {"credential": credential}))
        self.user_id = welcome["userId"]
        self.token = welcome.get("token", self.token)
        return welcome

    async def connected_to(self, server: Endpoint) -> Person:
        """Give the same account one more connection, with a record of its own."""
        other = Person(server, self._nursery, self.name)
        other.token = self.token
        await other.connect()
        return other

    async def _remember(self, client: Client) -> None:
        async for event in client.events:
            self.record.append(event)
            self.heard_at.append(time.time())
            async with self._told:
                self._told.notify_all()
        async with self._told:
            self._told.notify_all()

    @property
    def present(self) -> Client:
        assert self.client is not None
        return self.client

    async def ask(self, kind: str, **fields: Any) -> Fields:
        """Send a command, give its reply. Raises `Refused`, `Disconnected`."""
        with trio.fail_after(PATIENCE):
            return await self.present.request({"type": kind} | fields)

    async def join(self, room_id: str, since: str | None = None) -> Fields:
        return await self.ask("join", roomId=room_id, **({} if since is None else {"since": since}))

    async def say(self, room_id: str, content: str, message_id: str | None = None) -> Fields:
        return await self.ask("send", roomId=room_id, content=content, messageId=message_id or str(uuid.uuid4()))

    async def hears(self, matches: Callable[[Fields], bool], *, after: int = 0) -> Fields:
        """Wait until the record has a matching event at or behind index `after`."""
        with trio.fail_after(PATIENCE):
            async with self._told:
                while True:
                    for event in self.record[after:]:
                        if matches(event):
                            return event
                    after = len(self.record)
                    await self._told.wait()

    async def hears_of(self, kind: str, *, after: int = 0, **fields: Any) -> Fields:
        """Wait for an event of a type with these fields."""
        wanted = {"type": kind} | fields
        return await self.hears(lambda event: wanted.items() <= event.items(), after=after)

    async def hears_the_end(self) -> None:
        """Wait until the connection is lost, however long that takes."""
        client = self.present
        async with self._told:
            while client.ending is None:
                await self._told.wait()

    async def is_sent_away(self) -> Ending:
        """Wait until the server has ended the connection."""
        client = self.present
        with trio.fail_after(PATIENCE):
            await self.hears_the_end()
        assert client.ending is not None
        return client.ending

    async def leave(self) -> None:
        """Close the connection properly."""
        await self.present.aclose()

    async def drop(self) -> None:
        """Lose the connection without a word, as in a tunnel."""
        await self.present.abort()

    def messages(self) -> list[Fields]:
        """Give all messages that this person was told, in order, those of `joined` among them."""
        told: list[Fields] = []
        for event in self.record:
            if event["type"] == "joined":
                told += event["messages"]
            elif event["type"] == "message":
                told.append(event)
        return told

    def contents(self) -> list[str]:
        return [message["content"] for message in self.messages()]

    def cursor(self, room_id: str) -> str:
        """Give the last cursor that this person was told of a room."""
        for event in reversed(self.record):
            if event.get("roomId") != room_id:
                continue
            if event["type"] == "gap":
                return str(event["since"])
            if event["type"] in ("message", "joined"):
                return str(event["cursor"])
        raise AssertionError("it was never there")


async def until(check: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for something of the world outside, which tells nobody when it happens."""
    with trio.fail_after(patience):
        while not check():  # noqa: ASYNC110 - there is nothing to wait for but time
            await trio.sleep(0.01)


def ids(messages: Sequence[Fields]) -> list[str]:
    return [message["messageId"] for message in messages]


def frame(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False)
