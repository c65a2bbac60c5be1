"""The clock of a real Valkey is set back and forward under stores that run on it: what must hold, for each step."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
import trio

from evanesce.store import Store
from evanesce.store.events import Feed
from evanesce.store.message_log import LogEntry, RoomClosed, Stored
from evanesce.store.presence import Member
from evanesce.store.redis import lease
from tests.clocks.offset import STEPS, OffsetClock, library
from tests.core.store.backends import RedisBackend, draft, events, eventually, join
from tests.e2e.valkey import Valkey

pytestmark = pytest.mark.slow

TTL = 60.0
SLACK = 2.5
"""By how much the bounds of a measurement may be apart on a machine with much else to do, in seconds."""

BACK = [step for step in STEPS if step < 0]
FORWARD = [step for step in STEPS if step > 0]


@dataclass(frozen=True)
class Offset:
    """A Valkey whose clock is off, and the stores on it."""

    clock: OffsetClock
    backend: RedisBackend

    def key(self, room_id: str, message_id: str) -> str:
        return f"evanesce:{{{room_id}}}:message:{message_id}"

    async def open(self, server_id: str = "one") -> Store:
        """Open a store that has measured Valkey's clock already."""
        store = await self.backend.open(server_id, TTL)
        await eventually(lambda: self.backend.client.zscore("evanesce:{servers}:lives", store.servers.server_name))
        await store.rate_limits.take_tokens("any", 1, 1.0, 1)  # answered behind the measurement
        await believes(store, 0)
        return store

    def left(self, room_id: str, message_id: str) -> float:
        """For how many seconds Valkey will still have a message."""
        return float(self.backend.client.pttl(self.key(room_id, message_id))) / 1000

    async def set(self, step: int) -> None:
        """Set Valkey's clock off by `step` s, and wait until it has read it: it does so once in each round."""
        self.clock.set(step)

        def is_set() -> bool:
            seconds, _ = self.backend.client.time()
            return abs(float(seconds) - time.time() - step) < SLACK

        await eventually(is_set)


@pytest.fixture(scope="session")
def offset_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("offset"))


@pytest.fixture
async def offset(offset_library: Path, tmp_path: Path) -> AsyncGenerator[Offset, None]:
    clock = OffsetClock(offset_library, tmp_path)
    with Valkey(clock.environment) as valkey:
        async with trio.open_nursery() as nursery:
            backend = RedisBackend(valkey.url, nursery)
            yield Offset(clock, backend)
            nursery.cancel_scope.cancel()
        backend.client.close()


async def say(store: Store, room_id: str) -> tuple[str, float, float]:
    """Store a message; return its id, and between which moments of the steady clock it was stored."""
    before = time.monotonic()
    message = draft(room_id)
    answer = await store.messages.append(room_id, [message])
    assert not isinstance(answer, RoomClosed)
    assert isinstance(answer[0], Stored)
    return message.message_id, before, time.monotonic()


async def believes(store: Store, step: int) -> None:
    """Wait until a store knows that its Redis's clock is off by `step` s."""
    await eventually(lambda: abs(store.clock.now() / 1000 - time.time() - step) < SLACK, 30)


@pytest.mark.parametrize("step", BACK)
async def test_what_was_said_before_a_step_back_ends_when_it_would_have(
    offset: Offset, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    stores = [await offset.open(name) for name in ("one", "two")]
    rooms = [str(uuid4()) for _ in stores]
    said = {room: await say(store, room) for store, room in zip(stores, rooms, strict=True)}
    taken_back, _, _ = await say(stores[0], rooms[0])
    assert await stores[0].messages.unsend(rooms[0], taken_back, "ada") is True
    await offset.set(step)
    for store in stores:
        await believes(store, step)
    later = {room: await say(stores[0], room) for room in [*rooms, str(uuid4())]}

    def shortened() -> bool:
        return all(offset.left(room, said[room][0]) <= TTL for room in rooms)

    await eventually(shortened, 30)
    tombstone = f"evanesce:{{{rooms[0]}}}:unsent:{taken_back}"
    await eventually(lambda: offset.backend.client.pttl(tombstone) <= TTL * 1000, 30)
    for room, (message_id, before, after) in [*said.items(), *later.items()]:
        asked = time.monotonic()
        left = offset.left(room, message_id)
        assert left >= TTL - (time.monotonic() - before) - 0.01, "nothing is erased early"
        assert left <= TTL - (asked - after) + SLACK, "nothing is sent late"


async def test_a_step_back_shortens_messages_of_any_ttl_and_no_others(
    offset: Offset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    store = await offset.open()
    room_id = str(uuid4())
    ttls = (40.0, 1_200.0, 30.0, 600.0)

    async def say_all() -> list[str]:
        drafts = [msgspec.structs.replace(draft(room_id), ttl=ttl) for ttl in ttls]
        assert not isinstance(await store.messages.append(room_id, drafts, 3_600_000), RoomClosed)
        return [each.message_id for each in drafts]

    before = await say_all()
    await offset.set(-3600)
    await believes(store, -3600)
    after = await say_all()

    def shortened() -> bool:
        return all(offset.left(room_id, each) <= ttl for each, ttl in zip(before, ttls, strict=True))

    began = time.monotonic()
    await eventually(shortened, 30)
    for message_id, ttl in [*zip(before, ttls, strict=True), *zip(after, ttls, strict=True)]:
        assert ttl - SLACK - (time.monotonic() - began) - 10 < offset.left(room_id, message_id) <= ttl


async def test_a_step_back_shortens_long_rooms_and_outlives_an_index_that_nobody_here_wrote(
    offset: Offset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    store = await offset.open()
    strange, room_id = str(uuid4()), str(uuid4())
    await say(store, strange)
    index = f"evanesce:{{{strange}}}:index"
    for fields in ({"m": "x", "c": "1", "until": "never"}, {"nothing": "known"}):
        offset.backend.client.xadd(index, fields)
    messages = [draft(room_id) for _ in range(200)]  # several pages of the index
    assert not isinstance(await store.messages.append(room_id, messages), RoomClosed)
    await offset.set(-3600)

    def shortened() -> bool:
        return all(offset.left(room_id, message.message_id) <= TTL for message in messages)

    await eventually(shortened, 30)
    assert not isinstance(await store.messages.history(room_id, None, 10, 10_000), RoomClosed), "the store lives"


@pytest.mark.parametrize("step", [*BACK, -45, -59])  # with these it seems to have a part of its life left
async def test_after_a_step_back_what_is_new_is_heard_and_read_at_once(
    offset: Offset, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 60.0)  # nothing but the doubt about the message measures the clock
    store = await offset.open()
    room_id = str(uuid4())
    async with store.events.follow(room_id, 10) as feed:
        await offset.set(step)
        await say(store, room_id)
        assert await remaining(feed) > TTL / 2
        history = await store.messages.history(room_id, None, 10, 10_000)
        assert not isinstance(history, RoomClosed)
        assert [item.deadline > trio.current_time() + TTL / 2 for item in history.messages] == [True]


@pytest.mark.parametrize("step", FORWARD)
async def test_after_a_step_forward_no_deadline_is_later_than_a_whole_life(offset: Offset, step: int) -> None:
    store = await offset.open()
    room_id = str(uuid4())
    async with store.events.follow(room_id, 10) as feed:
        await offset.set(step)
        await say(store, room_id)
        assert TTL / 2 < await remaining(feed) <= TTL
        assert store.clock.now() / 1000 > time.time() + step - SLACK, "what was written tells the time"


async def remaining(feed: Feed) -> float:
    """Wait for a message, and give for how many seconds it may still be sent."""
    [message] = await events(feed, 1)
    assert isinstance(message, LogEntry)
    return message.deadline - trio.current_time()


@pytest.mark.parametrize("step", STEPS)
async def test_after_a_step_a_bucket_is_refused_no_longer_than_it_needs(offset: Offset, step: int) -> None:
    store = await offset.open()
    rate, burst = 0.5, 4
    assert await store.rate_limits.take_tokens("messages:ada", burst, rate, burst) == (burst, 0)
    await offset.set(step)
    _, wait = await store.rate_limits.take_tokens("messages:ada", burst, rate, burst)
    assert wait <= 1 / rate


@pytest.mark.parametrize("step", STEPS)
async def test_after_a_step_nobody_has_left_and_no_duty_is_left_undone(
    offset: Offset, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    one, two = await offset.open("one"), await offset.open("two")
    room_id = str(uuid4())
    await join(one, room_id, [Member("ada", "Ada")])
    assert await one.rate_limits.connect("ada", 1, 5)
    assert await one.servers.claim("tidy", 1.0)
    await offset.set(step)
    for store in (one, two):
        await believes(store, step)
    for _ in range(20):  # renewals by either
        await trio.sleep(0.05)
        assert await two.presence.counts([room_id]) == [1]
        assert await two.rate_limits.connected(["ada"]) == {"ada"} or await two.servers.expiries() is None
    await eventually(lambda: two.servers.claim("tidy", 1.0))

    async def both_live() -> bool:
        servers = await two.servers.expiries()
        return servers is not None and {one.servers.server_name, two.servers.server_name} <= servers.keys()

    await eventually(both_live, 30)


@pytest.mark.parametrize("step", FORWARD)
async def test_a_step_forward_makes_nothing_older_than_it_is(offset: Offset, step: int) -> None:
    store = await offset.open()
    await offset.set(step)
    await believes(store, step)
    assert abs(store.clock.past() / 1000 - time.time()) < SLACK
