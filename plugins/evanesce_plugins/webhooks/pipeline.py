"""The way of an event: from a hook, in order, past the filter of presence, into the queue of each receiver."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import trio

from evanesce.interfaces import Server
from evanesce_plugins.webhooks.delivery import Receiver
from evanesce_plugins.webhooks.presence import PresenceFilter, together
from evanesce_plugins.webhooks.settings import EventType, Target, WebhooksSettings
from evanesce_plugins.webhooks.signing import Event, event

log = logging.getLogger(__name__)

MOST_STAGED = 1_000
"""How many calls of hooks wait until the store has said who is back."""

ROOMS = 10
"""Of how many rooms the store is asked at the same time."""

STAGE_SECONDS = 1.0
"""How long a hook waits where that are too many, of the 2 s that it has. Then what it was told is dropped."""

FLUSH_SECONDS = 3.5
"""How long a server that stops goes on sending: its tasks have 5 s to end."""


@dataclass(frozen=True, slots=True)
class _Fact:
    """What a hook has told: an event, or (`kind` is None) a change of presence."""

    at: datetime
    made_at: float
    kind: EventType | None
    data: Mapping[str, str] = field(default_factory=dict[str, str])
    room_id: str = ""
    joined: Sequence[str] = ()
    left: Sequence[str] = ()

    @property
    def events(self) -> int:
        """How many events it can become."""
        return 1 if self.kind else len(self.joined) + len(self.left)


class Pipeline:
    """The events of one server. `run` sends them."""

    def __init__(self, settings: WebhooksSettings, targets: Sequence[Target], keys: Sequence[bytes]) -> None:
        self._events = frozenset(settings.events)
        self._server: Server | None = None
        self._late = False  # some were dropped since nothing waited
        self._put_fact, self._facts = trio.open_memory_channel[_Fact](MOST_STAGED)
        self._asking = 0  # how many events wait for the store's answer, beside those in the channel
        self._presence = PresenceFilter(settings.leave_seconds, lambda: self._running.marks, self._send_presence)
        self._receivers = [Receiver(target, keys, settings, self._count_dropped) for target in targets]

    # From the hooks

    async def put(self, kind: EventType, **data: str) -> None:
        """Take in an event of a room or of a user."""
        await self._stage(_Fact(datetime.now(UTC), trio.current_time(), kind, data, data.get("roomId", "")))

    async def presence_changed(self, room_id: str, joined: Sequence[str], left: Sequence[str]) -> None:
        """Take in who came into a room and who left it."""
        if self._events & {"member.joined", "member.left"}:
            at, made_at = datetime.now(UTC), trio.current_time()
            fact = _Fact(at, made_at, None, room_id=room_id, joined=joined, left=left)
            await self._stage(fact)

    async def _stage(self, fact: _Fact) -> None:
        with trio.move_on_after(STAGE_SECONDS) as waiting:
            await self._put_fact.send(fact)
        if waiting.cancelled_caught and self._server is not None:
            self._count_dropped(fact.events)
            if not self._late:
                log.error("events are lost: the store takes too long to say who is back")
            self._late = True

    # The task

    async def run(self, server: Server) -> None:
        """Send events until cancelled, and then for `FLUSH_SECONDS` more what waits."""
        self._server = server
        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_notice_cancellation, stopping)
            with trio.CancelScope(shield=True) as flushing:
                await self._send_until(stopping, flushing)
            self._abandon()
            for receiver in self._receivers:
                receiver.abandon()

    async def _send_until(self, stopping: trio.Event, flushing: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            for receiver in self._receivers:
                nursery.start_soon(receiver.run)
            async with trio.open_nursery() as presence:
                presence.start_soon(self._presence.run)
                async with trio.open_nursery() as staging:
                    staging.start_soon(self._take_facts)
                    await stopping.wait()
                    flushing.deadline = trio.current_time() + FLUSH_SECONDS
                    self._put_fact.close()
                presence.cancel_scope.cancel()
            await self._presence.flush()
            for receiver in self._receivers:
                receiver.close()

    def _abandon(self) -> None:
        """Drop what the store has not decided on, and say how much that is."""
        count = self._presence.held + self._asking + sum(fact.events for fact in self._waiting())
        if count:
            log.error("%d events are lost: the server stops, and the store has not said who is back", count)
            self._count_dropped(count)

    def _waiting(self) -> list[_Fact]:
        """Take all facts that are there."""
        facts: list[_Fact] = []
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                facts.append(self._facts.receive_nowait())
        return facts

    async def _take_facts(self) -> None:
        async for first in self._facts:
            rooms: dict[str, list[_Fact]] = {}
            for fact in (first, *self._waiting()):
                rooms.setdefault(fact.room_id, []).append(fact)
                self._asking += fact.events
            await together([partial(self._take_in_order, facts) for facts in rooms.values()], ROOMS)
            if not self._facts.statistics().current_buffer_used:
                self._late = False

    async def _take_in_order(self, facts: Sequence[_Fact]) -> None:
        for fact in facts:
            await self._take(fact)
            self._asking -= fact.events

    async def _take(self, fact: _Fact) -> None:
        if fact.kind is None:
            await self._presence.change(fact.room_id, fact.joined, fact.left, fact.at)
            return
        if fact.kind == "room.closed":
            await self._presence.forget(fact.room_id)
        elif fact.kind == "member.removed":
            await self._presence.forget(fact.room_id, fact.data["userId"])
        self._send(fact.kind, fact.room_id, fact.at, fact.made_at, fact.data)

    def _send_presence(self, kind: EventType, room_id: str, user_id: str, at: datetime) -> None:
        self._send(kind, room_id, at, trio.current_time(), {"roomId": room_id, "userId": user_id})

    def _send(self, kind: EventType, room_id: str, at: datetime, made_at: float, data: Mapping[str, str]) -> None:
        if kind in self._events:
            made: Event = event(kind, room_id, at, made_at, data)
            for receiver in self._receivers:
                receiver.put(made)

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise AssertionError("events are sent by the task of the plugin, which has the server")
        return self._server

    def _count_dropped(self, events: int) -> None:
        self._running.count_dropped(events)


async def _notice_cancellation(stopping: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stopping.set()
