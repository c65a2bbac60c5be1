"""Scripts of conversations: what they check, and what they say where somebody does not hear what was said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from evanesce.hookspecs import hookimpl
from evanesce.model import Draft
from evanesce.testing import ClientTalker, Talker, converse
from evanesce.testing.pytest_plugin import ServerFactory

SCRIPT = """
    ada opens a room
    bob joins
    ada: Hello, Bob
    bob: You: here?

    cleo joins
    bob leaves
    cleo: Too late
    bob joins
    ada: Welcome back
"""


class Nothing:
    """A plugin that does nothing."""

    evanesce_sees_content = True

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        return None


async def test_a_conversation_in_memory(plugin_server: ServerFactory) -> None:
    async with plugin_server({"nothing": Nothing()}) as server:
        met: list[str] = []

        async def meet(name: str) -> Talker:
            met.append(name)
            return ClientTalker(await server.guest(name))

        await converse(SCRIPT, meet)
        assert met == ["ada", "bob", "cleo"]


class Parrot:
    """Talks in a room of its own, in which messages may be lost, doubled or changed."""

    def __init__(self, heard: Sequence[tuple[str, str]], found: Sequence[tuple[str, str]] = ()) -> None:
        self.heard = list(heard)
        self.found = found

    async def create_room(self) -> str:
        return "room"

    async def join(self, room_id: str) -> Sequence[tuple[str, str]]:
        return self.found

    async def leave(self, room_id: str) -> None: ...

    async def send(self, room_id: str, content: str) -> None: ...

    async def hear(self) -> tuple[str, str]:
        return self.heard.pop(0)


@pytest.mark.parametrize(
    ("parrot", "script", "told"),
    [
        (Parrot([("ada", "b")]), "ada opens a room\nada: a", r"line 2, 'ada: a': ada has to hear .* and hears .*'b'"),
        (
            Parrot([("ada", "a"), ("ada", "a")]),
            "ada opens a room\nada: a\nada: b",
            r"line 3, 'ada: b': ada has to hear .*'b'.* and hears .*'a'",
        ),
        (Parrot([], [("bob", "x")]), "ada opens a room", r"line 1, .* has to find the messages \[\] .* finds .*'x'"),
    ],
)
async def test_what_is_not_heard_as_it_was_said_is_told(parrot: Parrot, script: str, told: str) -> None:
    async def meet(name: str) -> Talker:
        return parrot

    with pytest.raises(AssertionError, match=told):
        await converse(script, meet)


async def test_a_line_that_is_no_step_is_told() -> None:
    async def meet(name: str) -> Talker:
        return Parrot([])

    with pytest.raises(ValueError, match=r"line 1, 'ada sings': a step is"):
        await converse("ada sings", meet)
