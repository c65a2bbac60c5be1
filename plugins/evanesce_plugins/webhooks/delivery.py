"""Delivery to one receiver: lanes of events, each in order, and attempts that are repeated within a bound."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from zlib import crc32

import trio

from evanesce_plugins.provider_http import NoAnswer, ProviderClient
from evanesce_plugins.webhooks.settings import Target, WebhooksSettings
from evanesce_plugins.webhooks.signing import Event, headers

log = logging.getLogger(__name__)

LANES = 8
"""How many events are on their way to a receiver at the same time: those of one room are in the same lane."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""The pause before the second attempt, and the longest one: each is twice as long as the one before it."""


TOO_OLD = "it has not taken them in time"


class _Lane:
    """The events that wait for one another. The first one stays until it was taken, or is dropped."""

    def __init__(self) -> None:
        self.waiting: deque[Event] = deque()
        self.news = trio.Event()


class Receiver:
    """Sends events to one address while `run` runs. `dropped` is called with the number of events that are lost."""

    def __init__(
        self, target: Target, keys: Sequence[bytes], settings: WebhooksSettings, dropped: Callable[[int], None]
    ) -> None:
        self.waiting = 0
        """How many events have not been taken yet."""
        self._target = target
        self._keys = keys
        self._settings = settings
        self._dropped = dropped
        self._lanes = [_Lane() for _ in range(LANES)]
        self._closing = trio.Event()
        self._failing_since: float | None = None
        self._lost = 0  # since it had taken all

    def put(self, event: Event) -> None:
        """Queue an event, or drop it where too many wait."""
        if self.waiting >= self._settings.queue:
            self._drop("too many of them wait for it")
            return
        lane = self._lanes[crc32(event.room_id.encode()) % LANES]
        lane.waiting.append(event)
        lane.news.set()
        self.waiting += 1

    def close(self) -> None:
        """Take no more events: `run` ends when those that wait were taken, or are dropped."""
        self._closing.set()
        for lane in self._lanes:
            lane.news.set()

    def abandon(self) -> None:
        """Drop what waits, and say how much that is: `run` has ended."""
        if self.waiting:
            count, name = self.waiting, self._target.name
            log.error("%d events for %s are lost: the server stops, and it has not taken them", count, name)
            self._dropped(count)
            self.waiting = 0

    async def run(self) -> None:
        """Send events until `close`."""
        async with ProviderClient() as client, trio.open_nursery() as nursery:
            for lane in self._lanes:
                nursery.start_soon(self._send_all, client, lane)

    async def _send_all(self, client: ProviderClient, lane: _Lane) -> None:
        while True:
            while lane.waiting:
                await self._deliver(client, lane.waiting[0])
                lane.waiting.popleft()
                self.waiting -= 1
            if not self.waiting and self._failing_since is None:
                self._lost = 0
            if self._closing.is_set():
                return
            lane.news = trio.Event()
            await lane.news.wait()

    async def _deliver(self, client: ProviderClient, event: Event) -> None:
        """Send an event until it is taken, or is too old."""
        last = event.made_at + self._settings.retry_seconds
        if self._failing_since is not None and trio.current_time() >= last + self._settings.timeout:
            self._drop(TOO_OLD)  # it has waited behind others, which are to have the time of its attempt
            return
        pause = FIRST_PAUSE_SECONDS
        while (problem := await self._attempt(client, event)) is not None:
            self._failed(problem)
            wait = pause * random.uniform(0.5, 1)
            if trio.current_time() + wait >= last:
                self._drop(TOO_OLD)
                return
            with trio.move_on_after(wait):  # where the server stops, there is one attempt at once
                if self._closing.is_set():
                    await trio.sleep_forever()
                await self._closing.wait()
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._succeeded()

    async def _attempt(self, client: ProviderClient, event: Event) -> str | None:
        """Send an event once; return why it was not taken, or None."""
        signed = headers(event.event_id, event.payload, self._keys, int(time.time()))
        try:
            with trio.fail_after(self._settings.timeout):
                answer = await client.exchange("POST", self._target.url, content=event.payload, headers=signed)
        except trio.TooSlowError:
            return f"it has not answered in {self._settings.timeout:g} s"
        except NoAnswer as error:
            return error.problem
        return None if 200 <= answer.status < 300 else f"it answered HTTP {answer.status}"

    def _failed(self, problem: str) -> None:
        if self._failing_since is None:
            self._failing_since = trio.current_time()
            log.warning("%s does not take events: %s. They are sent again later", self._target.name, problem)

    def _succeeded(self) -> None:
        if self._failing_since is not None:
            seconds = trio.current_time() - self._failing_since
            log.info("%s takes events again, after %.0f s", self._target.name, seconds)
        self._failing_since = None

    def _drop(self, reason: str) -> None:
        self._lost += 1
        if self._lost == 1:
            log.error("events for %s are lost: %s", self._target.name, reason)
        self._dropped(1)
