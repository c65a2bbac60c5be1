"""Conversations of several people as short scripts, which run over any transport and against any client library.

A script has one step on each line; empty lines are left out:

    ada opens a room
    bob joins
    ada: Hello, Bob
    bob leaves

After each message, everybody in the room, its sender too, has to hear it next. Whoever joins has to find the messages
that were sent before. So the order is checked, and that nothing is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from evanesce.testing.client import ChatClient

STEP_SECONDS = 30.0
"""How long one step of a script may take."""

Said = tuple[str, str]
"""A message: the name of its sender, and its content."""


class Talker(Protocol):
    """A person in a conversation. A client library needs an adapter with these methods to run scripts."""

    async def create_room(self) -> str:
        """Create a room, and return its id."""
        ...

    async def join(self, room_id: str) -> Sequence[Said]:
        """Join a room, and return the messages that it has, oldest first.

        A library that hands them over as events returns none of them here: they are heard first.
        """
        ...

    async def leave(self, room_id: str) -> None:
        """Leave a room."""
        ...

    async def send(self, room_id: str, content: str) -> None:
        """Send a message, and wait until it is accepted."""
        ...

    async def hear(self) -> Said:
        """Wait for the next message."""
        ...


class ClientTalker:
    """The `Talker` of a `ChatClient`."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client

    async def create_room(self) -> str:
        """See `Talker.create_room`."""
        return await self._client.create_room()

    async def join(self, room_id: str) -> Sequence[Said]:
        """See `Talker.join`."""
        joined = await self._client.join(room_id)
        return [(message["senderName"], message["content"]) for message in joined["messages"]]

    async def leave(self, room_id: str) -> None:
        """See `Talker.leave`."""
        await self._client.leave(room_id)

    async def send(self, room_id: str, content: str) -> None:
        """See `Talker.send`."""
        await self._client.send(room_id, content)

    async def hear(self) -> Said:
        """See `Talker.hear`."""
        message = await self._client.event("message")
        return message["senderName"], message["content"]


async def converse(script: str, meet: Callable[[str], Awaitable[Talker]]) -> None:
    """Run a script. `meet` returns the talker of a name, who is signed in under this name.

    Raises `AssertionError`, with the line of the script, where somebody does not hear what they should, and
    `ValueError` for a line that is no step.
    """
    conversation = _Conversation(meet)
    for number, line in enumerate(script.splitlines(), 1):
        if step := line.strip():
            try:
                with trio.fail_after(STEP_SECONDS):
                    await conversation.take(step)
            except trio.TooSlowError:
                raise AssertionError(f"line {number}, {step!r}: nothing more came in {STEP_SECONDS:g} s") from None
            except (AssertionError, ValueError) as error:
                raise type(error)(f"line {number}, {step!r}: {error}") from error


class _Conversation:
    def __init__(self, meet: Callable[[str], Awaitable[Talker]]) -> None:
        self._meet = meet
        self._met: dict[str, Talker] = {}
        self._inside: dict[str, Talker] = {}
        self._said: list[Said] = []
        self._room = ""

    async def take(self, step: str) -> None:
        """Take one step, and check what everybody hears of it."""
        name, colon, content = step.partition(": ")
        if colon and " " not in name:
            await self._say(name, content)
            return
        name, _, act = step.partition(" ")
        if act == "opens a room":
            self._room = await (await self._talker(name)).create_room()
            self._said = []
            await self._join(name)
        elif act == "joins":
            await self._join(name)
        elif act == "leaves":
            await self._inside.pop(name).leave(self._room)
        else:
            raise ValueError("a step is 'NAME opens a room', 'NAME joins', 'NAME leaves' or 'NAME: TEXT'")

    async def _talker(self, name: str) -> Talker:
        if name not in self._met:
            self._met[name] = await self._meet(name)
        return self._met[name]

    async def _join(self, name: str) -> None:
        talker = await self._talker(name)
        found = list(await talker.join(self._room))
        while len(found) < len(self._said):
            found.append(await talker.hear())
        if found != self._said:
            raise AssertionError(f"{name} has to find the messages {self._said} in the room, and finds {found}")
        self._inside[name] = talker

    async def _say(self, name: str, content: str) -> None:
        await self._inside[name].send(self._room, content)
        self._said.append((name, content))
        for other, talker in self._inside.items():
            heard = await talker.hear()
            if heard != (name, content):
                raise AssertionError(f"{other} has to hear {(name, content)} next, and hears {heard}")
