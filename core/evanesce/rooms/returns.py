"""Who comes back to a locked room after the store has lost its data, and with it who had lost the connection."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from evanesce.context import ServerContext
from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import MOST_CHECKED
from evanesce.lookups import Lookups
from evanesce.model import timestamp
from evanesce.store.rules import COME_BACK_SECONDS
from evanesce.store.server_registry import RENEWED_SECONDS


def room_locked() -> CommandError:
    """Return the refusal of a join to a locked room."""
    return CommandError(ErrorCode.ROOM_LOCKED, "This room is locked: nobody new may join.")


class Returns:
    """The returns to all rooms, by the session log of the database."""

    def __init__(self, context: ServerContext) -> None:
        self._repository = context.repository
        self._store = context.store
        self._session_log = context.config.server.session_log
        # After a restart, all members of all such rooms come back at once.
        self._lookups: Lookups[tuple[str, str], bool] = Lookups(self._find, MOST_CHECKED)

    def has_to_be_asked(self, room_id: str) -> bool:
        """Return whether the database may know of somebody who comes back, and the store not.

        That is so until the store has known for `COME_BACK_SECONDS` who was in the room. Nobody comes back later.
        """
        return self._session_log and self._known_for(room_id) < COME_BACK_SECONDS

    async def check(self, room_id: str, user_id: str) -> None:
        """Return if a user has lost the connection to a room, and may come back.

        Raises `CommandError`: `room_locked`, or that the database or the store does not answer.
        """
        # Until then a server that runs may be taken for a dead one, and its sessions that have ended for lost ones.
        await trio.sleep(RENEWED_SECONDS - min(RENEWED_SECONDS, max(0.0, self._known_for(room_id))))
        if not await self._lookups.get((room_id, user_id)):
            raise room_locked()

    def _known_for(self, room_id: str) -> float:
        return (self._store.clock.now() - self._store.presence.remembers_since(room_id)) / 1000

    async def _find(self, members: Sequence[tuple[str, str]]) -> Sequence[bool]:
        running = await self._store.servers.running()
        after = timestamp(self._store.clock.now() - COME_BACK_SECONDS * 1000)
        return await self._repository.lost(members, after, running)
