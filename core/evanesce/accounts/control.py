"""Announcements to all servers: a sign-in has ended, an account was erased, a room is closed, a name has changed.

The database has the change already. So an announcement is published at once, and again while the store is unavailable,
until the store has taken it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store import Store
from evanesce.store.control_bus import (
    DrainRequested,
    Notice,
    TokenRevoked,
    UserBanned,
    UserDisconnected,
    UserErased,
    UserRenamed,
)

logger = logging.getLogger(__name__)

MOST_PENDING = 10_000
"""The most announcements that wait for an unavailable store; past that the oldest are dropped.

Other servers find those changes when they compare their state with the database (`Reconciliation`).
"""

RETRY_SECONDS = 0.25
"""The delay before a failed announcement is published again."""


@dataclass(frozen=True, slots=True)
class RoomClosing:
    """A room that is closed in the database, and must be closed in the store too."""

    room_id: str
    reason: str


Announcement = Notice | RoomClosing


class ControlPublisher:
    """Publishes announcements to all servers, and tries again until the store takes them. `run` must run beside it.

    `handle_here` is called at once with every notice, because this server must not wait for the store.
    """

    def __init__(self, store: Store, handle_here: Callable[[Notice], None]) -> None:
        self._store = store
        self._handle_here = handle_here
        self._pending: dict[tuple[type, str], Announcement] = {}
        self._work = trio.Event()

    @property
    def pending(self) -> int:
        """The number of announcements that the store has not taken yet."""
        return len(self._pending)

    def publish_soon(self, *announcements: Announcement) -> None:
        """Handle announcements on this server, and have `run` publish them. Does not wait.

        A newer announcement of the same kind about the same user or room replaces one that still waits.
        """
        self._queue(announcements)
        self._work.set()

    async def publish(self, *announcements: Announcement) -> None:
        """Do what `publish_soon` does, and wait until the store took them or did not answer. Raises nothing."""
        self._queue(announcements)
        try:
            for announcement in announcements:
                await self._publish(announcement)
        except StoreUnavailable:
            logger.warning("the store does not answer: %d announcements wait for it", len(self._pending))
        finally:
            if self._pending:  # also after a cancellation
                self._work.set()

    async def run(self) -> None:
        """Publish what waits, until cancelled."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._pending:
                key, announcement = next(iter(self._pending.items()))
                try:
                    await self._publish(announcement)
                except StoreUnavailable:
                    if self._pending.get(key) is announcement:
                        # One primary of a cluster may be unavailable: announcements for the others do not wait for it.
                        self._pending[key] = self._pending.pop(key)
                    await trio.sleep(RETRY_SECONDS)

    def _queue(self, announcements: tuple[Announcement, ...]) -> None:
        for announcement in announcements:
            if not isinstance(announcement, RoomClosing):
                self._handle_here(announcement)
            key = _key(announcement)
            self._pending.pop(key, None)
            if len(self._pending) >= MOST_PENDING:
                del self._pending[next(iter(self._pending))]
                logger.error("too many announcements wait for the store: the oldest was dropped")
            self._pending[key] = announcement

    async def _publish(self, announcement: Announcement) -> None:
        key = _key(announcement)
        if self._pending.get(key) is not announcement:
            return  # it is published, or was replaced
        if isinstance(announcement, RoomClosing):
            await self._store.messages.close_room(announcement.room_id, announcement.reason)
        else:
            await self._store.control.announce(announcement)
        if self._pending.get(key) is announcement:
            del self._pending[key]


def _key(announcement: Announcement) -> tuple[type, str]:
    match announcement:
        case (
            TokenRevoked(subject)
            | UserErased(subject)
            | UserRenamed(subject)
            | UserBanned(subject)
            | UserDisconnected(subject)
            | DrainRequested(subject)
            | RoomClosing(subject)
        ):
            return type(announcement), subject
