"""A queue that has grown long is emptied in linear time: a plain `dict` takes quadratic time from its front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio

from evanesce.rooms.hub import Renames
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.room import Room
from tests.hostile import costs

pytestmark = pytest.mark.slow


class RoomInbox:
    """Of a room only what a new name needs."""

    def __init__(self) -> None:
        self.inbox: Inbox[Any] = Inbox(1)


def rooms(count: int) -> list[RoomInbox]:
    return [RoomInbox() for _ in range(count)]


async def send_renames(rooms: Sequence[RoomInbox], steps: costs.Steps) -> None:
    renames = Renames()
    renames.add("ada", "Ada", cast("Sequence[Room]", rooms))
    async with trio.open_nursery() as nursery:
        await steps.restart()
        nursery.start_soon(renames.run)
        await rooms[-1].inbox.drain()
        nursery.cancel_scope.cancel()
    for room in rooms[:-1]:
        assert room.inbox


def test_new_names_for_many_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce.rooms.hub.RENAME_PAUSE_SECONDS", 0)
    monkeypatch.setattr("evanesce.rooms.hub.RENAMED_AT_ONCE", 64)
    assert costs.problem(costs.by_size(costs.of_task(send_renames), rooms)) is None
