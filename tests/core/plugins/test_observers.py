"""Observers, and their faults. Time is virtual."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import trio
from trio.testing import MockClock

from evanesce.hookspecs import HOOK_SECONDS, hookimpl
from evanesce.model import ChatRoom, Timestamp
from evanesce.plugins import Plugins
from evanesce.plugins.manager import MOST_WAITING
from tests.core.plugins.fixtures import DRAFT, ROOM, loaded, plugin


class Watcher:
    """Notes what it is told; raises or waits where it is asked to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.fails = False
        self.gate: trio.Event | None = None

    async def _note(self, *event: str) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise ValueError
        self.told.append(event)

    @hookimpl
    async def evanesce_member_joined(self, room_id: str, user_id: str, display_name: str) -> None:
        await self._note("joined", room_id, user_id, display_name)

    @hookimpl
    async def evanesce_member_left(self, room_id: str, user_id: str) -> None:
        await self._note("left", room_id, user_id)

    @hookimpl
    async def evanesce_message_sent(
        self, room_id: str, sender_id: str, message_id: str, size: int, created_at: Timestamp, expires_at: Timestamp
    ) -> None:
        await self._note("sent", room_id, sender_id, message_id, str(size), created_at, expires_at)

    @hookimpl
    async def evanesce_room_opened(self, room: ChatRoom) -> None:
        await self._note("opened", room.room_id)

    @hookimpl
    async def evanesce_room_closed(self, room_id: str) -> None:
        await self._note("closed", room_id)

    @hookimpl
    async def evanesce_invite_created(self, room_id: str, invite_id: str, people: int, expires_at: Timestamp) -> None:
        await self._note("invited", room_id, invite_id, str(people), expires_at)

    @hookimpl
    async def evanesce_member_removed(self, room_id: str, user_id: str, reason: str) -> None:
        await self._note("removed", room_id, user_id, reason)

    @hookimpl
    async def evanesce_member_banned(self, room_id: str, user_id: str, reason: str, until: Timestamp) -> None:
        await self._note("banned", room_id, user_id, reason, until)

    @hookimpl
    async def evanesce_presence_changed(self, room_id: str, joined: Sequence[str], left: Sequence[str]) -> None:
        await self._note("presence", room_id, ",".join(joined), ",".join(left))

    @hookimpl
    async def evanesce_user_erased(self, user_id: str) -> None:
        await self._note("erased", user_id)


def tell_all(plugins: Plugins) -> None:
    plugins.observe("evanesce_room_opened", room=ROOM)
    plugins.observe("evanesce_member_joined", room_id="r", user_id="u", display_name="n")
    plugins.message_stored(DRAFT, NOON, NOON, duplicate=False)
    plugins.message_stored(DRAFT, NOON, NOON, duplicate=True)
    plugins.observe("evanesce_member_left", room_id="r", user_id="u")
    plugins.observe("evanesce_invite_created", room_id="r", invite_id="i", people=3, expires_at=NOON)
    plugins.observe("evanesce_member_removed", room_id="r", user_id="u", reason="vote")
    plugins.observe("evanesce_member_banned", room_id="r", user_id="u", reason="vote", until=NOON)
    plugins.observe("evanesce_presence_changed", room_id="r", joined=("u", "v"), left=("w",))
    plugins.observe("evanesce_room_closed", room_id="r")
    plugins.observe("evanesce_user_erased", user_id="u")


NOON = Timestamp("2026-11-22T12:00:00.000Z")
ALL = [
    ("opened", "r"),
    ("joined", "r", "u", "n"),
    ("sent", "r", "s", "m", "5", NOON, NOON),
    ("left", "r", "u"),
    ("invited", "r", "i", "3", NOON),
    ("removed", "r", "u", "vote"),
    ("banned", "r", "u", "vote", NOON),
    ("presence", "r", "u,v", "w"),
    ("closed", "r"),
    ("erased", "u"),
]


@pytest.fixture
async def nursery_of_observers() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


async def test_observers_are_told_everything_in_order(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock
) -> None:
    a, b = Watcher(), Watcher()
    plugins = loaded(a=a, b=b, c=plugin())
    await nursery_of_observers.start(plugins.run)
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert a.told == b.told == ALL


async def test_what_was_told_before_they_run_is_not_lost(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock
) -> None:
    a = Watcher()
    plugins = loaded(a=a)
    tell_all(plugins)
    assert plugins.statistics()["a"].waiting == len(ALL)
    await nursery_of_observers.start(plugins.run)
    await trio.testing.wait_all_tasks_blocked()
    assert a.told == ALL


async def test_settling_tells_what_waits_and_ends(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock
) -> None:
    a, slow = Watcher(), Watcher()
    slow.gate = trio.Event()
    for plugins, seconds in ((loaded(a=a), 0.0), (loaded(slow=slow), 1.0)):
        await nursery_of_observers.start(plugins.run)
        tell_all(plugins)
        began = trio.current_time()
        await plugins.finish_events(1)
        assert trio.current_time() - began == pytest.approx(seconds)
    assert a.told == ALL


async def test_one_that_raises_harms_nobody(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Watcher(), Watcher()
    a.fails = True
    plugins = loaded(a=a, b=b)
    await nursery_of_observers.start(plugins.run)
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert b.told == ALL
    assert plugins.statistics()["a"].failed == len(ALL)
    assert caplog.text.count("plugin a: evanesce_") == len(ALL)
    a.fails = False
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert a.told == ALL


async def test_one_that_hangs_is_passed_over(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Watcher(), Watcher()
    a.gate = trio.Event()
    plugins = loaded(a=a, b=b)
    await nursery_of_observers.start(plugins.run)
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert b.told == ALL
    await trio.sleep(len(ALL) * HOOK_SECONDS + 0.1)
    assert plugins.statistics()["a"].failed == len(ALL)
    assert caplog.text.count("took more than 2 s") == len(ALL)


async def test_what_finds_the_queue_full_is_dropped_and_counted(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Watcher(), Watcher()
    a.gate = trio.Event()
    plugins = loaded(a=a, b=b)
    await nursery_of_observers.start(plugins.run)
    for _ in range(MOST_WAITING + 1):
        plugins.observe("evanesce_room_closed", room_id="r")
        await trio.testing.wait_all_tasks_blocked()
    for _ in range(100):
        plugins.observe("evanesce_room_closed", room_id="late")
    assert plugins.statistics()["a"].waiting == MOST_WAITING
    assert plugins.statistics()["a"].dropped == 100
    assert plugins.statistics()["b"].dropped == 0
    assert caplog.text.count("events dropped") == 7  # at 1, 2, 4, … 64: a line each would fill the log
    a.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert len(a.told) == MOST_WAITING + 1
