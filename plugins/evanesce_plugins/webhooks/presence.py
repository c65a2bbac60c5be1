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
from itertools import takewhile
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
        self._users: dict[str, set[str]] = {}  # of each room those whose leave is held back
        self._making_room = trio.Lock()
        self._news = trio.Event()

    @property
    def held(self) -> int:
        """How many leaves are held back."""
        return len(self._held)

    async def change(self, room_id: str, joined: Sequence[str], left: Sequence[str], at: datetime) -> None:
        """Take in who came into a room and who left it."""
        if not self._seconds:
            for user_id in joined:
                self._send("member.joined", room_id, user_id, at)
            for user_id in left:
                self._send("member.left", room_id, user_id, at)
            return
        returned = await together([partial(self._is_back, room_id, user_id) for user_id in joined])
        for user_id, is_back in zip(joined, returned, strict=True):
            if not is_back:
                self._send("member.joined", room_id, user_id, at)
        marked = await together([partial(self._mark, room_id, user_id) for user_id in left])
        for user_id, is_marked in zip(left, marked, strict=True):
            if is_marked:
                await self._hold((room_id, user_id), at)
            else:  # later nobody could tell whether the person is back
                self._send("member.left", room_id, user_id, at)
        self._news.set()

    async def _is_back(self, room_id: str, user_id: str) -> bool:
        try:
            return await self._marks().take(_key(room_id, user_id))
        except CommandError:  # a leave that is held here needs no store to say so
            return self._drop((room_id, user_id))

    async def _mark(self, room_id: str, user_id: str) -> bool:
        try:
            await self._marks().put(_key(room_id, user_id), self._seconds + MARGIN_SECONDS)
        except CommandError:
            return False
        return True

    async def _hold(self, leave: Leave, at: datetime) -> None:
        async with self._making_room:  # of several that need room at the same time, each sends another leave
            if len(self._held) >= MOST_HELD and leave not in self._held:
                await self._end(next(iter(self._held)), MARGIN_SECONDS)
            self._held[leave] = trio.current_time() + self._seconds, at
            self._held.move_to_end(leave)
            self._users.setdefault(leave[0], set()).add(leave[1])

    def _drop(self, leave: Leave) -> bool:
        """Hold a leave back no longer; return whether it was held back."""
        if self._held.pop(leave, None) is None:
            return False
        room_id, user_id = leave
        self._users[room_id].remove(user_id)
        if not self._users[room_id]:
            del self._users[room_id]
        return True

    async def forget(self, room_id: str, user_id: str | None = None) -> None:
        """Send no leave of a room that was closed, or of a user who was removed: that says the same.

        Whoever joins after that has joined, so the mark is taken too, also that of a user whose leave another server
        holds back.
        """
        users = list(self._users.get(room_id, ())) if user_id is None else [user_id]
        for user in users:
            self._drop((room_id, user))
        await together([partial(self._is_back, room_id, user) for user in users])

    async def run(self) -> None:
        """Send each leave when its time is over, until cancelled."""
        while True:
            if not self._held:
                self._news = trio.Event()
                await self._news.wait()
                continue
            await trio.sleep_until(next(iter(self._held.values()))[0])
            await together([partial(self._end, leave, MARGIN_SECONDS) for leave in self._over(trio.current_time())])

    def _over(self, now: float) -> list[Leave]:
        return [leave for leave, _ in takewhile(lambda item: item[1][0] <= now, self._held.items())]

    async def flush(self) -> None:
        """Send all leaves that are held back, of those who are not back yet. The store is asked once."""
        await together([partial(self._end, leave, 0) for leave in list(self._held)])

    async def _end(self, leave: Leave, seconds: float) -> None:
        """Send a leave, unless the person is back. `seconds`: for how long a store that fails is asked again."""
        held = self._held.get(leave)
        last = trio.current_time() + seconds
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
            self._drop(leave)
            if gone:
                self._send("member.left", *leave, now_held[1])


async def together(calls: Sequence[Callable[[], Awaitable[T]]], most: int = SLICE) -> list[T]:
    """Make calls, `most` at the same time, and return their results in order."""
    results: dict[int, T] = {}

    async def make(number: int) -> None:
        results[number] = await calls[number]()

    for start in range(0, len(calls), most):
        async with trio.open_nursery() as nursery:
            for number in range(start, min(start + most, len(calls))):
                nursery.start_soon(make, number)
    return [results[number] for number in range(len(calls))]


def _key(room_id: str, user_id: str) -> str:
    return f"{room_id} {user_id}"
