"""Joining and leaving a room, and the history that brings a subscription up to date."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio
from msgspec import UNSET

from evanesce.context import ServerContext
from evanesce.delivery.frame import Frame, Outgoing, frames
from evanesce.errors import CommandError, ErrorCode, StoreUnavailable
from evanesce.model import Ban, RoomActivity, SessionEnded, SessionStarted, milliseconds, timestamp
from evanesce.protocol import events
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.membership import Membership, fill, outgoing
from evanesce.rooms.pending_joins import PendingJoins
from evanesce.rooms.policy import RoomPolicy
from evanesce.rooms.presence import RoomPresence
from evanesce.rooms.requests import (
    DepartRequest,
    JoinRequest,
    LeaveRequest,
    RoomRequest,
    not_member,
    room_not_found,
)
from evanesce.rooms.subscription import Subscription
from evanesce.store.message_log import History, LogEntry, RoomClosed
from evanesce.store.presence import Bar, Barred, Joiner, JoinOutcome, RulesMissing
from evanesce.store.rules import Removal

PAGE_BYTES = 32 * 1024
"""How much history is sent at once, in bytes of JSON.

It is as much as the socket of a new connection takes whole. A frame that is half sent when its first message expires
ends the connection, so with larger frames a client with a slow network could never join a busy room.
"""

PAGE_MESSAGES = 100
"""How many messages are read at once for subscriptions that catch up after their `joined`."""

HISTORIES = 16
"""How many histories are read at the same time: the bound of their memory when many clients come back at once."""

AT_ONCE = 16
"""How many replies to joins and messages in them a room writes before other tasks may run."""

ROSTER_SECONDS = 0.5
"""How long to wait for the published roster to arrive before the store is asked for it."""

LATE_SECONDS = 10.0
"""The most that an event of the store may come late: a removal that comes later after a join was after it."""

_RETRY_SECONDS = 1.0
_BACKLOG_SECONDS = 0.02


class Joining:
    """Joins, leaves and histories of one room. Only the task that handles the room's inbox calls what is async."""

    def __init__(
        self,
        room_id: str,
        *,
        members: Membership,
        presence: RoomPresence,
        policy: RoomPolicy,
        pending: PendingJoins,
        inbox: Inbox[RoomRequest],
        context: ServerContext,
    ) -> None:
        self._room_id = room_id
        self._members = members
        self._context = context
        self._store = context.store
        self._config = context.config
        self._presence = presence
        self._policy = policy
        self._inbox = inbox
        self.pending = pending
        self._expelled: set[str] = set()  # users who were removed while their join had no answer
        self._behind: list[Subscription] = []
        self._active = False
        self._closed = False
        self._stalled = False  # the store could not be read when it was last tried

    @property
    def pause(self) -> float:
        """For how many seconds there is nothing to do for `read_on`."""
        if not self._behind:
            return math.inf
        if self._stalled:
            return _RETRY_SECONDS
        return (
            _BACKLOG_SECONDS
            if all(subscription.subscriber.connection.backlogged for subscription in self._behind)
            else 0.0
        )

    async def read_on(self) -> None:
        """Send one page of history to the subscription that has waited longest, and to all at the same cursor.

        It is one page at a time so that requests to the room do not wait longer.
        """
        ready = [subscription for subscription in self._behind if not subscription.subscriber.connection.backlogged]
        if ready:
            await self._read_on([subscription for subscription in ready if subscription.cursor == ready[0].cursor])

    def catch_up_later(self, subscriptions: Sequence[Subscription]) -> None:
        """Queue subscriptions that fell behind, for `read_on`."""
        for subscription in subscriptions:
            self._note(subscription, caught_up=False)

    async def join(self, requests: Sequence[JoinRequest]) -> None:
        """Join users as one group, and answer each request with the history after its cursor."""
        requests = [request for request in requests if self._is_wanted(request)]
        if not requests:
            return
        for request in requests:
            subscription = self._members.subscribe(request.subscriber)
            subscription.begin(self._members.delivered)
        users = {request.subscriber.user_id: self._joiner(request) for request in requests}
        try:
            outcome = await self._join_store(list(users.values()))
        except StoreUnavailable as error:
            for request in requests:
                self._refuse(request, error)
            return
        if self._closed or isinstance(outcome, RoomClosed):
            for request in requests:
                self._refuse(request, room_not_found())
            return
        if isinstance(outcome, RulesMissing):
            self._await_rules(requests)
            return
        alike: dict[tuple[str | None, int], list[JoinRequest]] = {}
        for request in requests:
            if (barred := outcome.barred.get(request.subscriber.user_id)) is not None:
                self._bar(request, barred)
            elif self._may_stay(request, outcome):
                # A backlogged client gets no messages yet: it reads on when its outbox has room for them.
                most = 0 if request.subscriber.connection.backlogged else self._config.messages.history
                alike.setdefault((request.since, most), []).append(request)
                self.pending.forget(request)
        await self._catch_up_all([(since, most, same) for (since, most), same in alike.items()])
        gone = [user for user in users if user not in outcome.barred and not self._members.connections(user)]
        await self._leave(gone, lost=set(gone) - self._expelled)  # they did not want to leave, and may come back
        self._expelled.clear()

    def _is_wanted(self, request: JoinRequest) -> bool:
        """Return whether a join has to be made; answer one that has waited for the database in vain."""
        if self.pending.is_dropped(request):
            self.pending.forget(request)
            return False
        if (refusal := self.pending.refusal_of(request)) is not None:
            self._refuse(request, refusal)
            return False
        return True

    def _joiner(self, request: JoinRequest) -> Joiner:
        subscriber = request.subscriber
        admitted = self.pending.is_admitted(request)
        return Joiner(subscriber.user_id, subscriber.display_name, request.subject, admitted)

    def _may_stay(self, request: JoinRequest, outcome: JoinOutcome) -> bool:
        """Note when a user joined; refuse one who has been removed since."""
        subscription = self._members.of(request.subscriber)
        if subscription is None:
            self._refuse(request, StoreUnavailable())
            return False
        subscription.joined_at, subscription.joined_time = outcome.at, trio.current_time()
        if subscription.removed:
            self._refuse_removed(request)
            return False
        return True

    def _refuse_removed(self, request: JoinRequest) -> None:
        self._expelled.add(request.subscriber.user_id)
        self._refuse(request, CommandError(ErrorCode.NOT_MEMBER, "You were removed from this room."))

    def _bar(self, request: JoinRequest, barred: Barred) -> None:
        match barred.bar:
            case Bar.UNINVITED:
                self._withdraw(request)
                self.pending.ask_for_admission(request)
            case Bar.BANNED:
                wait = max(0.001, (barred.until - self._store.clock.now()) / 1000)
                message = "You were banned from this room."
                self._refuse(request, CommandError(ErrorCode.BANNED, message, retry_after=wait))
            case Bar.LOCKED:
                message = "This room is locked: nobody new may join."
                self._refuse(request, CommandError(ErrorCode.ROOM_LOCKED, message))
            case Bar.FULL:
                self._refuse(request, CommandError(ErrorCode.ROOM_FULL, "The room is full."))

    def _withdraw(self, request: JoinRequest) -> None:
        """Take back a join that has to wait for the database. A subscription that existed before stays."""
        subscription = self._members.of(request.subscriber)
        if subscription is not None and not subscription.welcomed:
            self._dismiss(subscription)
        elif subscription is not None and subscription not in self._behind:
            self._note(subscription, caught_up=subscription.resume())

    def _await_rules(self, requests: Sequence[JoinRequest]) -> None:
        waiting: list[JoinRequest] = []
        for request in requests:
            if self.pending.has_rules(request):  # the store has lost them once more
                self._refuse(request, StoreUnavailable())
            else:
                self._withdraw(request)
                waiting.append(request)
        self.pending.ask_for_rules(waiting)

    async def _join_store(self, users: Sequence[Joiner]) -> JoinOutcome | RulesMissing | RoomClosed:
        """Join users in the store, and wait for the roster with them.

        Where the names are known already, the store is not asked for them at every join: the events up to the join
        arrive anyhow.
        """
        rooms, followed = self._config.rooms, self._members.roster.followed
        roster_size = 0 if followed else rooms.roster_size
        outcome = await self._store.presence.join(self._room_id, users, rooms.capacity, roster_size, self._policy.rules)
        if not isinstance(outcome, JoinOutcome):
            return outcome
        if outcome.rules is not None:
            self._policy.replace(outcome.rules)
        if outcome.mutes or not followed:
            self._policy.replace_mutes(outcome.mutes)
        if not followed:
            self._presence.replace(outcome.presence)
        elif not await self._members.roster.reaches(outcome.presence.version, ROSTER_SECONDS):
            with suppress(StoreUnavailable):  # then the feed brings it when the store is back
                self._presence.replace(await self._store.presence.snapshot(self._room_id, rooms.roster_size))
        return outcome

    async def _catch_up_all(self, groups: Sequence[tuple[str | None, int, list[JoinRequest]]]) -> None:
        """Answer groups of joins, each from one cursor and with one number of messages at most."""
        if len(groups) == 1:  # the usual case: after a restart, too, all members have the same last message
            await self._catch_up(*groups[0])
            return
        limit = trio.CapacityLimiter(HISTORIES)

        async def catch_up(since: str | None, most: int, requests: list[JoinRequest]) -> None:
            async with limit:
                await self._catch_up(since, most, requests)

        async with trio.open_nursery() as nursery:
            for group in groups:
                nursery.start_soon(catch_up, *group)

    async def _catch_up(self, since: str | None, most: int, requests: list[JoinRequest]) -> None:
        late = await self._answer(since, most, requests)
        if late:
            await self._answer(since, 0, late)

    async def _answer(self, since: str | None, most: int, requests: list[JoinRequest]) -> list[JoinRequest]:
        """Answer joins from the same cursor with up to `most` messages each; return those that get none for now.

        A client that joins many rooms at once may be backlogged by then, so that more would not fit.
        """
        try:
            history = await self._history(since, most)
        except StoreUnavailable as error:
            for request in requests:
                self._refuse(request, error)
            return []
        late: list[JoinRequest] = []
        done = 0  # since other rooms could run
        for request in requests:
            if done >= AT_ONCE:
                done = 0
                await trio.lowlevel.checkpoint()
            if self._closed or isinstance(history, RoomClosed):
                self._refuse(request, room_not_found())
            elif history.messages and request.subscriber.connection.backlogged:
                late.append(request)
            else:
                self._welcome(request, history)
                done += 1 + len(history.messages)
        return late

    async def _history(self, since: str | None, most: int) -> History | RoomClosed:
        return await self._store.messages.history(self._room_id, since, most, PAGE_BYTES)

    def _welcome(self, request: JoinRequest, history: History) -> None:
        subscription = self._members.of(request.subscriber)
        if subscription is None:  # refused with the request before this one
            request.subscriber.refuse(request.ref, StoreUnavailable())
            return
        if subscription.removed:  # while the history was read
            self._refuse_removed(request)
            return
        subscription.join = request
        subscription.begin_rejoin(anew=request.since is None)
        unseen = subscription.unseen(history.messages)
        messages = [message for message in unseen if message.deadline > trio.current_time()]
        missed = history.missed
        if request.since is not None and missed is not None:
            missed += len(unseen) - len(messages)  # they expired on the way from the store
        roster = self._members.roster
        members = roster.members
        joined = events.Joined(
            ref=request.ref,
            room_id=self._room_id,
            session_id=subscription.session_id,
            members=UNSET if members is None else members,
            member_count=roster.count,
            messages=[],
            more=history.more,
            cursor=history.cursor,
            missed=missed,
            unsent=[],
            room=self._policy.options,
        )
        unsent = subscription.unseen_unsent(history.unsent)
        reply, given, named = fill(joined, messages, unsent)
        cursor, number, more = history.cursor, history.number, history.more
        if given < len(messages):
            last = messages[given - 1]
            cursor, number, more = last.cursor, last.number, True
            reply = Outgoing(msgspec.structs.replace(reply.event, cursor=cursor), reply.deadlines)
        request.subscriber.answer([reply, *(self._unsent(message_id) for message_id in unsent[named:])])
        if not subscription.welcomed:
            subscription.welcomed = True
            self._begin_session(subscription)
        self._note(subscription, caught_up=subscription.caught_up(cursor, number, more=more))

    def _note(self, subscription: Subscription, *, caught_up: bool) -> None:
        if caught_up and subscription in self._behind:
            self._behind.remove(subscription)
        elif not caught_up and subscription not in self._behind:
            self._behind.append(subscription)

    def _begin_session(self, subscription: Subscription) -> None:
        subscriber = subscription.subscriber
        if self._config.server.session_log:
            self._context.records.record(
                SessionStarted(
                    session_id=subscription.session_id,
                    user_id=subscriber.user_id,
                    room_id=self._room_id,
                    join_time=timestamp(self._store.clock.now()),
                    server=self._store.servers.server_name,
                )
            )
        if not self._active:
            self._active = True
            self._context.records.record(RoomActivity(room_id=self._room_id, active=True))
        if self._members.connections(subscriber.user_id) == 1:
            self._context.plugins.observe(
                "evanesce_member_joined",
                room_id=self._room_id,
                user_id=subscriber.user_id,
                display_name=subscriber.display_name,
            )

    async def _read_on(self, subscriptions: Sequence[Subscription]) -> None:
        """Send a page to subscriptions that are behind at the same cursor."""
        try:
            # Not the whole history: after this page a slow client in a busy room may have very much to read.
            history = await self._store.messages.history(
                self._room_id, subscriptions[0].cursor, PAGE_MESSAGES, PAGE_BYTES, False
            )
        except StoreUnavailable:
            self._stalled = True  # it is tried again when the store is back
            return
        self._stalled = isinstance(history, RoomClosed)
        if isinstance(history, RoomClosed):
            return
        whole = self._page(history.messages)
        expired = (history.missed or 0) - history.missed_unsent
        for subscription in subscriptions:
            if subscription not in self._behind or subscription.subscriber.connection.backlogged:
                continue  # it has left meanwhile, or other rooms have filled its outbox: it reads on later
            notes = [self._unsent(message_id) for message_id in subscription.unseen_unsent(history.unsent)]
            if expired > 0:
                notes.append(Outgoing(events.Skipped(room_id=self._room_id, count=expired)))
            unseen = subscription.unseen(history.messages)
            page = whole if len(unseen) == len(history.messages) else self._page(unseen)
            for frame in (*frames(notes), *page):
                subscription.subscriber.connection.write(frame)
            self._behind.remove(subscription)
            self._note(
                subscription, caught_up=subscription.caught_up(history.cursor, history.number, more=history.more)
            )

    def close(self, reason: str) -> None:
        """Remove all subscriptions, as the room was closed."""
        self._closed = True
        self._members.announce([events.RoomClosed(room_id=self._room_id, reason=reason)])
        self.clear()
        self._mark_empty()

    def clear(self) -> None:
        """Remove all subscriptions but those of joins that are not answered yet: `join` refuses them."""
        for subscription in self._members.subscriptions:
            if subscription.welcomed:
                self._dismiss(subscription)
                subscription.subscriber.dismissed(self._room_id)

    async def leave(self, requests: Sequence[LeaveRequest]) -> None:
        """Remove subscriptions as one group, and answer each request."""
        left: list[str] = []
        lost: set[str] = set()
        for request in requests:
            for join in self.pending.drop(request.subscriber):
                join.subscriber.refuse(join.ref, not_member())
            subscription = self._members.of(request.subscriber)
            if subscription is not None and self._dismiss(subscription):
                left.append(request.subscriber.user_id)
                if request.lost:
                    lost.add(request.subscriber.user_id)
        await self._leave(left, lost)
        for request in requests:
            request.subscriber.answer([Outgoing(events.Left(ref=request.ref, room_id=self._room_id))])

    def removed(self, removal: Removal, at: int) -> None:
        """Remove the subscriptions of a user who was removed from the room at a time, and had joined before."""
        earlier = trio.current_time() - LATE_SECONDS
        # The clock of the store may have been set back since the user joined.
        self._remove(removal, at, lambda one: one.joined_at <= at or one.joined_time < earlier)

    def removed_by(self, removals: Sequence[Ban]) -> None:
        """Remove those who were removed from the room, by what the database says, in case that was missed.

        Nobody stays who is banned. Who was only removed, and has joined again since, is a member as others: also where
        the removal seems to be in the future, as the clock was set back.
        """
        now = self._store.clock.now()
        for ban in removals:
            if ban.user_id is None or not self._members.connections(ban.user_id):
                continue
            since, until = milliseconds(ban.since), milliseconds(ban.until)
            if since > now and until <= since:
                continue
            before = math.inf if until > now else since
            removal = Removal(ban.user_id, ban.reason, until if until > now else 0)
            self._remove(removal, before, partial(_joined_by, before))

    def _remove(self, removal: Removal, at: float, is_concerned: Callable[[Subscription], bool]) -> None:
        """Remove those subscriptions of a user that are concerned. Where a join has no answer yet, the join decides."""
        user_id = removal.user_id
        theirs = [one for one in self._members.subscriptions if one.subscriber.user_id == user_id]
        concerned = [one for one in theirs if not one.welcomed or is_concerned(one)]
        if theirs and not concerned:
            return
        told = events.Removed(
            room_id=self._room_id,
            reason=removal.reason,
            until=timestamp(removal.until) if removal.until else UNSET,
        )
        self._members.roster.removed(user_id)
        gone = False
        for subscription in concerned:
            if not subscription.welcomed:
                subscription.removed_at = at  # its join compares it with when the store let the user in
            else:
                subscription.subscriber.connection.write(Frame([Outgoing(told)]))
                gone = self._dismiss(subscription)
                # If the user asks to join again at the moment, the session is in the room still.
                subscription.subscriber.dismissed(self._room_id, subscription.join)
        if gone:
            self._inbox.put_unless_closed(DepartRequest(user_id))

    async def depart(self, requests: Sequence[DepartRequest]) -> None:
        """Tell the store that users who were removed have left, unless they have joined again."""
        users = dict.fromkeys(request.user_id for request in requests)
        await self._leave([user_id for user_id in users if not self._members.connections(user_id)])

    async def _leave(self, user_ids: Sequence[str], lost: Collection[str] = ()) -> None:
        if not user_ids:
            return
        try:
            left = await self._store.presence.leave(self._room_id, user_ids, lost=lost)
        except StoreUnavailable:
            # It is no error of the request: the store removes them when it is back.
            left = self._members.roster.count - len(user_ids)
        if left <= 0:
            self._mark_empty()

    def _mark_empty(self) -> None:
        if self._active:
            self._active = False
            self._context.records.record(RoomActivity(room_id=self._room_id, active=False))

    def _dismiss(self, subscription: Subscription) -> bool:
        """Remove a subscription; return whether it was the last one of its user on this server."""
        subscriber = subscription.subscriber
        last = self._members.remove(subscription)
        if subscription in self._behind:
            self._behind.remove(subscription)
        if subscription.welcomed and self._config.server.session_log:
            ended = SessionEnded(session_id=subscription.session_id, leave_time=timestamp(self._store.clock.now()))
            self._context.records.record(ended)
        if last and subscription.welcomed:
            observe = self._context.plugins.observe
            observe("evanesce_member_left", room_id=self._room_id, user_id=subscriber.user_id)
        return last

    def _refuse(self, request: JoinRequest, error: CommandError) -> None:
        """Refuse a join. A subscription that existed before stays."""
        self.pending.forget(request)
        subscription = self._members.of(request.subscriber)
        request.subscriber.refuse(request.ref, error)
        if subscription is None:
            request.subscriber.dismissed(self._room_id, request)
            return
        if not subscription.welcomed:
            self._dismiss(subscription)
            request.subscriber.dismissed(self._room_id, request)
        elif subscription not in self._behind:
            self._note(subscription, caught_up=subscription.resume())

    def _page(self, messages: Sequence[LogEntry]) -> list[Frame]:
        return frames(outgoing(message, self._room_id) for message in messages)

    def _unsent(self, message_id: str) -> Outgoing:
        return Outgoing(events.Unsent(room_id=self._room_id, message_id=message_id))


def _joined_by(before: float, subscription: Subscription) -> bool:
    return subscription.joined_at <= before
