"""A command that was refused leaves no garbage that would keep its content in memory: it is freed at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import CoroutineType, FrameType, TracebackType
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.testing.server import memory_server
from tests.core.rooms.clients import join_room


@pytest.fixture
def garbage() -> Iterator[list[Any]]:
    """What the collector finds from now on, in place of freeing it."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


REFUSED = [
    {"type": "send", "content": "x" * 5_000},
    {"type": "send", "content": "   "},
    {"type": "send", "roomId": "another", "content": "hello"},
    {"type": "send", "roomId": "00000000-0000-4000-8000-000000000000", "content": "hello"},
    {"type": "send", "messageId": "no id", "content": "hello"},
    {"type": "send", "content": 5},
    {"type": "unsend", "messageId": "00000000-0000-4000-8000-000000000000"},
    {"type": "an unknown one", "content": "hello"},
    {"type": "challenge", "provider": "none"},
    {"type": "update_profile", "email": "no address"},
    {"type": "update_profile", "displayName": ""},
]


@pytest.mark.parametrize("command", REFUSED, ids=str)
async def test_nothing_of_a_refusal_is_garbage(
    autojump_clock: MockClock, garbage: list[Any], command: dict[str, Any]
) -> None:
    async with memory_server() as server:
        room, [ada] = await join_room(server, "Ada")
        await wait_all_tasks_blocked()
        gc.collect()
        garbage.clear()
        kind, *_ = command.values()
        reply = await ada.ask(
            kind, **{"roomId": room, **{key: value for key, value in command.items() if key != "type"}}
        )
        assert reply["type"] == "error"
        await wait_all_tasks_blocked()
        gc.collect()
        kept = [
            found for found in garbage if isinstance(found, BaseException | FrameType | TracebackType | CoroutineType)
        ]
        assert kept == []
