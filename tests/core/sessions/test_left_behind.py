"""What a server remembers of connections and rooms that have ended: nothing, as they hold names of users."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from evanesce.rooms.room import Room
from evanesce.sessions.session import Session
from evanesce.sessions.task import SessionTask
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, join_room

KINDS = (Room, Session, SessionTask)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Free objects only where nothing refers to them: a busy server collects cycles late, an idle one never."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def living() -> list[type]:
    """Return the types of the connections and rooms that are in memory."""
    return sorted((type(each) for each in gc.get_objects() if isinstance(each, KINDS)), key=KINDS.index)


@pytest.mark.parametrize("end", ["leave", "close", "erase"])
async def test_nothing_holds_a_connection_or_a_room_that_has_ended(
    autojump_clock: MockClock, no_collector: None, end: str
) -> None:
    async with memory_server(limits=QUICK) as server:
        room, connections = await join_room(server, "Ada", "Bob")
        for connection in connections:
            await connection.ask("typing", roomId=room)
            await connection.ask("profile", displayName="Other")
            await connection.ask("send", roomId=room, content="hello")
        assert living() == [Room, Session, Session, SessionTask, SessionTask]
        await trio.sleep(10)
        if end == "close":
            await connections[0].ask("close_room", roomId=room)
        for connection in connections:
            if end == "erase":
                await connection.ask("forget_me")
            connection.leave()
        await trio.sleep(10)
        assert living() == []
