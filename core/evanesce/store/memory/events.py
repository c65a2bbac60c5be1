"""The events of rooms in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from evanesce.store.events import Closed, Feed, Typing
from evanesce.store.memory.room import MemoryFeed, Room
from evanesce.store.memory.server import MemoryServer


class MemoryRoomEvents:
    """See `RoomEvents`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    @asynccontextmanager
    async def follow(self, room_id: str, roster: int) -> AsyncGenerator[Feed, None]:
        """See `RoomEvents.follow`."""

        def act() -> tuple[Room, MemoryFeed]:
            room = self._server.room(room_id)
            feed = MemoryFeed(roster, room.position(self._server.now()))
            if room.closed is not None:
                feed.give([Closed(room.closed)])
            room.feeds.append(feed)
            return room, feed

        room, feed = await self._server.ask(act)
        try:
            yield feed
        finally:
            room.feeds.remove(feed)  # nothing is given to it any more

    async def typing(self, room_id: str, user_id: str) -> None:
        """See `RoomEvents.typing`."""
        await self._server.ask(lambda: self._server.room(room_id).publish([Typing(user_id)]))
