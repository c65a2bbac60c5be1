"""A room: the actor that owns its membership on this server and its writes.

Two tasks are the actor: one works through the inbox, in groups, and asks the store; the other listens to the store and
tells the members. What they share, the `Membership`, changes only between awaits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import cast

import trio
from msgspec import UNSET

from evanesce.errors import CloseCode, CommandError, StoreUnavailable
from evanesce.frame import Outgoing
from evanesce.protocol import events
from evanesce.rooms.attendance import Attendance
from evanesce.rooms.errors import not_member
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.membership import Membership
from evanesce.rooms.requests import (
    AskMembers,
    CountAnew,
    Enter,
    Post,
    Quit,
    Rename,
    Request,
    RoomRequest,
    Wake,
    Withdraw,
    Write,
)
from evanesce.rooms.seat import Tellable
from evanesce.rooms.surroundings import Surroundings
from evanesce.rooms.talk import Talk
from evanesce.store.base import (
    Closed,
    Feed,
    Happening,
    Lost,
    MessageWithdrawn,
    Person,
    Positioned,
    Presence,
    PresenceChanged,
    Writing,
)

INBOX = 1_000
"""How many requests wait in a room's inbox before those who ask have to wait."""

GROUP = 256
"""How many requests of a kind go to the store together."""

TURNS = 3
"""How many turns of the scheduler a busy room waits for the next request: about as many as reading one takes."""

COUNT_SECONDS = 1.0
"""How often the members of a large room are told its size."""


class Room:
    """One room on this server. `run` is its life: it ends when the last member has left, or the room is closed."""

    def __init__(self, room_id: str, around: Surroundings) -> None:
        self.room_id = room_id
        self.inbox: Inbox[RoomRequest] = Inbox(INBOX)
        self._around = around
        self._store = around.store
        self._roster_size = around.config.rooms.roster_size
        self._members = Membership(room_id, self._roster_size)
        self._attendance = Attendance(room_id, self._members, around, self._take)
        self._talk = Talk(room_id, self._members, around)
        self._taken: Sequence[RoomRequest] = ()  # what is being worked on
        self._busy = False  # the last requests came as a group
        self._told = trio.lowlevel.ParkingLot()
        self._counting = False  # somebody has asked for the names, and waits for them
        self._count_due = False
        self._count_told_at = -math.inf
        self._nursery: trio.Nursery

    @property
    def inhabited(self) -> bool:
        """Whether anybody is in it on this server."""
        return bool(self._members)

    async def run(self) -> None:
        """Serve the room until nobody is in it. Raises `StoreUnavailable` where the store cannot be followed."""
        async with (
            self._store.follow(self.room_id, self._roster_size) as feed,
            trio.open_nursery() as nursery,
        ):
            self._nursery = nursery
            nursery.start_soon(self._listen, feed)
            await self._work()
            nursery.cancel_scope.cancel()

    async def settled(self) -> None:
        """Wait until all that was asked of it is done, and all that it stored was told. The caller bounds the wait."""
        await trio.lowlevel.checkpoint()
        while not self.inbox.closed and (self.inbox or self._taken or self._talk.unheard):
            await self._told.park()

    async def let_go(self) -> None:
        """Tell the store, after a fault, that nobody is here any more, as far as it can be told."""
        try:
            await self._store.leave(self.room_id, list(self._members.users))
        except StoreUnavailable:
            return  # whoever comes back is here again; the others leave when this server's lease ends

    def abandon(self, error: CommandError | None) -> None:
        """Let go of everyone after `run` has raised: refuse what they ask with `error`; without one, end them."""
        subscribers = {seat.subscriber: None for seat in self._members.seats}
        waiting = [*self._taken, *self.inbox.close()]
        self._told.unpark_all()
        for request in waiting:
            if isinstance(request, Request):
                subscribers[request.subscriber] = None
                if error is not None:
                    request.subscriber.refuse(request.ref, error)
        self._attendance.clear()
        for subscriber in subscribers:
            subscriber.dismissed(self.room_id)
            if error is None:
                subscriber.end(CloseCode.FAULT, "A fault in the server ended this connection. Come back in a moment.")

    # --- what is asked --------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._taken = await self._requests()
            for kind, group in groupby(self._taken, type):
                requests = list(group)
                for start in range(0, len(requests), GROUP):
                    await self._do(kind, requests[start : start + GROUP])
            self._taken = ()
            self._told.unpark_all()
            await self._attendance.read_on()
            if not self._members and not self.inbox:
                self.inbox.close()
                self._told.unpark_all()
                return

    async def _requests(self) -> list[RoomRequest]:
        """Wait for what is asked next, no longer than until there is something else to do."""
        pause = self._attendance.pause
        if pause == math.inf:
            return await self._gathered(await self.inbox.drain())
        if pause == 0:
            await trio.lowlevel.checkpoint()
            return self.inbox.drain_nowait()
        with trio.move_on_after(pause):
            return await self.inbox.drain()
        return []

    async def _gathered(self, requests: list[RoomRequest]) -> list[RoomRequest]:
        """Wait some turns of the scheduler for what follows, where the last group was one: then this is the next.

        Without that its first message goes to the store alone, and everybody is told of it alone.
        """
        self._taken = requests  # they are no longer in the inbox, and must not be forgotten where this is cancelled
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

    async def _do(self, kind: type[RoomRequest], requests: Sequence[RoomRequest]) -> None:
        """Do what is asked; `requests` are all of one kind."""
        if kind is Post:
            await self._talk.post(cast("Sequence[Post]", requests))
        elif kind is Enter:
            await self._attendance.enter(cast("Sequence[Enter]", requests))
        elif kind is Quit:
            await self._attendance.quit(cast("Sequence[Quit]", requests))
        else:
            for request in requests:
                await self._do_one(request)

    async def _do_one(self, request: RoomRequest) -> None:
        match request:
            case Wake():
                pass
            case CountAnew():
                await self._count_anew()
            case Rename(user_id, display_name):
                await self._rename(Person(user_id, display_name))
            case Withdraw() | Write() | AskMembers() if self._members.of(request.subscriber) is None:
                request.subscriber.refuse(request.ref, not_member())
            case Withdraw():
                await self._talk.withdraw(request)
            case Write():
                await self._talk.write(request)
            case AskMembers():
                request.subscriber.answer([Outgoing(self._answer_members(request))])
            case _:
                raise AssertionError(f"a room has no answer to {type(request).__name__}")

    def _answer_members(self, request: AskMembers) -> events.MembersReply:
        roster = self._members.roster
        members = roster.members
        return events.MembersReply(
            ref=request.ref,
            room_id=self.room_id,
            members=UNSET if members is None else members,
            member_count=roster.count,
        )

    async def _rename(self, person: Person) -> None:
        if self._members.connections(person.user_id):
            try:
                await self._store.rename(self.room_id, person)
            except StoreUnavailable:
                return  # the store sees to it when it is back

    async def _count_anew(self) -> None:
        self._counting = False
        try:
            presence = await self._store.presence(self.room_id, self._roster_size)
        except StoreUnavailable:
            return  # the feed says how it is when the store is back
        self._members.announce(self._members.roster.snapshot(presence))

    # --- what the store says --------------------------------------------------------------------------------------

    async def _listen(self, feed: Feed) -> None:
        while True:
            self._hear(await feed.next())

    def _hear(self, happenings: Sequence[Happening]) -> None:
        entries: list[Tellable] = []
        for happening in happenings:
            if isinstance(happening, Positioned | MessageWithdrawn):
                entries.append(happening)
                continue
            self._tell(entries)
            entries = []
            match happening:
                case Writing(user_id):
                    self._members.announce([events.TypingEvent(room_id=self.room_id, user_id=user_id)])
                case Lost():
                    self._talk.unheard.clear()
                    self._members.gap(happening)
                    self._members.roster.lose(happening)
                case PresenceChanged(presence):
                    self._take(presence)
                case Closed(reason):
                    self._attendance.close(reason)
                    if not self.inbox.closed:
                        self.inbox.put_over(Wake())
                    return
                case _:
                    if (event := self._members.roster.apply(happening)) is not None:
                        self._members.announce([event])
                    self._note_count()
        self._tell(entries)

    def _tell(self, entries: list[Tellable]) -> None:
        self._around.metrics.delivered.inc(self._members.tell(entries))
        self._talk.unheard.difference_update(e.message.message_id for e in entries if isinstance(e, Positioned))
        self._told.unpark_all()

    def _ask_to_count(self) -> None:
        if not self._counting and not self.inbox.closed:
            self._counting = True
            self.inbox.put_over(CountAnew())

    def _take(self, presence: Presence) -> None:
        self._members.announce(self._members.roster.snapshot(presence))
        self._note_count()

    def _note_count(self) -> None:
        roster = self._members.roster
        if roster.complete:
            return
        if roster.count <= self._roster_size:
            self._ask_to_count()  # the room has become small enough to be named, and the names are not known
        elif not self._count_due:
            self._count_due = True
            self._nursery.start_soon(self._tell_count)

    async def _tell_count(self) -> None:
        await trio.sleep_until(self._count_told_at + COUNT_SECONDS)
        self._count_due = False
        self._count_told_at = trio.current_time()
        count = self._members.roster.count
        self._members.announce([events.MemberCount(room_id=self.room_id, member_count=count)])
