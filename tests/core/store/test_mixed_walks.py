"""The walk along an index whose messages end in any order: each is accessed soon after its end, and none is forgotten.

The store is a model in memory, and time is simulated: whole hours take milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evanesce.store.lag import ExpiryLag
from evanesce.store.redis import eraser, plan, walk
from evanesce.store.redis.eraser import Eraser
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.schedule import HORIZON
from evanesce.store.redis.scripts import DROP_INDEX

NOW = 1_790_000_000_000
ROOM = "room"
DEFAULT = 60_000
DAY = 86_400_000
LATEST = 250
"""How long after its end a message may still be there, in milliseconds."""

State = tuple[list[tuple[int, int, list[bytes]]], dict[str, int], dict[str, float]]
"""The index, the ends of messages, and the register."""


@dataclass
class Model:
    """A Redis with one room, its clock, and the register of one server."""

    now_: int = NOW
    index: list[tuple[int, int, list[bytes]]] = field(default_factory=list[tuple[int, int, list[bytes]]])
    ends: dict[str, int] = field(default_factory=dict[str, int])
    gone: dict[str, int] = field(default_factory=dict[str, int])
    register: dict[str, float] = field(default_factory=dict[str, float])
    number: int = 0
    read: int = 0
    removed: int = 0
    up: bool = True
    took_over: int = 0

    # As a clock

    def now(self) -> int:
        return self.now_

    def on_step_back(self, stepped: Callable[[Any], None]) -> None:
        """Do nothing: this clock is never set."""

    # As a client

    def on_connect(self, connected: Callable[[], None]) -> None:
        """Do nothing: it is always there."""

    async def run(self, *commands: Sequence[Any], urgent: bool = False) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [self._run(command) for command in commands]

    def post(self, *commands: Sequence[Any]) -> None:
        for command in commands:
            self._run(command)

    def _run(self, command: Sequence[Any]) -> Any:
        match command:
            case ("EXISTS", *keys):
                return sum(self._access(key) for key in keys)
            case ("PTTL", key):
                return self.ends[key] - self.now_ if self._access(key) else -2
            case ("XRANGE", _, start, "+", "COUNT", count):
                after = tuple(map(int, start.removeprefix("(").split("-")))
                found = [each for each in self.index if each[:2] > after][:count]
                self.read += len(found)
                return [(b"%d-%d" % each[:2], each[2]) for each in found]
            case ("EVALSHA", DROP_INDEX.digest, 1, _, last):
                if self.index and b"%d-%d" % self.index[-1][:2] != last.encode():
                    return b"%d-%d" % self.index[-1][:2]
                self.index.clear()
                return None
            case ("XTRIM", _, "MINID", "~", first):
                least = tuple(map(int, first.split("-")))
                self.index = [each for each in self.index if each[:2] >= least]
                return 0
            case ("XDEL", _, *entries):
                assert b"%d-%d" % self.index[-1][:2] not in entries, "the last entry stays"
                self.removed += 1
                removed = set(entries)
                for each in self.index:
                    if b"%d-%d" % each[:2] in removed:
                        assert self._key(each) not in self.ends, "its message is gone"
                self.index = [each for each in self.index if b"%d-%d" % each[:2] not in removed]
                return 0
            case ("ZADD", _, "inf", _) | ("PEXPIRE", *_):
                pass  # the register itself
            case ("ZADD", _, "LT", *pairs):
                for at, key in zip(pairs[::2], pairs[1::2], strict=True):
                    self.register[key] = min(at, self.register.get(key, math.inf))
            case ("ZADD", _, at, key):
                self.register[key] = at
            case ("ZREM", _, *keys):
                for key in keys:
                    self.register.pop(key, None)
            case _:
                raise AssertionError(command)
        return 1

    def _access(self, key: str) -> bool:
        if key not in self.ends:
            return False
        if self.ends[key] > self.now_:
            return True
        self.gone[key] = self.now_ - max(self.ends.pop(key), self.took_over)
        return False

    # As another server

    def remove_ended(self) -> None:
        """Erase all messages that have ended, and remove their entries, but for the last one."""
        for each in self.index[:-1]:
            if not self._access(self._key(each)):
                self.index.remove(each)

    # As a replica that takes over

    def state(self) -> State:
        return self.index.copy(), self.ends.copy(), self.register.copy()

    # As a room

    def store(self, ttl: int) -> None:
        self.number += 1
        message_id = f"id-{self.number}"
        fields = [b"m", message_id.encode(), b"c", b"1", b"until", b"%d" % (self.now_ + ttl)]
        self.index.append((self.now_, self.number, fields))
        self.ends[self._key(self.index[-1])] = self.now_ + ttl

    def _key(self, entry: tuple[int, int, list[bytes]]) -> str:
        return f"evanesce:{{{ROOM}}}:message:{entry[2][1].decode()}"


class Server:
    """An eraser on the model, which does what is due as time goes on."""

    def __init__(self, model: Model) -> None:
        lease: Any = SimpleNamespace(holder="one.0", on_change=lambda changed: None)
        home: Any = SimpleNamespace(keys=Keys("evanesce"), lease=lease, clock=model)
        client: Any = model
        self.model = model
        self.lag = ExpiryLag()
        self.eraser = Eraser(client, home, DEFAULT, DAY, self.lag)
        self.plan = self.eraser._plan
        self.index = f"evanesce:{{{ROOM}}}:index"

    def send(self, *ttls: int) -> None:
        self.eraser.note([(self.index, min(ttls))])
        for ttl in ttls:
            self.model.store(ttl)

    async def connect(self, state: State | None = None) -> None:
        """Connect again: to a replica that took over with an earlier state, or to the same Redis."""
        if state is not None:
            index, ends, register = state
            self.model.index, self.model.ends, self.model.register = index.copy(), ends.copy(), register.copy()
            self.model.took_over = self.model.now_
        self.eraser._connected()
        await self.eraser._write_register()
        await self.eraser._confirm_later()

    async def go_on(self, until: int) -> None:
        """Let time pass, and access what is due."""
        model, schedule = self.model, self.plan.schedule
        while True:
            self._load()
            look = schedule.next_look()
            reload = schedule.horizon - HORIZON // 2 if model.register else math.inf
            if min(look if look is not None else math.inf, reload) > until:
                model.now_ = max(model.now_, until)
                return
            model.now_ = max(model.now_ + 1, round(min(look if look is not None else math.inf, reload)))
            if batch := list(schedule.pop(model.now_, 256)):
                assert await self.eraser._erase(batch)

    def _load(self) -> None:
        """Load what is due soon from the register, as the eraser does."""
        now, schedule = self.model.now_, self.plan.schedule
        if schedule.horizon < now + HORIZON // 2:
            after, schedule.horizon = schedule.horizon, now + HORIZON
            for key, at in sorted(self.model.register.items(), key=lambda each: each[1]):
                if after < at <= now + HORIZON and not schedule.is_held_until(key, round(at)):
                    self.plan.add(key, round(at), now)


TTLS = st.sampled_from([300, 1_000, 2_500, 60_000, 61_000, 200_000, 3_600_000, DAY])
SENT = st.lists(
    st.tuples(st.integers(0, 100_000), st.booleans(), st.lists(TTLS, min_size=1, max_size=12)), min_size=1, max_size=25
)


@pytest.mark.parametrize("few", [False, True], ids=["as configured", "few at once"])
@given(sent=SENT)
@example(sent=[(0, False, [200_000, *([300] * 25)]), (0, True, [300, 3_600_000, 300])])  # the last is early
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_message_is_accessed_at_its_end(
    monkeypatch: pytest.MonkeyPatch, few: bool, sent: Sequence[tuple[int, bool, Sequence[int]]]
) -> None:
    """Other servers send to the room as well: what they send this one may find late, as they erase it."""
    if few:
        monkeypatch.setattr(walk, "SCOUT_ENTRIES", 3)
        monkeypatch.setattr(eraser, "ENTRIES", 4)
        monkeypatch.setattr(plan, "REMOVED", 1)
    model, others = Model(), set[str]()

    async def run() -> None:
        server = Server(model)
        for pause, own, ttls in sent:
            await server.go_on(model.now_ + pause)
            if own:
                server.send(*ttls)
            else:
                model.remove_ended()
                before = set(model.ends)
                for ttl in ttls:
                    model.store(ttl)
                others.update(set(model.ends) - before)
        for _ in range(30):
            await server.go_on(model.now_ + DAY // 20)
        own_left = [key for key in model.ends if key not in others]
        assert not own_left, "forgotten"

    trio.run(run)
    late = {key: lag for key, lag in model.gone.items() if key not in others and lag > LATEST}
    assert not late


@pytest.mark.parametrize("own", [True, False], ids=["own", "of a dead server"])
@pytest.mark.parametrize(
    "ttls",
    [
        [DAY, *([1_000] * 5_000), DAY],
        [*range(5_000, 1_000, -1)],
        [*range(1_000, 5_000)],
        [DAY - 10 * number for number in range(5_000)] + [1_000] * 10,
    ],
    ids=["long, short, long", "falling", "rising", "many long, then short"],
)
def test_a_long_index_in_any_order(ttls: Sequence[int], own: bool) -> None:
    model = Model()

    async def run() -> None:
        server = Server(model)
        for start in range(0, len(ttls), 100):
            if own:
                server.send(*ttls[start : start + 100])
            else:
                for ttl in ttls[start : start + 100]:
                    model.store(ttl)
            await server.go_on(model.now_ + 5)
        if not own:
            await server.plan.inherit([(server.index, NOW)], NOW, model.now_)
        await server.go_on(model.now_ + 10_000)
        assert len(model.gone) == sum(ttl < 9_000 for ttl in ttls)
        assert max(model.gone.values()) <= LATEST
        assert len(server.plan._walks) <= 1
        if any(ttl > 9_000 for ttl in ttls):
            assert sum(map(len, server.plan._walks.values())) <= 2 * walk.SCOUT_ENTRIES, "only so many are held"
        assert model.read <= 3 * len(ttls) + 5_000, "the index is not read again and again"

    trio.run(run)


@pytest.mark.parametrize("crowd", [1, 20], ids=["one by one", "many at once"])
def test_the_index_stays_short_behind_a_message_that_lives_long(crowd: int) -> None:
    model = Model()

    async def run() -> None:
        server = Server(model)
        server.send(DAY)
        for _ in range(8_000 // crowd):
            server.send(*([1_000] * crowd))
            await server.go_on(model.now_ + 200 * crowd)
            assert len(model.index) <= 1 + plan.REMOVED + 2 * max(crowd, 10)
        assert model.removed <= 8_000 // plan.REMOVED, "not one command for each"
        assert not server.plan._early.keys() - model.ends.keys() - {server.model._key(model.index[-1])}
        for _ in range(30):
            await server.go_on(model.now_ + DAY // 20)
        assert (model.index, model.ends, server.plan._early, server.plan._ended) == ([], {}, {}, {})

    trio.run(run)
    assert max(model.gone.values()) <= LATEST


@pytest.mark.parametrize("pause", [0, 200], ids=["together", "one by one"])
def test_early_messages_end_while_their_room_is_quiet(pause: int) -> None:
    """The walk is forgotten by then."""
    model = Model()

    async def run() -> None:
        server = Server(model)
        server.send(DAY)
        for _ in range(2_000):
            server.send(600_000)
            await server.go_on(model.now_ + pause)
        last = model.now_ + 600_000
        await server.go_on(last - 300_000)
        assert not server.plan._walks
        assert len(model.ends) > 400
        await server.go_on(last + 10_000)
        assert list(model.ends.values()) == [NOW + DAY]
        assert len(model.index) <= 2 + plan.REMOVED
        await server.go_on(NOW + DAY + DEFAULT)
        assert (model.index, server.plan._ended) == ([], {})

    trio.run(run)


def test_a_walk_goes_on_behind_an_entry_that_another_server_has_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk scouted up to this entry, and is not to take the next one for known when it gets there."""
    monkeypatch.setattr(walk, "SCOUT_ENTRIES", 3)
    model = Model()

    async def run() -> None:
        server = Server(model)
        server.send(*([60_000] * 4), 300)
        await server.go_on(model.now_ + 100)
        server.send(300)
        await server.go_on(model.now_ + 400)
        model.store(DAY)
        model.remove_ended()
        await server.go_on(NOW + 59_000)
        server.send(DAY, 5_000)
        await server.go_on(NOW + 70_000)
        assert list(model.ends.values()) == [NOW + 500 + DAY, NOW + 59_000 + DAY]

    trio.run(run)
    assert max(model.gone.values()) <= LATEST


def test_entries_of_many_rooms_do_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "ROOMS", 0)
    model = Model()

    async def run() -> None:
        server = Server(model)
        server.send(DAY, *([1_000] * 20))
        await server.go_on(model.now_ + 2_000)
        assert (len(model.index), server.plan._ended) == (2, {})

    trio.run(run)


def test_too_many_early_messages_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "EARLY", 500)
    model = Model()

    async def run() -> None:
        server = Server(model)
        server.send(DAY, *([30_000] * 3_000))
        await server.go_on(NOW + 30_000 - 50)
        assert len(server.plan._early) == 500
        await server.go_on(NOW + 40_000)
        assert list(model.ends.values()) == [NOW + DAY]
        assert not server.plan._early

    trio.run(run)


def test_a_plain_room_is_read_once() -> None:
    """Where all messages have the same TTL, each entry is read once, and nothing is planned by itself."""
    model = Model()

    async def run() -> None:
        server = Server(model)
        for _ in range(3_000):
            server.send(DEFAULT, DEFAULT)
            await server.go_on(model.now_ + 100)
        assert set(model.register) == {server.index}
        await server.go_on(model.now_ + 2 * DEFAULT)
        assert not model.ends
        assert not model.index
        assert not model.register

    trio.run(run)
    assert max(model.gone.values()) <= LATEST
    assert (model.read, model.removed) == (6_000, 0)


def test_a_short_message_every_minute_in_a_long_room_does_not_read_it_all() -> None:
    model = Model()

    async def run() -> None:
        server = Server(model)
        for _ in range(20):
            server.send(*([DAY] * 100))
        server.send(1_000)
        await server.go_on(model.now_ + 2_000)
        before = model.read
        for _ in range(100):
            server.send(1_000)
            await server.go_on(model.now_ + 30_000)
        assert model.read - before <= 200
        assert len(model.gone) == 101

    trio.run(run)


# Failovers


@pytest.mark.parametrize("few", [False, True], ids=["as configured", "few at once"])
@given(
    sent=st.lists(
        st.tuples(
            st.integers(0, 100_000),
            st.booleans(),
            st.lists(TTLS, min_size=1, max_size=12),
            st.none() | st.integers(0, 3_000),
        ),
        min_size=1,
        max_size=25,
    )
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_lagging_replica_still_has_is_accessed_when_it_takes_over(
    monkeypatch: pytest.MonkeyPatch, few: bool, sent: Sequence[tuple[int, bool, Sequence[int], int | None]]
) -> None:
    """A room of two servers, one of them of the test. Now and then a replica takes over that lags behind."""
    if few:
        monkeypatch.setattr(walk, "SCOUT_ENTRIES", 3)
        monkeypatch.setattr(eraser, "ENTRIES", 4)
        monkeypatch.setattr(plan, "REMOVED", 1)
    model, others = Model(), set[str]()
    late = dict[str, int]()

    async def run() -> None:
        server = Server(model)
        for pause, own, ttls, lag in sent:
            await server.go_on(model.now_ + pause)
            if own:
                server.send(*ttls)
            else:
                model.remove_ended()
                before = set(model.ends)
                for ttl in ttls:
                    model.store(ttl)
                others.update(set(model.ends) - before)
            if lag is not None:
                state = model.state()
                await server.go_on(model.now_ + lag)
                late.update(model.gone)
                await server.connect(state)
        for _ in range(30):
            await server.go_on(model.now_ + DAY // 20)
        own_left = [key for key in model.ends if key not in others]
        assert not own_left, "forgotten"

    trio.run(run)
    late.update(model.gone)
    assert not {key: lag for key, lag in late.items() if key not in others and lag > LATEST}


@pytest.mark.parametrize(
    "ttls",
    [[DEFAULT], [1_000], [DAY, *([1_000] * 5)], [3_000, 2_000, 1_000]],
    ids=["plain", "short", "mixed", "falling"],
)
def test_what_is_read_again_after_a_new_connection_does_not_count_again(ttls: Sequence[int]) -> None:
    model = Model()

    async def run() -> None:
        server = Server(model)
        for _ in range(20):
            server.send(*ttls)
            await server.go_on(model.now_ + 3_500)
            await server.connect()
        await server.go_on(model.now_ + 2 * DEFAULT)
        buckets, _ = server.lag.histogram()
        short = sum(ttl < DAY for ttl in ttls) * 20
        assert buckets[-1][1] == short
        assert dict(buckets)[0.25] == short, "none was late"

    trio.run(run)


def test_a_new_connection_reads_little_of_a_plain_room() -> None:
    """Where none was early, only what has ended is read again, and what comes next."""
    model = Model()

    async def run() -> None:
        server = Server(model)
        for _ in range(200):
            server.send(*([DEFAULT] * 100))
            await server.go_on(model.now_ + 400)
        before = model.read
        await server.connect()
        await server.go_on(model.now_ + 100)
        assert model.read - before <= 2 * eraser.ENTRIES

    trio.run(run)
