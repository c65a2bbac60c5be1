"""The Hub: which rooms run on this server, which sessions there are; it starts rooms and outlives their faults."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Protocol

import trio

from evanesce.errors import CloseCode, StoreUnavailable
from evanesce.logs import folded
from evanesce.rooms.inbox import InboxClosed
from evanesce.rooms.requests import Rename, RoomRequest
from evanesce.rooms.room import Room
from evanesce.rooms.surroundings import Surroundings
from evanesce.store.base import Notice, TokenRevoked, UserErased, UserRenamed

logger = logging.getLogger(__name__)


class HubSession(Protocol):
    """A session, as the Hub sees it: somebody who has signed in, on one connection."""

    @property
    def user_id(self) -> str:
        """Who it is."""
        ...

    @property
    def sign_in_id(self) -> str:
        """Which sign-in its token is of."""
        ...

    @property
    def rooms(self) -> Collection[Room]:
        """Which rooms it is in."""
        ...

    def renamed(self, display_name: str) -> None:
        """Learn that the user has a new name."""
        ...

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection."""
        ...


class Hub:
    """The registry and supervisor of rooms, and the registry of sessions that have signed in.

    `listen` is told what servers announce, before sessions are.
    """

    def __init__(self, around: Surroundings, listen: Callable[[Notice], None]) -> None:
        self._around = around
        self._listen = listen
        self._rooms: dict[str, Room] = {}
        self._sessions: dict[str, list[HubSession]] = {}
        self._nursery: trio.Nursery | None = None
        self._ended = trio.lowlevel.ParkingLot()
        self._largest_inbox = 0  # of the rooms that have ended

    @property
    def rooms(self) -> int:
        """How many rooms run here."""
        return len(self._rooms)

    @property
    def inhabited(self) -> list[str]:
        """The ids of the rooms that anybody is in on this server."""
        return [room_id for room_id, room in self._rooms.items() if room.inhabited]

    @property
    def largest_inbox(self) -> int:
        """The most requests that ever waited in a room's inbox, of all rooms that have run here."""
        return max([self._largest_inbox, *(room.inbox.largest for room in self._rooms.values())])

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the parent of all rooms, and hear what the servers tell each other, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                self.hear(await self._around.store.notices())

    async def drain(self) -> None:
        """Wait until no room runs any more. The caller has seen to it that all members leave, and bounds the wait."""
        while self._rooms:
            await self._ended.park()

    # --- rooms ----------------------------------------------------------------------------------------------------

    def running(self, room_id: str) -> Room | None:
        """Give the room where it runs already. One that is just ending counts no more: another takes its place."""
        room = self._rooms.get(room_id)
        return None if room is None or room.inbox.closed else room

    def start(self, room_id: str) -> Room:
        """Give the room, started where it does not run yet. That there is such a room is the caller's to know."""
        room = self.running(room_id)
        if room is None:
            if self._nursery is None:
                raise AssertionError("the Hub does not run")
            room = self._rooms[room_id] = Room(room_id, self._around)
            self._nursery.start_soon(self._supervise, room)
        return room

    async def _supervise(self, room: Room) -> None:
        try:
            await room.run()
        except StoreUnavailable as error:
            room.abandon(error)
        except Exception as error:  # the border around a room: its fault ends its members' connections, nothing else
            logger.error("a room failed: %s", folded(error))
            self._around.metrics.faults.labels("room").inc()
            await self._abandon(room)
        finally:
            self._largest_inbox = max(self._largest_inbox, room.inbox.largest)
            if self._rooms.get(room.room_id) is room:
                del self._rooms[room.room_id]
            self._ended.unpark_all()

    async def _abandon(self, room: Room) -> None:
        try:
            await room.let_go()
        except Exception as error:  # as above: the members have to be told all the same
            logger.error("a room that failed could not be left: %s", folded(error))
        room.abandon(None)

    # --- sessions -------------------------------------------------------------------------------------------------

    async def admit(self, session: HubSession) -> bool:
        """List a session that has signed in; False where its user has as many connections as allowed on all servers.

        It is listed while the store is asked, and stays so where this is cancelled: `dismiss` it then.
        """
        user_id, most = session.user_id, self._around.config.limits.connections_per_user
        sessions = self._sessions.setdefault(user_id, [])
        sessions.append(session)
        admitted = len(sessions) <= most
        if admitted:
            with suppress(StoreUnavailable):  # this server's own count has to do then
                admitted = await self._around.store.connect(user_id, len(sessions), most)
        if not admitted:
            self.dismiss(session)
        return admitted

    def dismiss(self, session: HubSession) -> None:
        """Take a session from the list."""
        sessions = self._sessions.get(session.user_id, [])
        if session in sessions:
            sessions.remove(session)
            self._around.store.disconnect(session.user_id, len(sessions))
        if not sessions:
            self._sessions.pop(session.user_id, None)

    def hear(self, notice: Notice) -> None:
        """Act on what a server announced. The same may come twice."""
        self._listen(notice)
        match notice:
            case TokenRevoked(sign_in_id):
                everyone = (session for sessions in self._sessions.values() for session in sessions)
                self._sign_out(session for session in everyone if session.sign_in_id == sign_in_id)
            case UserErased(user_id):
                self._sign_out(self._sessions.get(user_id, []))
            case UserRenamed(user_id, display_name):
                rooms: dict[Room, None] = {}
                for session in self._sessions.get(user_id, []):
                    session.renamed(display_name)
                    rooms |= dict.fromkeys(session.rooms)
                for room in rooms:
                    _tell(room, Rename(user_id, display_name))

    def _sign_out(self, sessions: Iterable[HubSession]) -> None:
        for session in list(sessions):
            session.end(CloseCode.SIGN_IN_AGAIN, "This sign-in has ended. Sign in again.")


def _tell(room: Room, request: RoomRequest) -> None:
    try:
        room.inbox.put_over(request)
    except InboxClosed:
        return  # it has ended: nobody in it has a name
