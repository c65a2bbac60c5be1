"""The subscriptions of one room on this server, and delivery to them. Nothing here awaits, so nothing interleaves."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec
from msgspec import UNSET

from evanesce.delivery.frame import Frame, Outgoing, frames
from evanesce.protocol import codec
from evanesce.protocol.events import (
    Event,
    Gap,
    Joined,
    MemberJoined,
    MemberLeft,
    MessageEvent,
    TypingEvent,
    Unsent,
)
from evanesce.rooms.requests import Reply, Subscriber
from evanesce.rooms.roster import Roster
from evanesce.rooms.subscription import Deliverable, Position, Subscription
from evanesce.store.events import HistoryLost
from evanesce.store.message_log import LogEntry, MessageUnsent, RepeatedEntry

SPARE_BYTES = 256
"""How many bytes a frame with `joined` keeps free for a longer cursor and `more`."""

UNSENT_BYTES = 39
"""The bytes of an id in a list: a UUID, its quotation marks, a comma."""

_TO_THE_OTHERS = (MemberJoined, MemberLeft, TypingEvent)


class Membership:
    """The subscriptions of one room, and the roster that its members know."""

    def __init__(self, room_id: str, roster_size: int) -> None:
        self.roster = Roster(room_id, roster_size)
        self.delivered = Position(0, 0, "")
        """How far the room was delivered to its members, except to those that are behind."""
        self._lost_number = 0  # the last entry that was delivered before the store lost its data
        self._room_id = room_id
        self._subscriptions: dict[Subscriber, Subscription] = {}
        self._connections: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._subscriptions)

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, the oldest first."""
        return list(self._subscriptions.values())

    @property
    def users(self) -> dict[str, str]:
        """The ids and names of all users with a subscription."""
        return {subscriber.user_id: subscriber.display_name for subscriber in self._subscriptions}

    def of(self, subscriber: Subscriber) -> Subscription | None:
        """Return the subscription of a subscriber; None where it has none."""
        return self._subscriptions.get(subscriber)

    def subscribe(self, subscriber: Subscriber) -> Subscription:
        """Return the subscription of a subscriber, a new one where it has none."""
        subscription = self._subscriptions.get(subscriber)
        if subscription is None:
            subscription = self._subscriptions[subscriber] = Subscription(subscriber, str(uuid.uuid4()))
            subscription.lack(0, self._lost_number)
            user_id = subscriber.user_id
            self._connections[user_id] = self._connections.get(user_id, 0) + 1
        return subscription

    def connections(self, user_id: str) -> int:
        """Return the number of subscriptions of a user."""
        return self._connections.get(user_id, 0)

    def remove(self, subscription: Subscription) -> bool:
        """Remove a subscription; return whether it was the last one of its user."""
        user_id = subscription.subscriber.user_id
        del self._subscriptions[subscription.subscriber]
        self._connections[user_id] -= 1
        if self._connections[user_id]:
            return False
        del self._connections[user_id]
        return True

    def deliver(self, entries: Sequence[Deliverable], reply: Reply | None = None) -> tuple[int, list[Subscription]]:
        """Deliver messages and notices of unsent messages to the members, in order.

        What the store has for the second time goes to those who did not get it before it lost its data. `reply` is
        about one of the messages: its sender gets both in one frame, where that is possible.

        Return the number of deliveries, and the subscriptions that have fallen behind: their connections did not take
        all of it, and they have to read on in the store.
        """
        fell_behind: list[Subscription] = []
        if not entries:
            return 0, fell_behind
        if RepeatedEntry not in map(type, entries):  # the usual case
            return self._deliver(entries, self._subscriptions.values(), fell_behind, reply), fell_behind
        if reply is not None:
            reply.subscriber.answer([reply.sent])
        count = 0
        for previous, run in groupby(entries, _previous_number):
            to = [one for one in self._subscriptions.values() if previous is None or one.lacks(previous)]
            count += self._deliver(run, to, fell_behind)
        return count, fell_behind

    def _deliver(
        self,
        entries: Iterable[Deliverable],
        to: Iterable[Subscription],
        fell_behind: list[Subscription],
        reply: Reply | None = None,
    ) -> int:
        items: list[tuple[int, Outgoing]] = []
        before = self.delivered
        for entry in entries:
            items.append((entry.number, outgoing(entry, self._room_id)))
            if isinstance(entry, LogEntry):
                self.delivered = Position(entry.number, entry.number, entry.cursor)
            else:
                self.delivered = self.delivered._replace(number=entry.number)
        packed = frames([item for _, item in items])
        first, single = items[0][0], packed[0] if len(packed) == 1 else None
        count, sender = 0, None
        if reply is not None and (sender := self._deliver_with(reply, single, first)) is not None:
            count = len(items)
        for subscription in to:
            if subscription is sender:
                continue
            if (
                single is not None
                and subscription.held is None
                and subscription.number < first
                and subscription.offer(single)
            ):
                count += len(items)  # the usual case, without further calls; `deliver` offers a refused frame again
                continue
            count += subscription.deliver(items, packed, before)
            if subscription.fell_behind:
                subscription.fell_behind = False
                fell_behind.append(subscription)
        return count

    def _deliver_with(self, reply: Reply, frame: Frame | None, first: int) -> Subscription | None:
        """Write a reply, together with `frame` if its subscription takes that: it is returned then, otherwise None.

        A write is the largest part of the cost of a message in a small room.
        """
        subscription = self._subscriptions.get(reply.subscriber)
        if (
            frame is not None
            and len(frame.payload) < codec.FRAME_BYTES // 2
            and subscription is not None
            and subscription.held is None
            and subscription.number < first
            and subscription.offer(frame.after(reply.sent))
        ):
            reply.subscriber.answer([])
            return subscription
        reply.subscriber.answer([reply.sent])
        return None

    def announce_gap(self, lost: HistoryLost) -> None:
        """Send each member the event that messages may have been lost, with the cursor to join again from."""
        delivered = self.delivered.number
        self._lost_number = max(self._lost_number, delivered)
        number = min(delivered, lost.number)
        self.delivered = Position(number, number, lost.cursor)
        for subscription in self._subscriptions.values():
            if not subscription.welcomed:
                subscription.lack(0, delivered)  # its history may be read after the loss
            else:
                since = subscription.lose(lost, delivered)
                subscription.subscriber.connection.write(Frame([Outgoing(Gap(room_id=self._room_id, since=since))]))

    def announce(self, announced: Sequence[Event]) -> None:
        """Write events to the members that are no part of the room's history.

        A user who joins, leaves or types does not get the event about it.
        """
        for event in announced:
            about = event.user_id if isinstance(event, _TO_THE_OTHERS) else None
            frame: Frame | None = None  # most people who join at once have nobody to tell
            for subscription in self._subscriptions.values():
                if subscription.welcomed and subscription.subscriber.user_id != about:
                    if frame is None:
                        frame = Frame([Outgoing(event)])
                    subscription.subscriber.connection.write(frame)


def _previous_number(entry: Deliverable) -> int | None:
    return entry.previous_number if isinstance(entry, RepeatedEntry) else None


def outgoing(entry: Deliverable, room_id: str) -> Outgoing:
    """Return the event of a log entry."""
    if isinstance(entry, MessageUnsent):
        return Outgoing(Unsent(room_id=room_id, message_id=entry.message_id))
    message, cursor, _, deadline, _ = entry
    event = MessageEvent(
        room_id=room_id,
        message_id=message.message_id,
        sender_id=message.sender_id,
        sender_name=message.sender_name,
        content=message.content,
        created_at=message.created_at,
        expires_at=message.expires_at,
        cursor=cursor,
        reply_to=UNSET if message.reply_to is None else message.reply_to,
    )
    return Outgoing(event, (deadline,))


def fill(joined: Joined, messages: Sequence[LogEntry], unsent: Sequence[str]) -> tuple[Outgoing, int, int]:
    """Put messages, and then ids of unsent messages, into `joined`, as many as a frame takes.

    Return the reply, and how many of each it has.
    """
    if not (messages or unsent):  # nothing to measure
        return Outgoing(joined), 0, 0
    room = codec.FRAME_BYTES - len(codec.encode([joined])) - SPARE_BYTES
    taken: list[Outgoing] = []
    for message in messages:
        item = outgoing(message, joined.room_id)
        room -= len(codec.encode_one(item.event)) + 1
        if room < 0:
            break
        taken.append(item)
    ids = unsent[: max(0, room // UNSENT_BYTES)]
    events = [item.event for item in taken if isinstance(item.event, MessageEvent)]
    full = msgspec.structs.replace(
        joined, messages=events, unsent=list(ids), more=joined.more or len(taken) < len(messages)
    )
    return Outgoing(full, tuple(deadline for item in taken for deadline in item.deadlines)), len(taken), len(ids)
