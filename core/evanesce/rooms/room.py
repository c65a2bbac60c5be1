"""A room: the actor that owns its subscriptions on this server and what it writes to the store.

Two tasks are the actor. This one handles the requests in the inbox, in groups, and asks the store. The other one, the
`RoomListener`, delivers what the store publishes, where something had to be fetched first. Most messages need neither:
a single one goes to the store at once, and what is published is delivered as it arrives. The state changes only in the
actor's own methods, between two checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import trio

from evanesce.context import ServerContext
from evanesce.errors import INTERNAL_REASON, CloseCode, CommandError, StoreUnavailable
from evanesce.model import ChatRoom
from evanesce.rooms.admissions import Admissions
from evanesce.rooms.backlog import Backlog
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.joining import Joining
from evanesce.rooms.kept_replies import KeptReplies
from evanesce.rooms.leaving import Leaving
from evanesce.rooms.listener import RoomListener
from evanesce.rooms.member_records import MemberRecords
from evanesce.rooms.membership import Membership
from evanesce.rooms.messages import Messages, end_span
from evanesce.rooms.pending_joins import PendingJoins
from evanesce.rooms.policy import RoomPolicy
from evanesce.rooms.presence import RoomPresence
from evanesce.rooms.requests import (
    JoinRequest,
    LeaveRequest,
    LeftRequest,
    MembersRequest,
    RecountRequest,
    RenameRequest,
    Request,
    ResendRequest,
    RoomRequest,
    SendRequest,
    TypingRequest,
    UnsendRequest,
    Wake,
)
from evanesce.rooms.returns import Returns
from evanesce.rooms.rule_sync import RuleSync
from evanesce.store.rules import RoomRules

T = TypeVar("T")

INBOX = 1_000
"""How many requests wait in a room's inbox before further ones have to wait for space."""

GROUP = 256
"""How many requests of one type go to the store together."""

TURNS = 3
"""How many turns of the scheduler a busy room waits for the next request: about as many as reading one takes."""


class Room:
    """One room on this server. `run` ends when the last subscriber has left, or the room is closed."""

    def __init__(
        self,
        room: ChatRoom,
        context: ServerContext,
        rule_sync: RuleSync,
        admissions: Admissions,
        returns: Returns,
        replies: KeptReplies,
    ) -> None:
        self.room_id = room_id = room.room_id
        self.inbox: Inbox[RoomRequest] = Inbox(INBOX)
        self._store = context.store
        self._roster_size = context.config.rooms.roster_size
        self._progress = trio.lowlevel.ParkingLot()  # unparked when requests are done, and when messages are delivered
        self._members = Membership(room_id, self._roster_size)
        self._presence = RoomPresence(room_id, self._members, self.inbox, context)
        self._policy = RoomPolicy(room, self._members, rule_sync, admissions, context)
        self._pending_joins = PendingJoins(
            room_id,
            rule_sync=rule_sync,
            admissions=admissions,
            returns=returns,
            inbox=self.inbox,
            metrics=context.metrics,
        )
        self._backlog = Backlog(room_id, context)
        records = MemberRecords(room_id, self._members, context)
        self._leaving = Leaving(
            room_id,
            members=self._members,
            backlog=self._backlog,
            pending=self._pending_joins,
            records=records,
            inbox=self.inbox,
            context=context,
        )
        self._joining = Joining(
            room_id,
            members=self._members,
            presence=self._presence,
            policy=self._policy,
            pending=self._pending_joins,
            backlog=self._backlog,
            leaving=self._leaving,
            records=records,
            context=context,
        )
        self._messages = Messages(room_id, self._members, self._policy, self._progress, replies, context)
        self._listener = RoomListener(
            room_id,
            members=self._members,
            presence=self._presence,
            policy=self._policy,
            backlog=self._backlog,
            leaving=self._leaving,
            messages=self._messages,
            inbox=self.inbox,
            progress=self._progress,
            metrics=context.metrics,
        )
        self.unconfirmed = False
        """Whether the database is being asked for it: what is known of it may have changed."""
        self._handling: Sequence[RoomRequest] = ()  # the requests that are being handled
        self._busy = False  # the last requests came as a group
        self._scope: trio.CancelScope | None = None  # that of `run`, once answers may come
        self._fault: Exception | None = None

    @property
    def has_members(self) -> bool:
        """Whether it has subscribers on this server."""
        return bool(self._members)

    @property
    def rules(self) -> RoomRules:
        """The rules of the room, as this server knows them."""
        return self._policy.rules

    def confirmed(self, room: ChatRoom) -> None:
        """Take the rules that the database has, before `run`."""
        self.unconfirmed = False
        self._policy.confirmed(room)

    def check_rules(self) -> None:
        """Ask the database for the rules, as changes may have been missed."""
        if not self.inbox.closed:
            self._policy.check(self._leaving.removed_by)

    async def run(self) -> None:
        """Serve the room until it has no subscribers. Raises `StoreUnavailable` where the store cannot be followed."""
        async with self._store.events.follow(self.room_id, self._roster_size) as feed, trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            self._presence.start(nursery)
            self._policy.start(nursery, self._leaving.removed_by)
            self._pending_joins.start(nursery)
            self._listener.start(nursery)
            nursery.start_soon(self._listener.run, feed, self._guarded)
            await self._work()
            nursery.cancel_scope.cancel()
        if self._fault is not None:
            raise self._fault

    def send_at_once(self, request: SendRequest) -> bool:
        """Store a message where nothing is before it, and no other message goes with it; return whether that is so.

        Else the request has to be put into the inbox. So a message in a quiet room wakes no task on its way to the
        store, and the messages of a busy room go there in groups.
        """
        quiet = not (self._busy or self._handling or self.inbox or self._messages.direct)
        if not quiet or self.inbox.closed or self._members.of(request.subscriber) is None:
            return False
        self._messages.send_at_once(request, self._guarded)
        return True

    def _guarded(self, handle: Callable[[T], None]) -> Callable[[T], None]:
        """Return a function for a task that is not the room's: a fault in handling an answer ends the room alone."""

        def guarded(answer: T) -> None:
            if self._fault is not None:
                return  # what follows on a delivery that failed must not be delivered
            try:
                handle(answer)
            except Exception as error:  # `run` raises it
                self._fault = self._fault or error
                if self._scope is not None:
                    self._scope.cancel()

        return guarded

    async def wait_idle(self) -> None:
        """Wait until all requests are done and all stored messages are delivered. The caller bounds the wait."""
        await trio.lowlevel.checkpoint()
        while not self.inbox.closed and (self.inbox or self._handling or self._messages.unpublished):
            await self._progress.park()

    async def leave_after_fault(self) -> None:
        """Remove the room's users on this server from the store, after a fault, if the store answers."""
        try:
            users = list(self._members.users)
            await self._store.presence.leave(self.room_id, users, lost=users)
        except StoreUnavailable:
            return  # users who come back are here again; the others leave when this server's lease ends

    def abandon(self, error: CommandError | None) -> None:
        """Remove all subscribers after `run` has raised: refuse their requests with `error`; without one, end them."""
        subscribers = {subscription.subscriber: None for subscription in self._members.subscriptions}
        direct, self._messages.direct = self._messages.direct, None
        waiting = [
            *([direct] if direct else []),
            *self._handling,
            *self.inbox.close(),
            *self._pending_joins.undecided,
        ]
        self._progress.unpark_all()
        for request in waiting:
            if isinstance(request, Request) and not self._is_answered(request):
                end_span(request)
                subscribers[request.subscriber] = None
                if error is not None:
                    request.subscriber.refuse(request.ref, error)
        self._leaving.all_left(lost=True)
        for subscriber in subscribers:
            subscriber.left(self.room_id)
            if error is None:
                subscriber.end(CloseCode.INTERNAL, INTERNAL_REASON)

    def _is_answered(self, request: Request) -> bool:
        return isinstance(request, JoinRequest) and self._pending_joins.is_dropped(request)

    async def _work(self) -> None:
        while True:
            self._handling = requests = await self._requests()
            if self._messages.direct is not None:  # it came before
                await self._messages.direct_answered()
                requests += self.inbox.drain_nowait()
                self._busy = len(requests) > 1
            self._messages.write_kept_reply()  # replies are in the order of the requests
            for _, alike in groupby(self._handling, type):
                same = list(alike)
                for start in range(0, len(same), GROUP):
                    await self._handle(same[start : start + GROUP])
            self._handling = ()
            self._progress.unpark_all()
            await self._backlog.read_on()
            if not (self._members or self.inbox or self._pending_joins.undecided):
                self.inbox.close()
                self._progress.unpark_all()
                return

    async def _requests(self) -> list[RoomRequest]:
        """Wait for the next requests, but no longer than until a subscriber that is behind can read on."""
        pause = self._backlog.pause
        if pause == math.inf:
            return await self._gathered(await self.inbox.drain())
        if pause == 0:
            await trio.lowlevel.checkpoint()
            return self.inbox.drain_nowait()
        with trio.move_on_after(pause):
            return await self.inbox.drain()
        return []

    async def _gathered(self, requests: list[RoomRequest]) -> list[RoomRequest]:
        """Wait some turns of the scheduler for further requests, where the last ones came as a group.

        Without that the first message of the next group would go to the store, and to all members, alone.
        """
        self._handling = requests  # they have left the inbox, and must not be lost where this is cancelled
        patience = TURNS if self._busy else 0
        while patience and len(requests) < GROUP:
            await trio.lowlevel.checkpoint()
            if self.inbox:
                requests += self.inbox.drain_nowait()
                patience = TURNS
            else:
                patience -= 1
        self._busy = len(requests) > 1
        return requests

    async def _handle(self, requests: Sequence[Any]) -> None:
        """Handle requests, which are all of the type of the first one."""
        match requests[0]:
            case SendRequest():
                await self._messages.send(requests)
            case TypingRequest():
                await self._messages.typing(requests)
            case ResendRequest():
                self._messages.resend(requests)
            case UnsendRequest():
                await self._messages.unsend(requests)
            case JoinRequest():
                await self._joining.join(requests)
            case LeaveRequest():
                await self._leaving.leave(requests)
            case MembersRequest():
                self._presence.answer_members(requests)
            case LeftRequest():
                await self._leaving.leave_removed(requests)
            case RenameRequest():
                await self._presence.rename(requests)
            case RecountRequest():
                await self._presence.recount()
            case Wake():
                pass
            case request:
                raise AssertionError(f"a room has no handler for {type(request).__name__}")
