"""Leaving a room: because a client asks for it or is lost, is removed, or because the room is closed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial

import trio
from msgspec import UNSET

from evanesce.context import ServerContext
from evanesce.delivery.frame import Frame, Outgoing
from evanesce.errors import StoreUnavailable
from evanesce.model import Ban, milliseconds, timestamp
from evanesce.protocol import events
from evanesce.rooms.backlog import Backlog
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.member_records import MemberRecords
from evanesce.rooms.membership import Membership
from evanesce.rooms.pending_joins import PendingJoins
from evanesce.rooms.requests import LeaveRequest, LeftRequest, RoomRequest, not_member
from evanesce.rooms.subscription import Subscription
from evanesce.store.rules import Removal

LATE_SECONDS = 10.0
"""The most that an event of the store may come late: a removal that comes later after a join was after it."""


class Leaving:
    """Takes subscriptions out of one room. Only the task that handles the room's inbox calls what is async."""

    def __init__(
        self,
        room_id: str,
        *,
        members: Membership,
        backlog: Backlog,
        pending: PendingJoins,
        records: MemberRecords,
        inbox: Inbox[RoomRequest],
        context: ServerContext,
    ) -> None:
        self.closed = False
        """Whether the room was closed."""
        self._room_id = room_id
        self._members = members
        self._backlog = backlog
        self._pending = pending
        self._records = records
        self._inbox = inbox
        self._store = context.store

    def close(self, reason: str) -> None:
        """Remove all subscriptions, as the room was closed."""
        self.closed = True
        self._members.announce([events.RoomClosed(room_id=self._room_id, reason=reason)])
        self.all_left(lost=False)
        self._records.emptied()

    def all_left(self, *, lost: bool) -> None:
        """Remove all subscriptions but those of joins that are not answered yet: the join itself refuses them.

        They are `lost` where the users may come back.
        """
        for subscription in self._members.subscriptions:
            if subscription.welcomed:
                self.left(subscription, lost=lost)
                subscription.subscriber.left(self._room_id)

    def left(self, subscription: Subscription, *, lost: bool) -> bool:
        """Remove a subscription; return whether it was the last one of its user on this server."""
        last = self._members.remove(subscription)
        self._backlog.forget(subscription)
        if subscription.welcomed:
            self._records.left(subscription, last=last, lost=lost)
        return last

    async def leave(self, requests: Sequence[LeaveRequest]) -> None:
        """Remove subscriptions as one group, and answer each request."""
        left: list[str] = []
        lost: set[str] = set()
        for request in requests:
            for join in self._pending.drop(request.subscriber):
                join.subscriber.refuse(join.ref, not_member())
            subscription = self._members.of(request.subscriber)
            if subscription is not None and self.left(subscription, lost=request.lost):
                left.append(request.subscriber.user_id)
                if request.lost:
                    lost.add(request.subscriber.user_id)
        await self.leave_store(left, lost)
        for request in requests:
            request.subscriber.answer([Outgoing(events.Left(ref=request.ref, room_id=self._room_id))])

    async def leave_removed(self, requests: Sequence[LeftRequest]) -> None:
        """Tell the store that users who were removed have left, unless they have joined again."""
        users = dict.fromkeys(request.user_id for request in requests)
        await self.leave_store([user_id for user_id in users if not self._members.connections(user_id)])

    async def leave_store(self, user_ids: Sequence[str], lost: Collection[str] = ()) -> None:
        """Tell the store that users have left this server, `lost` of them because their connection was lost."""
        if not user_ids:
            return
        try:
            count = await self._store.presence.leave(self._room_id, user_ids, lost=lost)
        except StoreUnavailable:
            # It is no error of the request: the store removes them when it is back.
            count = self._members.roster.count - len(user_ids)
        if count <= 0:
            self._records.emptied()

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
            subscription.removal = removal
            if not subscription.welcomed:
                subscription.removed_at = at  # its join compares it with when the store let the user in
            else:
                subscription.subscriber.connection.write(Frame([Outgoing(told)]))
                gone = self.left(subscription, lost=False)
                # If the user asks to join again at the moment, the session is in the room still.
                subscription.subscriber.left(self._room_id, subscription.join)
        if gone:
            self._inbox.put_unless_closed(LeftRequest(user_id))


def _joined_by(before: float, subscription: Subscription) -> bool:
    return subscription.joined_at <= before
