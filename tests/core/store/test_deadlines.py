"""Every call to Redis ends within its deadline, whoever makes it and whatever the connection is doing."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from evanesce.errors import StoreUnavailable
from evanesce.store.presence import Member
from evanesce.store.redis import node_client
from evanesce.store.redis.clock import SharedClock
from evanesce.store.redis.connection import Address, Connection
from evanesce.store.redis.feed import RoomFeed
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lease import Lease
from evanesce.store.redis.message_log import RedisMessageLog
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.presence import RedisPresence
from evanesce.store.redis.rate_limits import RedisRateLimits
from evanesce.store.redis.register import Register
from evanesce.store.redis.rules import RedisRules
from evanesce.store.redis.subscriber import Subscriber
from evanesce.store.rules import Person, Removal
from tests.core.store.backends import RULES, RedisBackend, draft, joiners
from tests.core.store.gate import Gate, gated
from tests.patience import PATIENCE, Stopwatch, within

pytestmark = pytest.mark.slow

PROMISE = 2.5
"""How long a method of `Store` may take, in seconds."""

AT_ONCE = 0.5
"""How long a call may take that has nothing to wait for."""


@pytest.fixture
async def gate(valkey: RedisBackend, tmp_path: Path) -> AsyncGenerator[Gate, None]:
    async with gated(tmp_path, valkey.url) as gate:
        yield gate


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Wait until no thread connects any more: one that was abandoned goes on until Redis's time is over."""
    yield
    deadline = time.monotonic() + PATIENCE
    while names := [thread.name for thread in threading.enumerate() if thread.name.startswith("evanesce-redis")]:
        assert time.monotonic() < deadline, names
        time.sleep(0.01)


async def nothing_left(home: Home, server: str) -> None:
    """Take over nothing from a dead server."""


def callers(client: NodeClient, room_id: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return one call of each kind that anything in the store makes."""
    keys, clock = Keys("evanesce:"), SharedClock()
    homes = Homes(client, "evanesce:", clock, "one")
    [home] = homes
    lease = home.lease
    held = Homes(client, "evanesce:", SharedClock(), "two")
    for other in held:
        other.lease._known.set()  # people come in: the server has its lease
    presence = RedisPresence(client, keys, held, nothing_left, replicated=False)
    log = RedisMessageLog(client, keys, clock, 60_000)
    rules = RedisRules(client, keys, clock, homes)
    usage = RedisRateLimits(client, keys, clock, homes)
    members = joiners(Member("ada", "Ada"))

    async def restore() -> None:
        presence._local("restored").members["ada"] = "Ada"
        presence.suspect("restored")
        await presence.restore("restored")

    return {
        "a message": lambda: log.append(room_id, [draft(room_id)]),
        "a page of history": lambda: log.history(room_id, None, 10, 10_000),
        "a feed": RoomFeed(room_id, 10, log, presence).start,
        "a command and its refusal": lambda: client.exchange(("PING",)),
        "an urgent command": lambda: client.run(("PING",), urgent=True),
        "a lease": lambda: lease.end(leaves=False),
        "what a dead server has left to erase": lambda: Register(client, keys, lease).left_by("dead"),
        "the lives of servers": lease.servers,
        "the lease that is waited for": lease.known,
        "presence": lambda: presence.join(room_id, members, 10, 10, RULES),
        "a removal": lambda: rules.install(room_id, RULES, {}, Removal("ada", "creator", 0)),
        "a vote": lambda: rules.vote(room_id, Person("ada", "a"), Person("bob", "b"), "creator"),
        "presence after an outage": restore,
        "connections of a user": lambda: usage.connect("ada", 1, 5),
        "tokens": lambda: usage.take_tokens("ada", 1, 1.0, 5),
    }


async def all_end(client: NodeClient, room_id: str, seconds: float, *, twice: tuple[str, ...] = ()) -> None:
    """Make one call of each kind at once; each raises `StoreUnavailable` within `seconds`, those in `twice` in double.

    What waits for another task, which does not run here, may take as long as a call that goes to Redis.
    """

    async def ends(name: str, call: Callable[[], Awaitable[object]]) -> None:
        stopwatch = Stopwatch()
        with trio.move_on_after(PATIENCE) as patience, pytest.raises(StoreUnavailable):
            await call()
        took = stopwatch.seconds()
        assert not patience.cancelled_caught, f"{name} never ends"
        most = PROMISE if name in ("a feed", "the lease that is waited for") else seconds
        assert took < (2 * PROMISE if name in ("presence after an outage", *twice) else most), f"{name}: {took:.2f} s"

    async with trio.open_nursery() as nursery:
        for name, call in callers(client, room_id).items():
            nursery.start_soon(ends, name, call)


@asynccontextmanager
async def connected(gate: Gate) -> AsyncGenerator[NodeClient, None]:
    async with NodeClient(Address(gate.url)) as client:
        assert client.up
        yield client


async def test_never_connected(tmp_path: Path, room_id: str) -> None:
    async with NodeClient(Address(f"unix://{tmp_path}/nothing")) as client:
        await all_end(client, room_id, AT_ONCE)


async def test_connecting(gate: Gate, room_id: str) -> None:
    gate.hold()
    client = NodeClient(Address(gate.url))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.serve)
        await gate.held.wait()  # it has asked for the scripts
        await all_end(client, room_id, AT_ONCE)
        client.stop()
    gate.release()


async def test_connecting_anew(gate: Gate, room_id: str) -> None:
    """The connection is replaced before anything was asked of it, so that calls wait for the new one."""
    async with connected(gate) as client:
        gate.hold()
        gate.cut()
        await all_end(client, room_id, PROMISE)


async def test_answering_too_late(gate: Gate, room_id: str) -> None:
    async with connected(gate) as client:
        gate.hold()
        await all_end(client, room_id, PROMISE)


async def test_what_was_not_sent_is_not_said_to_be_in_doubt(gate: Gate) -> None:
    """Once a connection is given up, calls are refused before they are sent, and say so."""
    async with connected(gate) as client:
        gate.hold()
        with pytest.raises(StoreUnavailable, match="the request may have been carried out, or not"):
            await client.run(("PING",))
        assert not client.up
        with pytest.raises(StoreUnavailable) as refusal:
            await client.run(("PING",))
        assert refusal.value.message == StoreUnavailable().message


async def test_stopped_by_a_signal(valkey: RedisBackend, gate: Gate, room_id: str) -> None:
    async with connected(gate) as client:
        valkey.away()
        try:
            await all_end(client, room_id, PROMISE)
        finally:
            valkey.back()


async def test_half_an_answer(gate: Gate, room_id: str) -> None:
    async with connected(gate) as client:
        gate.hold(half=True)
        await all_end(client, room_id, PROMISE)


async def test_cut_off_in_an_answer(gate: Gate, room_id: str) -> None:
    async with connected(gate) as client, trio.open_nursery() as nursery:
        gate.hold(half=True)
        nursery.start_soon(all_end, client, room_id, PROMISE)
        await gate.held.wait()
        gate.cut()


async def test_stopping(gate: Gate, room_id: str) -> None:
    """What waits in a client that is stopped fails at once, also what was not even sent."""
    async with connected(gate) as client:
        gate.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(all_end, client, room_id, AT_ONCE)
            await gate.held.wait()
            await trio.testing.wait_all_tasks_blocked()
            client.stop()
        gate.release()


async def test_stopped(gate: Gate, room_id: str) -> None:
    async with connected(gate) as client:
        pass
    await all_end(client, room_id, AT_ONCE)


async def test_stopped_while_it_connects(gate: Gate, room_id: str) -> None:
    """A connection that comes about after the end is not believed to work."""
    gate.hold()
    client = NodeClient(Address(gate.url))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.serve)
        await gate.held.wait()
        client.stop()
        gate.release()
    assert not client.up
    await all_end(client, room_id, AT_ONCE)


class Defective(Address):
    """An address whose connections cannot even be made, for a reason that is none of Redis's."""

    def __init__(self, url: str, defect: BaseException) -> None:
        super().__init__(url)
        self._defect = defect

    def connection(self) -> Connection:
        raise self._defect


async def test_a_defect_at_connecting_leaves_nobody_waiting(
    room_id: str, valkey: RedisBackend, caplog: pytest.LogCaptureFixture
) -> None:
    async with NodeClient(Defective(valkey.url, ValueError())) as client:
        await all_end(client, room_id, AT_ONCE)
        assert not client.stopping
    assert "the client of the message store failed" in caplog.text


async def test_a_client_that_ends_by_itself_leaves_nobody_waiting(room_id: str, valkey: RedisBackend) -> None:
    client = NodeClient(Defective(valkey.url, KeyboardInterrupt()))
    with pytest.raises(BaseExceptionGroup) as ended:
        await client.serve()
    assert ended.value.split(KeyboardInterrupt)[1] is None
    await all_end(client, room_id, AT_ONCE)


async def test_a_client_whose_start_is_cancelled_ends_its_thread(gate: Gate) -> None:
    gate.hold()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with NodeClient(Address(gate.url)):
            pytest.fail("it was cancelled before it was entered")
    gate.release()  # `no_thread_is_left` sees to the rest


async def silent(subscriber: Subscriber, gate: Gate, valkey: RedisBackend) -> None:
    await gate.held.wait()


async def stopped(subscriber: Subscriber, gate: Gate, valkey: RedisBackend) -> None:
    valkey.away()


@pytest.mark.parametrize("state", [silent, stopped])
@pytest.mark.parametrize("half", [False, True])
async def test_a_subscriber_ends_in_every_state(
    state: Callable[[Subscriber, Gate, RedisBackend], Awaitable[None]],
    half: bool,
    valkey: RedisBackend,
    gate: Gate,
    room_id: str,
) -> None:
    keys, clock = Keys("evanesce:"), SharedClock()
    async with connected(gate) as client:
        log = RedisMessageLog(client, keys, clock, 60_000)
        homes = Homes(client, "evanesce:", clock, "one")
        feed = RoomFeed(room_id, 10, log, RedisPresence(client, keys, homes, nothing_left, replicated=False))
        gate.hold(half=half)
        async with Subscriber(Address(gate.url), keys, client) as subscriber:
            subscriber.add(keys.events(room_id), feed)
            await state(subscriber, gate, valkey)
            with within(PROMISE), pytest.raises(StoreUnavailable):
                await feed.start()
            stopwatch = Stopwatch()
        assert stopwatch.seconds() < 1 + AT_ONCE
        if state is stopped:
            valkey.back()
        gate.release()  # `no_thread_is_left` sees to its end


async def test_a_lease_is_renewed_while_messages_fill_the_queue(valkey: RedisBackend, gate: Gate, room_id: str) -> None:
    async with connected(gate) as client, trio.open_nursery() as nursery:
        keys, clock = Keys("evanesce:"), SharedClock()
        log, lease = RedisMessageLog(client, keys, clock, 60_000), Lease(client, keys, clock, "one")
        gate.hold()
        client.post(("PING",))
        await gate.held.wait()  # one round trip is under way, so that all else waits
        for _ in range(node_client.OUTSTANDING - 1):
            client.post(("PING",))
        with pytest.raises(StoreUnavailable, match="busy"):
            await log.append(room_id, [draft(room_id)])
        nursery.start_soon(lease.keep)
        await trio.testing.wait_all_tasks_blocked()
        gate.release()
        with within(PROMISE):
            await lease.known()
        waiting = len(client._outstanding)
        assert valkey.client.zscore(keys.leases, lease.holder) is not None
        nursery.cancel_scope.cancel()
    # Two commands take it and one renews it: each goes with the round trip that follows the one under way.
    assert waiting > node_client.OUTSTANDING * 3 / 4, f"only {waiting} messages still waited when the lease was renewed"


async def test_urgent_calls_are_bounded_too(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_client, "OUTSTANDING", 100)
    refused = 0

    async def ask() -> None:
        nonlocal refused
        try:
            await client.run(("PING",), urgent=True)
        except StoreUnavailable:
            refused += 1

    async with connected(gate) as client, trio.open_nursery() as nursery:
        gate.hold()
        for _ in range(node_client.OUTSTANDING):
            client.post(("PING",))
        for _ in range(node_client.RESERVED + 10):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert refused == 10
        gate.release()
    assert refused == 10
