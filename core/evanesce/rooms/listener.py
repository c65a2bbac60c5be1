"""What the store publishes about a room, on its way to the members on this server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import trio

from evanesce import tracing
from evanesce.metrics import Metrics
from evanesce.model import milliseconds
from evanesce.protocol import events
from evanesce.rooms.backlog import Backlog
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.leaving import Leaving
from evanesce.rooms.membership import Membership
from evanesce.rooms.messages import Messages
from evanesce.rooms.policy import RoomPolicy
from evanesce.rooms.presence import RoomPresence
from evanesce.rooms.requests import RoomRequest, Wake
from evanesce.rooms.subscription import Deliverable
from evanesce.rooms.typing_times import TypingNotices
from evanesce.store.events import (
    Closed,
    Feed,
    HistoryLost,
    Left,
    MemberMuted,
    MemberRemoved,
    PresenceChanged,
    RoomEvent,
    RulesChanged,
    RulesUncertain,
    Typing,
    Voted,
)
from evanesce.store.message_log import LogEntry, MessageUnsent

_ENTRIES = (LogEntry, MessageUnsent)

Guard = Callable[[Callable[[Sequence[RoomEvent]], None]], Callable[[Sequence[RoomEvent]], None]]


class RoomListener:
    """Handles the events of one room in the order of the store. `progress` is unparked after each delivery."""

    def __init__(
        self,
        room_id: str,
        *,
        members: Membership,
        presence: RoomPresence,
        policy: RoomPolicy,
        backlog: Backlog,
        leaving: Leaving,
        messages: Messages,
        inbox: Inbox[RoomRequest],
        progress: trio.lowlevel.ParkingLot,
        metrics: Metrics,
    ) -> None:
        self._room_id = room_id
        self._members = members
        self._presence = presence
        self._policy = policy
        self._backlog = backlog
        self._leaving = leaving
        self._messages = messages
        self._inbox = inbox
        self._progress = progress
        self._metrics = metrics
        self._clock = trio.lowlevel.current_clock()  # `trio.current_time` makes two calls more for each message
        self._typing = TypingNotices(partial(_announce_typing, room_id, members))  # no cycle: names in it would stay

    def start(self, nursery: trio.Nursery) -> None:
        """Tell members later what came too early in tasks of `nursery`."""
        self._typing.start(nursery)

    async def run(self, feed: Feed, guard: Guard) -> None:
        """Handle what the feed brings, until cancelled. `guard` wraps what handles events as they arrive."""
        feed.deliver_to(guard(self._handle))
        while True:
            self._handle(await feed.next())

    def _handle(self, batch: Sequence[RoomEvent]) -> None:
        entries: list[Deliverable] = []
        for event in batch:
            if isinstance(event, _ENTRIES):
                entries.append(event)
                continue
            self._deliver(entries)
            entries = []
            match event:
                case Typing(user_id):
                    self._typing.typing(user_id)
                case HistoryLost():
                    self._messages.unpublished.clear()
                    self._members.announce_gap(event)
                    self._members.roster.reset(event)
                case PresenceChanged(presence):
                    self._presence.replace(presence)
                case RulesChanged(rules):
                    self._policy.changed(rules, self._leaving.removed_by)
                case RulesUncertain():
                    self._policy.check(self._leaving.removed_by)
                case MemberRemoved(removal, at):
                    self._leaving.removed(removal, at)
                case MemberMuted(user_id, until):
                    self._policy.muted(user_id, until)
                case Voted(ballot):
                    self._policy.vote(ballot)
                case Closed(reason):
                    self._leaving.close(reason)
                    self._inbox.put_unless_closed(Wake())
                    return
                case _:
                    if isinstance(event, Left):
                        self._typing.stopped(event.user_id)
                    self._presence.apply(event)
        self._deliver(entries)

    def _deliver(self, entries: list[Deliverable]) -> None:
        for entry in entries:
            if isinstance(entry, LogEntry):
                self._typing.stopped(entry.message.sender_id)
        reply = self._messages.reply_to_one_of(entries)
        began = 0 if tracing.active is None else time.time_ns()
        deliveries, fell_behind = self._members.deliver(entries, reply)
        if entries:
            self._measure(entries, deliveries)
        if tracing.active is not None:
            ids = [entry.message.message_id for entry in entries if isinstance(entry, LogEntry)]
            tracing.active.fanned_out(ids, began, deliveries)
        if fell_behind and not self._inbox.closed:
            for subscription in fell_behind:
                self._backlog.note(subscription, caught_up=False)
            self._inbox.put_unbounded(Wake())  # the task that reads history for them may be waiting for a request
        self._messages.published(entries)
        if self._progress:
            self._progress.unpark_all()

    def _measure(self, entries: Sequence[Deliverable], deliveries: int) -> None:
        """Count entries that were written to the members, and how long ago they were stored."""
        metrics = self._metrics
        metrics.delivered.inc(deliveries)
        metrics.fanout.observe(deliveries // len(entries), len(entries))
        now = self._clock.current_time()
        for entry in entries:
            if isinstance(entry, LogEntry):
                message = entry.message
                life = (milliseconds(message.expires_at) - milliseconds(message.created_at)) / 1000
                metrics.delivery_seconds.observe(max(0.0, now - entry.deadline + life))


def _announce_typing(room_id: str, members: Membership, user_id: str) -> None:
    members.announce([events.TypingEvent(room_id=room_id, user_id=user_id)])
