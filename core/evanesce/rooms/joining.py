"""Joining a room: what keeps a user out of it, and the history that brings a subscription up to date."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
import trio
from msgspec import UNSET

from evanesce import tracing
from evanesce.context import ServerContext
from evanesce.delivery.frame import Outgoing
from evanesce.errors import CommandError, ErrorCode, StoreUnavailable
from evanesce.protocol import events
from evanesce.rooms.backlog import PAGE_BYTES, Backlog
from evanesce.rooms.leaving import Leaving
from evanesce.rooms.member_records import MemberRecords
from evanesce.rooms.membership import Membership, fill
from evanesce.rooms.pending_joins import PendingJoins
from evanesce.rooms.policy import RoomPolicy
from evanesce.rooms.presence import RoomPresence
from evanesce.rooms.requests import JoinRequest, Subscriber, room_not_found
from evanesce.rooms.returns import room_locked
from evanesce.rooms.subscription import Subscription
from evanesce.store.message_log import History, RoomClosed
from evanesce.store.presence import Bar, Barred, Joiner, JoinOutcome, RulesMissing

HISTORIES = 16
"""How many histories are read at the same time: the bound of their memory when many clients come back at once."""

AT_ONCE = 16
"""How many replies to joins and messages in them a room writes before other tasks may run."""

ROSTER_SECONDS = 0.5
"""How long to wait for the published roster to arrive before the store is asked for it."""


class Joining:
    """The joins of one room. Only the task that handles the room's inbox calls what is async."""

    def __init__(
        self,
        room_id: str,
        *,
        members: Membership,
        presence: RoomPresence,
        policy: RoomPolicy,
        pending: PendingJoins,
        backlog: Backlog,
        leaving: Leaving,
        records: MemberRecords,
        context: ServerContext,
    ) -> None:
        self._room_id = room_id
        self._members = members
        self._store = context.store
        self._config = context.config
        self._presence = presence
        self._policy = policy
        self._pending = pending
        self._backlog = backlog
        self._leaving = leaving
        self._records = records
        self._group: dict[Subscriber, Subscription] = {}  # those whose joins are being handled
        self._removed: set[str] = set()  # users who were removed while their join had no answer

    async def join(self, requests: Sequence[JoinRequest]) -> None:
        """Join users as one group, and answer each request with the history after its cursor."""
        if self._pending:  # seldom
            requests = [request for request in requests if self._is_wanted(request)]
        if requests:
            try:
                with tracing.taken_over("join the room", [request.number for request in requests], ends=True):
                    await self._join(requests)
            finally:
                self._group.clear()
                self._removed.clear()

    async def _join(self, requests: Sequence[JoinRequest]) -> None:
        self._group = {request.subscriber: self._members.subscribe(request.subscriber) for request in requests}
        for subscription in self._group.values():
            subscription.begin(self._members.delivered)
        # Of a user with several requests the database may have decided one: that holds for the user.
        joiners = sorted(map(self._joiner, requests), key=lambda joiner: joiner.returns)
        users = {joiner.user_id: joiner for joiner in joiners}
        try:
            outcome = await self._join_store(list(users.values()))
        except StoreUnavailable as error:
            for request in requests:
                self._refuse(request, error)
            return
        if self._leaving.closed or isinstance(outcome, RoomClosed):
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
                self._pending.forget(request)
        await self._catch_up_all([(since, most, same) for (since, most), same in alike.items()])
        gone = [user for user in users if user not in outcome.barred and not self._members.connections(user)]
        # Who was not removed did not want to leave, and may come back.
        await self._leaving.leave_store(gone, lost=set(gone) - self._removed)

    def _is_wanted(self, request: JoinRequest) -> bool:
        """Return whether a join has to be made; answer one that has waited for the database in vain."""
        if self._pending.is_dropped(request):
            self._pending.forget(request)
            _end_span(request)
            return False
        if (refusal := self._pending.refusal_of(request)) is not None:
            self._refuse(request, refusal)
            return False
        return True

    def _joiner(self, request: JoinRequest) -> Joiner:
        subscriber = request.subscriber
        admitted = self._pending.is_admitted(request)
        returns = self._pending.returns(request)
        return Joiner(subscriber.user_id, subscriber.display_name, request.subject, admitted, returns)

    def _may_stay(self, request: JoinRequest, outcome: JoinOutcome) -> bool:
        """Note when a user joined; refuse one who was removed after that, or before this server knew of it."""
        subscription = self._members.of(request.subscriber)
        if subscription is None:  # removed, or refused with the request before this one
            self._refuse_removed(request)
            return False
        subscription.joined_at, subscription.joined_time = outcome.at, trio.current_time()
        if subscription.removed:
            self._refuse_removed(request)
            return False
        return True

    def _refuse_removed(self, request: JoinRequest) -> None:
        removal = self._group[request.subscriber].removal
        if removal is None:
            self._refuse(request, StoreUnavailable())
            return
        self._removed.add(request.subscriber.user_id)
        if removal.until > self._store.clock.now():
            self._refuse(request, self._banned(removal.until))
        else:
            self._refuse(request, CommandError(ErrorCode.NOT_MEMBER, "You were removed from this room."))

    def _banned(self, until: int) -> CommandError:
        wait = max(0.001, (until - self._store.clock.now()) / 1000)
        return CommandError(ErrorCode.BANNED, "You were banned from this room.", retry_after=wait)

    def _bar(self, request: JoinRequest, barred: Barred) -> None:
        match barred.bar:
            case Bar.UNINVITED:
                self._leave_again(request)
                self._pending.ask_for_admission(request)
            case Bar.BANNED:
                self._refuse(request, self._banned(barred.until))
            case Bar.LOCKED:
                if self._pending.ask_for_return(request):
                    self._leave_again(request)
                else:
                    self._refuse(request, room_locked())
            case Bar.FULL:
                self._refuse(request, CommandError(ErrorCode.ROOM_FULL, "The room is full."))

    def _leave_again(self, request: JoinRequest) -> bool:
        """Take back a join; return whether its session is not in the room now. A subscription from before stays."""
        subscription = self._members.of(request.subscriber)
        if subscription is None:
            return True
        if subscription.welcomed:
            self._backlog.resume(subscription)
            return False
        self._leaving.left(subscription, lost=False)
        return True

    def _await_rules(self, requests: Sequence[JoinRequest]) -> None:
        waiting: list[JoinRequest] = []
        for request in requests:
            if self._pending.has_rules(request):  # the store has lost them once more
                self._refuse(request, StoreUnavailable())
            else:
                self._leave_again(request)
                waiting.append(request)
        self._pending.ask_for_rules(waiting)

    async def _join_store(self, users: Sequence[Joiner]) -> JoinOutcome | RulesMissing | RoomClosed:
        """Join users in the store, and wait for the roster with them.

        Where the names are known already, the store is not asked for them at every join: the events up to the join
        arrive anyhow.
        """
        rooms, followed = self._config.rooms, self._members.roster.followed
        roster_size = 0 if followed else rooms.roster_size
        told = self._policy.mutes_told
        outcome = await self._store.presence.join(
            self._room_id, users, rooms.capacity, roster_size, self._policy.rules, follows=followed
        )
        if not isinstance(outcome, JoinOutcome):
            return outcome
        if outcome.rules is not None:
            self._policy.replace(outcome.rules)
        if not followed:
            if told == self._policy.mutes_told:
                self._policy.replace_mutes(outcome.mutes)
            else:  # the outcome may be older than what was told meanwhile
                self._policy.check(self._leaving.removed_by)
            self._policy.add_votes(outcome.votes)
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
            if self._leaving.closed or isinstance(history, RoomClosed):
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
        if subscription is None:  # removed, or refused with the request before this one
            self._refuse_removed(request)
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
        answers = [reply, *(self._unsent(message_id) for message_id in unsent[named:])]
        if not subscription.welcomed:
            answers += map(Outgoing, self._policy.introduction(request.subscriber.user_id))
        request.subscriber.answer(answers)
        if not subscription.welcomed:
            subscription.welcomed = True
            self._records.joined(subscription)
        self._backlog.note(subscription, caught_up=subscription.caught_up(cursor, number, more=more))

    def _refuse(self, request: JoinRequest, error: CommandError) -> None:
        """Refuse a join. A subscription that existed before stays."""
        self._pending.forget(request)
        _end_span(request)
        request.subscriber.refuse(request.ref, error)
        if self._leave_again(request):
            request.subscriber.left(self._room_id, request)

    def _unsent(self, message_id: str) -> Outgoing:
        return Outgoing(events.Unsent(room_id=self._room_id, message_id=message_id))


def _end_span(request: JoinRequest) -> None:
    """End the span of a join that is not made."""
    if tracing.active is not None:
        tracing.active.end(request.number, failure="not_joined")
