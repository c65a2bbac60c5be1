"""The Hub: the registry of the rooms that run on this server, and of its sessions; it starts and supervises rooms."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from typing import Protocol

import trio

from evanesce.context import ServerContext
from evanesce.errors import CloseCode, CommandError, PersistenceUnavailable, StoreUnavailable
from evanesce.jobs import report_repository_fault
from evanesce.logs import folded, unbind_connection
from evanesce.model import ChatRoom, timestamp
from evanesce.rooms.admissions import Admissions
from evanesce.rooms.kept_replies import KeptReplies
from evanesce.rooms.requests import RenameRequest
from evanesce.rooms.returns import Returns
from evanesce.rooms.room import Room
from evanesce.rooms.rule_sync import RuleSync
from evanesce.store.control_bus import (
    DrainRequested,
    Notice,
    NoticesLost,
    TokenRevoked,
    UserBanned,
    UserDisconnected,
    UserErased,
    UserRenamed,
)

logger = logging.getLogger(__name__)

RENAMED_AT_ONCE = 2
"""How many rooms are sent a name at once: each costs a round trip to the store, and a frame for each of its members."""

BANNED = "This account is banned from this server."
"""Why a banned user's connection is ended."""

SIGN_IN_ENDED = "This sign-in has ended. Sign in again."

DISCONNECTED = "An operator of this server has ended this connection."

RENAME_PAUSE_SECONDS = 0.01
"""The pause before the next rooms, in which other tasks run."""


Confirm = Callable[[], Awaitable[ChatRoom]]
"""Returns a room as the database has it. Raises `CommandError`, such as `room_not_found`."""


class HubSession(Protocol):
    """A session, as the Hub sees it: a user who has signed in on one connection."""

    @property
    def user_id(self) -> str:
        """The user's id."""
        ...

    @property
    def display_name(self) -> str:
        """The user's name."""
        ...

    @property
    def sign_in_id(self) -> str:
        """The id of the sign-in that its token belongs to."""
        ...

    @property
    def rooms(self) -> Collection[Room]:
        """The rooms that it is in."""
        ...

    def renamed(self, display_name: str) -> None:
        """Set the user's new name."""
        ...

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection."""
        ...


class Hub:
    """The registry and supervisor of rooms, and the registry of sessions that have signed in."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._listeners: list[Callable[[Notice | NoticesLost], None]] = []
        self._rooms: dict[str, Room] = {}
        self._sessions: dict[str, list[HubSession]] = {}  # by user
        self._sign_ins: dict[str, dict[HubSession, None]] = {}  # sessions in the order in which they began
        self._renames = Renames()
        self.rule_sync = RuleSync(context)
        """Keeps the store's copies of the rules of rooms up to date."""
        self._admissions = Admissions(context)
        self._returns = Returns(context)
        self._replies = KeptReplies()
        self._nursery: trio.Nursery | None = None
        self._ended = trio.lowlevel.ParkingLot()
        self._largest_inbox = 0  # of the rooms that have ended

    @property
    def rooms(self) -> int:
        """The number of rooms that run here."""
        return len(self._rooms)

    @property
    def room_ids_with_members(self) -> list[str]:
        """The ids of the rooms that have members on this server."""
        return [room_id for room_id, room in self._rooms.items() if room.has_members]

    @property
    def largest_inbox(self) -> int:
        """The most requests that ever waited in a room's inbox, of all rooms that have run here."""
        return max([self._largest_inbox, *(room.inbox.largest for room in self._rooms.values())])

    @property
    def waiting_requests(self) -> int:
        """How many requests wait in the inboxes of all rooms."""
        return sum(len(room.inbox) for room in self._rooms.values())

    @property
    def room_ids(self) -> Collection[str]:
        """The ids of the rooms that run here."""
        return self._rooms.keys()

    @property
    def user_ids(self) -> list[str]:
        """The ids of all users who have signed in on a connection to this server."""
        return list(self._sessions)

    @property
    def sign_ins(self) -> list[tuple[str, str]]:
        """The user and sign-in ids of all sessions, each once."""
        return [(next(iter(sessions)).user_id, sign_in_id) for sign_in_id, sessions in self._sign_ins.items()]

    def sessions_of(self, user_id: str) -> list[HubSession]:
        """Return the sessions of a user."""
        return list(self._sessions.get(user_id, ()))

    def listen(self, listener: Callable[[Notice | NoticesLost], None]) -> None:
        """Call `listener` with every notice, after the sessions were informed, in the order of these calls."""
        self._listeners.append(listener)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the rooms, and handle the notices of all servers, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._renames.run)
            nursery.start_soon(self._replies.run)
            nursery.start_soon(self.rule_sync.run)
            task_status.started()
            while True:
                self.handle_notice(await self._context.store.control.next_notice())

    async def drain(self) -> None:
        """Wait until no room runs. The caller makes all members leave before, and bounds the wait."""
        while self._rooms:
            await self._ended.park()

    # --- rooms ----------------------------------------------------------------------------------------------------

    def running(self, room_id: str) -> Room | None:
        """Return a room that runs. A room that is ending does not count: a new one takes its place."""
        room = self._rooms.get(room_id)
        return None if room is None or room.inbox.closed else room

    def start(self, known: ChatRoom, confirm: Confirm | None = None) -> Room:
        """Return a room, and start it where it does not run. The caller knows that the room exists.

        Where that was so lately only, the room is asked for by `confirm` before anything else happens in it.
        """
        room = self.running(known.room_id)
        if room is None:
            if self._nursery is None:
                raise AssertionError("the Hub does not run")
            room = self._rooms[known.room_id] = Room(
                known, self._context, self.rule_sync, self._admissions, self._returns, self._replies
            )
            room.unconfirmed = confirm is not None
            self._nursery.start_soon(self._supervise, room, confirm)
        return room

    async def _supervise(self, room: Room, confirm: Confirm | None) -> None:
        unbind_connection()  # the connection whose join has started the room is not the room's
        try:
            if confirm is None or await self._confirmed(room, confirm):
                await room.run()
        except StoreUnavailable as error:
            room.abandon(error)
        except Exception as error:  # a fault of one room ends the connections of its members, and nothing else
            logger.error("a room failed: %s", folded(error))
            self._context.metrics.faults.labels("room").inc()
            await self._abandon(room)
        finally:
            self._largest_inbox = max(self._largest_inbox, room.inbox.largest)
            if self._rooms.get(room.room_id) is room:
                del self._rooms[room.room_id]
            self._ended.unpark_all()

    async def _confirmed(self, room: Room, confirm: Confirm) -> bool:
        """Take the rules that the database has now. Where it has no such room, refuse all joins, and return False."""
        try:
            room.confirmed(await confirm())
            return True
        except CommandError as error:
            refusal = error
        except Exception as error:
            report_repository_fault("looking up a room", error, self._context.metrics)
            refusal = PersistenceUnavailable()
        room.abandon(refusal)
        return False

    async def _abandon(self, room: Room) -> None:
        try:
            await room.leave_after_fault()
        except Exception as error:  # as above: the members are dismissed all the same
            logger.error("a room that failed could not be left: %s", folded(error))
        room.abandon(None)

    # --- sessions -------------------------------------------------------------------------------------------------

    async def admit(self, session: HubSession) -> bool:
        """Register a session that has signed in; return False where its user has too many connections on all servers.

        It is registered while the store is asked, and stays so where this is cancelled: `dismiss` it then.
        """
        user_id, most = session.user_id, self._context.config.limits.connections_per_user
        sessions = self._sessions.setdefault(user_id, [])
        sessions.append(session)
        self._sign_ins.setdefault(session.sign_in_id, {})[session] = None
        admitted = len(sessions) <= most
        if admitted:
            with suppress(StoreUnavailable):  # then the number of connections to this server has to do
                admitted = await self._context.store.rate_limits.connect(user_id, len(sessions), most)
        if not admitted:
            self.dismiss(session)
        return admitted

    def signed_in_anew(self, session: HubSession, before: str) -> None:
        """Register another sign-in of a session, in place of the one with the id `before`."""
        self._remove_sign_in(session, before)
        self._sign_ins.setdefault(session.sign_in_id, {})[session] = None

    def dismiss(self, session: HubSession) -> None:
        """Remove a session from the registry."""
        sessions = self._sessions.get(session.user_id, [])
        if session in sessions:
            sessions.remove(session)
            self._remove_sign_in(session, session.sign_in_id)
            self._context.store.rate_limits.disconnect(session.user_id, len(sessions))
        if not sessions:
            self._sessions.pop(session.user_id, None)

    def _remove_sign_in(self, session: HubSession, sign_in_id: str) -> None:
        sessions = self._sign_ins.get(sign_in_id, {})
        sessions.pop(session, None)
        if not sessions:
            self._sign_ins.pop(sign_in_id, None)

    def handle_notice(self, notice: Notice | NoticesLost) -> None:
        """Inform the sessions that a notice is about, and the listeners. The same notice may come twice.

        It costs no more than the sessions that it is about.
        """
        match notice:
            case TokenRevoked(sign_in_id):
                self._end(self._sign_ins.get(sign_in_id, ()), CloseCode.SIGN_IN_AGAIN, SIGN_IN_ENDED)
            case UserErased(user_id):
                self._end(self._sessions.get(user_id, ()), CloseCode.SIGN_IN_AGAIN, SIGN_IN_ENDED)
            case UserBanned(user_id, until):
                if until > timestamp(self._context.store.clock.now()):
                    self._end(self._sessions.get(user_id, ()), CloseCode.NOT_ALLOWED, BANNED)
            case UserDisconnected(user_id):
                self._end(self._sessions.get(user_id, ()), CloseCode.NOT_ALLOWED, DISCONNECTED)
            case UserRenamed(user_id, display_name):
                self.rename(user_id, display_name)
            case NoticesLost() | DrainRequested():
                pass  # the listeners find out what was lost, and take servers out of service
        for listener in self._listeners:
            listener(notice)

    def rename(self, user_id: str, display_name: str) -> None:
        """Inform a user's sessions, and the rooms that they are in, of the user's name."""
        rooms: dict[Room, None] = {}
        for session in self._sessions.get(user_id, ()):
            session.renamed(display_name)
            rooms |= dict.fromkeys(session.rooms)
        self._renames.add(user_id, display_name, rooms)

    def _end(self, sessions: Iterable[HubSession], code: CloseCode, reason: str) -> None:
        for session in list(sessions):
            session.end(code, reason)


class Renames:
    """New names of users that wait to be sent to rooms: at most one for each member of each room.

    A new name of a user who is in many rooms reaches all their members. If it was sent to all rooms at once,
    everything else would wait for that.
    """

    def __init__(self) -> None:
        # A plain `dict` finds its first key the more slowly, the more keys before that were deleted.
        self._waiting: OrderedDict[tuple[Room, str], str] = OrderedDict()
        self._added = trio.lowlevel.ParkingLot()

    def add(self, user_id: str, display_name: str, rooms: Iterable[Room]) -> None:
        """Queue a new name for `rooms`, in place of an earlier one that still waits."""
        for room in rooms:
            self._waiting[room, user_id] = display_name
        self._added.unpark()

    async def run(self) -> None:
        """Send the names to the rooms, until cancelled."""
        while True:
            while not self._waiting:
                await self._added.park()
            for _ in range(min(RENAMED_AT_ONCE, len(self._waiting))):
                (room, user_id), display_name = self._waiting.popitem(last=False)
                room.inbox.put_unless_closed(RenameRequest(user_id, display_name))
            await trio.sleep(RENAME_PAUSE_SECONDS)
