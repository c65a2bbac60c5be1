"""Joins and leaves as they are sent: a person who comes back soon, on any server, has not left.

A leave is held back, and marked for all servers. Whoever takes the mark decides: the server on which the person joins
again, which then sends nothing, or this one when the time is over, which then sends the leave. A mark does not say
whose it is: of a person who leaves several servers within that time, the leave may be sent early, but never twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import trio

from evanesce.errors import CommandError
from evanesce.interfaces import SharedMarks
from evanesce_plugins.webhooks.settings import EventType

MARGIN_SECONDS = 30.0
"""How much longer a mark is kept than a leave is held back, for when the store does not answer in time."""

RETRY_SECONDS = 1.0
"""The pause after which the store is asked again."""

MOST_HELD = 100_000
"""How many leaves are held back; of further ones the oldest is sent at once."""

SLICE = 100
"""How many marks are put or taken at the same time."""

T = TypeVar("T")

Leave = tuple[str, str]
"""A room and a user."""


Send = Callable[[EventType, str, str, datetime], None]
"""Sends `member.joined` or `member.left` of a room and a user, which happened at a time."""


class PresenceFilter:
    """Sends what is left of the changes of presence on this server. `marks` are there while the server runs."""

    def __init__(self, seconds: float, marks: Callable[[], SharedMarks], send: Send) -> None:
        self._seconds = seconds
        self._marks = marks
        self._send = send
        self._held: OrderedDict[Leave, tuple[float, datetime]] = OrderedDict()  # all for as long: the first ends first
        self._news = trio.Event()

    async def change(self, room_id: str, joined: Sequence[str], left: Sequence[str], at: datetime) -> None:
        """Take in who came into a room and who left it."""
        if not self._seconds:
            for user_id in joined:
                self._send("member.joined", room_id, user_id, at)
            for user_id in left:
                self._send("member.left", room_id, user_id, at)
            return
        returned = await _all([partial(self._is_back, room_id, user_id) for user_id in joined])
        for user_id, is_back in zip(joined, returned, strict=True):
            if not is_back:
                self._send("member.joined", room_id, user_id, at)
        marked = await _all([partial(self._mark, room_id, user_id) for user_id in left])
        for user_id, is_marked in zip(left, marked, strict=True):
            if is_marked:
                await self._hold((room_id, user_id), at)
            else:  # later nobody could tell whether the person is back
                self._send("member.left", room_id, user_id, at)
        self._news.set()

    async def _is_back(self, room_id: str, user_id: str) -> bool:
        try:
            return await self._marks().take(_key(room_id, user_id))
        except CommandError:
            return False

    async def _mark(self, room_id: str, user_id: str) -> bool:
        try:
            await self._marks().put(_key(room_id, user_id), self._seconds + MARGIN_SECONDS)
        except CommandError:
            return False
        return True

    async def _hold(self, leave: Leave, at: datetime) -> None:
        if len(self._held) >= MOST_HELD and leave not in self._held:
            await self._end(next(iter(self._held)))
        self._held[leave] = trio.current_time() + self._seconds, at
        self._held.move_to_end(leave)

    def forget(self, room_id: str, user_id: str | None = None) -> None:
        """Send no leave of a room that was closed, or of a user who was removed: that says the same."""
        for leave in [one for one in self._held if one[0] == room_id and user_id in (None, one[1])]:
            del self._held[leave]

    async def run(self) -> None:
        """Send each leave when its time is over, until cancelled."""
        while True:
            if not self._held:
                self._news = trio.Event()
                await self._news.wait()
                continue
            await trio.sleep_until(next(iter(self._held.values()))[0])
            now = trio.current_time()
            await _all([partial(self._end, leave) for leave, (due, _) in list(self._held.items()) if due <= now])

    async def flush(self) -> None:
        """Send all leaves that are held back, of those who are not back yet."""
        await _all([partial(self._end, leave) for leave in list(self._held)])

    async def _end(self, leave: Leave) -> None:
        held = self._held.get(leave)
        last = trio.current_time() + MARGIN_SECONDS
        gone = True
        while True:
            try:
                gone = await self._marks().take(_key(*leave))
                break
            except CommandError:
                if trio.current_time() >= last:
                    break
                await trio.sleep(RETRY_SECONDS)
        now_held = self._held.get(leave)
        if now_held is not None and (gone or now_held == held):  # otherwise there is a later leave, with its own mark
            del self._held[leave]
            if gone:
                self._send("member.left", *leave, now_held[1])


async def _all(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Make calls at the same time, `SLICE` at most, and return their results in order."""
    results: dict[int, T] = {}

    async def make(number: int) -> None:
        results[number] = await calls[number]()

    for start in range(0, len(calls), SLICE):
        async with trio.open_nursery() as nursery:
            for number in range(start, min(start + SLICE, len(calls))):
                nursery.start_soon(make, number)
    return [results[number] for number in range(len(calls))]


def _key(room_id: str, user_id: str) -> str:
    return f"{room_id} {user_id}"
