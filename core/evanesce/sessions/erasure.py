"""Erasing an account: its rooms are closed everywhere, its row is emptied, its connections end."""

from __future__ import annotations

from evanesce.interfaces import Repository
from evanesce.model import timestamp
from evanesce.plugins import Plugins
from evanesce.sessions.announcements import Announcements
from evanesce.store.base import MessageStore, UserErased

PAGE = 100
"""How many rooms are asked for at once."""

FORGOTTEN = "The account of its creator was erased."


class Erasure:
    """Erases accounts. Every method raises `Unavailable`; called again it does the rest."""

    def __init__(
        self, repository: Repository, store: MessageStore, plugins: Plugins, announcements: Announcements
    ) -> None:
        self._repository = repository
        self._store = store
        self._plugins = plugins
        self._announcements = announcements

    async def erase(self, user_id: str) -> None:
        """Erase an account, whatever is going on in its rooms."""
        for room_id in await self._rooms(user_id):
            await self._store.close_room(room_id, FORGOTTEN)
        for room_id in await self._repository.erase_user(user_id, timestamp(self._store.now())):
            self._plugins.observe("evanesce_room_closed", room_id=room_id)
        await self._announcements.make(UserErased(user_id))

    async def erase_unless_visited(self, user_id: str) -> bool:
        """Erase an account, unless somebody is in one of its rooms: then give False."""
        if any(await self._store.counts(await self._rooms(user_id))):
            return False
        await self.erase(user_id)
        return True

    async def _rooms(self, user_id: str) -> list[str]:
        found: list[str] = []
        after: str | None = None
        while True:
            rooms, after = await self._repository.rooms(user_id, after, PAGE)
            found += [room.room_id for room in rooms]
            if after is None:
                return found
