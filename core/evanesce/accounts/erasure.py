"""Erasing an account: its rooms are closed on all servers, its row is emptied, its connections are closed."""

from __future__ import annotations

from evanesce.accounts.control import ControlPublisher, RoomClosing
from evanesce.accounts.purge import Purge
from evanesce.context import ServerContext
from evanesce.model import timestamp
from evanesce.store.control_bus import UserErased

PAGE = 100
"""How many rooms one query returns."""

FORGOTTEN = "The account of the room's creator was erased."


class Erasure:
    """Erases accounts. Every method raises `Unavailable`; calling it again continues where it stopped."""

    def __init__(self, context: ServerContext, publisher: ControlPublisher, purge: Purge) -> None:
        self._repository = context.repository
        self._store = context.store
        self._plugins = context.plugins
        self._publisher = publisher
        self._purge = purge

    async def erase(self, user_id: str) -> None:
        """Erase an account, and close its rooms even where they have members.

        After the database has erased it there is no way back: from then on the store is asked until it has followed.
        """
        closed = await self._rooms(user_id)
        for room_id in closed:
            await self._store.messages.close_room(room_id, FORGOTTEN)
        rooms = await self._repository.erase_user(user_id, timestamp(self._store.clock.now()))
        self._purge.request()
        for room_id in rooms:
            self._plugins.observe("evanesce_room_closed", room_id=room_id)
        self._plugins.observe("evanesce_user_erased", user_id=user_id)
        # This includes rooms that were opened after the first query.
        later = [RoomClosing(room_id, FORGOTTEN) for room_id in rooms if room_id not in closed]
        await self._publisher.publish(UserErased(user_id), *later)

    async def erase_unless_visited(self, user_id: str) -> bool:
        """Erase an account, unless one of its rooms has members; return whether it was erased."""
        if any(await self._store.presence.counts(list(await self._rooms(user_id)))):
            return False
        await self.erase(user_id)
        return True

    async def _rooms(self, user_id: str) -> dict[str, None]:
        found: dict[str, None] = {}
        after: str | None = None
        while True:
            rooms, after = await self._repository.rooms(user_id, after, PAGE)
            found |= dict.fromkeys(room.room_id for room in rooms)
            if after is None:
                return found
