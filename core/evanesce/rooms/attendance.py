"""Who comes into a room and who leaves it, and what each is given to catch up with the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import trio
from msgspec import UNSET

from evanesce.errors import CommandError, ErrorCode, StoreUnavailable
from evanesce.frame import Frame, Outgoing, frames
from evanesce.model import RoomActivity, SessionEnded, SessionStarted, timestamp
from evanesce.protocol import events
from evanesce.rooms.errors import room_not_found
from evanesce.rooms.membership import Membership, filled, outgoing
from evanesce.rooms.requests import Enter, Quit
from evanesce.rooms.seat import Seat
from evanesce.rooms.surroundings import Surroundings
from evanesce.store.base import Gone, History, Person, Positioned, Presence

PAGE_BYTES = 32 * 1024
"""How much history is given at once, in bytes of JSON.

As much as a new connection's socket takes whole: what is half sent when its first message expires ends the connection,
and whoever has a slow network would never come into a busy room.
"""

PAGE_MESSAGES = 100
"""How many messages are read at once for those who catch up behind their `joined`."""

HISTORIES = 16
"""How many histories are read at the same time, so that many who come back at once cost bounded memory."""

NEWS_SECONDS = 0.5
"""How long what the store has published may take to be heard before the store is asked."""

_RETRY_SECONDS = 1.0
_BACKLOG_SECONDS = 0.02


class Attendance:
    """The comings and goings of one room. Only the task that works through the room's inbox awaits it.

    `heard` is told what the store says of who is in the room.
    """

    def __init__(
        self, room_id: str, members: Membership, around: Surroundings, heard: Callable[[Presence], None]
    ) -> None:
        self._room_id = room_id
        self._members = members
        self._around = around
        self._store = around.store
        self._config = around.config
        self._heard = heard
        self._behind: list[Seat] = []
        self._active = False
        self._closed = False
        self._stalled = False  # the store could not be read when it was last tried

    @property
    def pause(self) -> float:
        """How long nobody can `read_on`, in seconds."""
        if not self._behind:
            return math.inf
        if self._stalled:
            return _RETRY_SECONDS
        return _BACKLOG_SECONDS if all(seat.subscriber.backlogged for seat in self._behind) else 0.0

    async def read_on(self) -> None:
        """Give one page to who has waited longest of those who are behind, and to all who are just as far.

        No more at once: who asks something of the room waits no longer than that takes.
        """
        ready = [seat for seat in self._behind if not seat.subscriber.backlogged]
        if ready:
            await self._read_on([seat for seat in ready if seat.cursor == ready[0].cursor])

    async def enter(self, requests: Sequence[Enter]) -> None:
        """Let people in, as one group, and give each the history behind its cursor."""
        for request in requests:
            seat = self._members.take(request.subscriber)
            seat.begin(self._members.heard)
        people = {r.subscriber.user_id: Person(r.subscriber.user_id, r.subscriber.display_name) for r in requests}
        try:
            refused = await self._enter(list(people.values()))
        except StoreUnavailable as error:
            for request in requests:
                self._turn_away(request, error)
            return
        if self._closed or isinstance(refused, Gone):
            for request in requests:
                self._turn_away(request, room_not_found())
            return
        alike: dict[tuple[str | None, int], list[Enter]] = {}
        for request in requests:
            if request.subscriber.user_id in refused:
                self._turn_away(request, CommandError(ErrorCode.ROOM_FULL, "The room is full."))
            else:
                # One who has much to read already gets the messages when there is room for them, as those behind do.
                most = 0 if request.subscriber.backlogged else self._config.messages.history
                alike.setdefault((request.since, most), []).append(request)
        async with trio.open_nursery() as nursery:
            limit = trio.CapacityLimiter(HISTORIES)
            for (since, most), same in alike.items():
                nursery.start_soon(self._catch_up, since, most, same, limit)
        await self._leave([user_id for user_id in people if not self._members.connections(user_id)])

    async def _enter(self, people: Sequence[Person]) -> frozenset[str] | Gone:
        """Note who has come in, and know the roster then; gives who found no place.

        Where the names are known here already, the store is not asked for them at every join: what happened until
        then is about to be heard.
        """
        rooms, followed = self._config.rooms, self._members.roster.followed
        entered = await self._store.enter(self._room_id, people, rooms.capacity, 0 if followed else rooms.roster_size)
        if isinstance(entered, Gone):
            return entered
        presence, refused = entered
        if not followed:
            self._heard(presence)
        elif not await self._members.roster.reaches(presence.version, NEWS_SECONDS):
            with suppress(StoreUnavailable):  # then it is heard when the store is back
                self._heard(await self._store.presence(self._room_id, rooms.roster_size))
        return refused

    async def _catch_up(self, since: str | None, most: int, requests: list[Enter], limit: trio.CapacityLimiter) -> None:
        async with limit:
            try:
                history = await self._history(since, most)
            except StoreUnavailable as error:
                for request in requests:
                    self._turn_away(request, error)
                return
            for request in requests:
                if self._closed or isinstance(history, Gone):
                    self._turn_away(request, room_not_found())
                else:
                    self._welcome(request, history)
                    await trio.lowlevel.checkpoint()  # each one costs some: the other rooms go on in between

    async def _history(self, since: str | None, most: int) -> History | Gone:
        return await self._store.history(self._room_id, since, most, PAGE_BYTES)

    def _welcome(self, request: Enter, history: History) -> None:
        seat = self._members.of(request.subscriber)
        if seat is None:  # turned away with the request before this one
            request.subscriber.refuse(request.ref, StoreUnavailable())
            return
        fresh = history.messages if request.since is None else seat.fresh(history.messages)
        messages = [message for message in fresh if message.deadline > trio.current_time()]
        missed = history.missed
        if request.since is not None and missed is not None:
            missed += len(fresh) - len(messages)  # they expired on the way from the store
        roster = self._members.roster
        members = roster.members
        joined = events.Joined(
            ref=request.ref,
            room_id=self._room_id,
            session_id=seat.session_id,
            members=UNSET if members is None else members,
            member_count=roster.count,
            messages=[],
            more=history.more,
            cursor=history.cursor,
            missed=missed,
            unsent=[],
        )
        seat.begin_withdrawals()
        unsent = seat.news_of(history.unsent)
        reply, given, named = filled(joined, messages, unsent)
        cursor, number, more = history.cursor, history.number, history.more
        if given < len(messages):
            last = messages[given - 1]
            cursor, number, more = last.cursor, last.number, True
            reply = Outgoing(msgspec.structs.replace(reply.event, cursor=cursor), reply.deadlines)
        request.subscriber.answer([reply, *(self._unsent(message_id) for message_id in unsent[named:])])
        if not seat.welcomed:
            seat.welcomed = True
            self._begin_session(seat)
        self._note(seat, caught_up=seat.caught_up(cursor, number, more=more))

    def _note(self, seat: Seat, *, caught_up: bool) -> None:
        if caught_up and seat in self._behind:
            self._behind.remove(seat)
        elif not caught_up and seat not in self._behind:
            self._behind.append(seat)

    def _begin_session(self, seat: Seat) -> None:
        subscriber = seat.subscriber
        if self._config.server.session_log:
            self._around.records.record(
                SessionStarted(
                    session_id=seat.session_id,
                    user_id=subscriber.user_id,
                    room_id=self._room_id,
                    join_time=timestamp(self._store.now()),
                    server=self._store.server_name,
                )
            )
        if not self._active:
            self._active = True
            self._around.records.record(RoomActivity(room_id=self._room_id, active=True))
        if self._members.connections(subscriber.user_id) == 1:
            self._around.plugins.observe(
                "evanesce_member_joined",
                room_id=self._room_id,
                user_id=subscriber.user_id,
                display_name=subscriber.display_name,
            )

    async def _read_on(self, seats: Sequence[Seat]) -> None:
        """Give a page to seats that are behind at the same cursor."""
        try:
            history = await self._store.history(self._room_id, seats[0].cursor, PAGE_MESSAGES, PAGE_BYTES)
        except StoreUnavailable:
            self._stalled = True  # they go on where they are when the store is back
            return
        self._stalled = isinstance(history, Gone)
        if isinstance(history, Gone):
            return
        whole = self._page(history.messages)
        expired = (history.missed or 0) - history.taken_back
        for seat in seats:
            if seat not in self._behind:
                continue  # it has left meanwhile
            notes = [self._unsent(message_id) for message_id in seat.news_of(history.unsent)]
            if expired > 0:
                notes.append(Outgoing(events.Skipped(room_id=self._room_id, count=expired)))
            fresh = seat.fresh(history.messages)
            page = whole if len(fresh) == len(history.messages) else self._page(fresh)
            for frame in (*frames(notes), *page):
                seat.subscriber.write(frame)
            self._behind.remove(seat)
            self._note(seat, caught_up=seat.caught_up(history.cursor, history.number, more=history.more))

    def close(self, reason: str) -> None:
        """Let everyone out: the room is gone."""
        self._closed = True
        self._members.announce([events.RoomClosed(room_id=self._room_id, reason=reason)])
        self.clear()
        self._empty()

    def clear(self) -> None:
        """Take away every seat but of those who are being let in just now: they are refused when their turn comes."""
        for seat in self._members.seats:
            if seat.welcomed:
                self._dismiss(seat)
                seat.subscriber.dismissed(self._room_id)

    async def quit(self, requests: Sequence[Quit]) -> None:
        """Let people out, as one group."""
        gone: list[str] = []
        for request in requests:
            seat = self._members.of(request.subscriber)
            if seat is not None and self._dismiss(seat):
                gone.append(request.subscriber.user_id)
        await self._leave(gone)
        for request in requests:
            request.subscriber.answer([Outgoing(events.Left(ref=request.ref, room_id=self._room_id))])

    async def _leave(self, user_ids: Sequence[str]) -> None:
        if not user_ids:
            return
        try:
            left = await self._store.leave(self._room_id, user_ids)
        except StoreUnavailable:
            # It is no error of theirs: the store sees to it when it is back.
            left = self._members.roster.count - len(user_ids)
        if left <= 0:
            self._empty()

    def _empty(self) -> None:
        if self._active:
            self._active = False
            self._around.records.record(RoomActivity(room_id=self._room_id, active=False))

    def _dismiss(self, seat: Seat) -> bool:
        """Take a seat away; True where its user has none here any more."""
        subscriber = seat.subscriber
        last = self._members.leave(seat)
        if seat in self._behind:
            self._behind.remove(seat)
        if seat.welcomed and self._config.server.session_log:
            ended = SessionEnded(session_id=seat.session_id, leave_time=timestamp(self._store.now()))
            self._around.records.record(ended)
        if last and seat.welcomed:
            observe = self._around.plugins.observe
            observe("evanesce_member_left", room_id=self._room_id, user_id=subscriber.user_id)
        return last

    def _turn_away(self, request: Enter, error: CommandError) -> None:
        """Refuse a join. Who was in already, and asked again, stays; of a closed room all of them are told."""
        seat = self._members.of(request.subscriber)
        request.subscriber.refuse(request.ref, error)
        if seat is None:
            return
        if not seat.welcomed:
            self._dismiss(seat)
            request.subscriber.dismissed(self._room_id, request)
        elif seat not in self._behind:
            seat.resume()

    def _page(self, messages: Sequence[Positioned]) -> list[Frame]:
        return frames(outgoing(message, self._room_id) for message in messages)

    def _unsent(self, message_id: str) -> Outgoing:
        return Outgoing(events.Unsent(room_id=self._room_id, message_id=message_id))
