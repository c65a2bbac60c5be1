"""Announcements of operators: a message of a service in each room that somebody is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from evanesce.admin.model import Announced
from evanesce.errors import CommandError, StoreUnavailable, Unavailable
from evanesce.model import ChatRoom, Draft, new_id
from evanesce.protocol import commands
from evanesce.protocol.fields import SERVICE_SUFFIX
from evanesce.services import SENDER_PREFIX, Services

PAGE = 200
"""How many rooms one request sends to."""

AT_ONCE = 10
"""To how many rooms of a page it is sent at the same time."""

SENDER_ID = f"{SENDER_PREFIX}evanesce"
SENDER_NAME = f"Announcement{SERVICE_SUFFIX}"
"""Who sends an announcement, as the members of rooms see it."""


@dataclass(slots=True)
class _Counts:
    sent: int = 0
    refused: int = 0
    failed: int = 0


class Announcer:
    """Sends announcements to rooms."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._repository = services.context.repository
        self._presence = services.context.store.presence

    async def announce(self, text: str, after: str) -> Announced:
        """Send `text` to a page of the rooms that somebody is in, those after the room id `after`.

        Raises `CommandError` before it was sent to any room.
        """
        rooms = await self._repository.all_rooms(after, PAGE, active=True)
        counts = await self._presence.counts([room.room_id for room in rooms])
        used = [room for room, count in zip(rooms, counts, strict=True) if count]
        found = _Counts()
        await self._send_all(text, used, found)
        if found.failed and not found.sent:
            raise StoreUnavailable
        answer = Announced(sent=found.sent, refused=found.refused, failed=found.failed)
        if len(rooms) < PAGE:
            return answer
        return Announced(sent=found.sent, refused=found.refused, failed=found.failed, next=rooms[-1].room_id)

    async def _send_all(self, text: str, rooms: Sequence[ChatRoom], found: _Counts) -> None:
        limit = trio.CapacityLimiter(AT_ONCE)

        async def send(room: ChatRoom) -> None:
            async with limit:
                try:
                    await self._send(text, room.room_id)
                except Unavailable:
                    found.failed += 1
                except CommandError:  # it is encrypted, a filter refused it, or it was closed meanwhile
                    found.refused += 1
                else:
                    found.sent += 1

        async with trio.open_nursery() as nursery:
            for room in rooms:
                nursery.start_soon(send, room)

    async def _send(self, text: str, room_id: str) -> None:
        rules = await self._services.rules_for(commands.Send(room_id=room_id, content=text))
        draft = Draft(message_id=new_id(), room_id=room_id, sender_id=SENDER_ID, sender_name=SENDER_NAME, content=text)
        await self._services.send(draft, rules)
