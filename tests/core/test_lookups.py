"""Lookups that are made together: each key gets its own answer, never an older one, whatever happens to the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import PersistenceUnavailable
from evanesce.lookups import PATIENCE_SECONDS, Lookups, SharedLookups

MOST = 4


class Database:
    """Answers with the value of each key at the end of a query; `asked` has the keys of each query."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.answer = trio.Event()
        self.error: Exception | None = None

    async def ask(self, keys: Sequence[str]) -> Sequence[int | None]:
        self.asked.append(list(keys))
        values = [self.values.get(key) for key in keys]
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return values

    def lookups(self) -> Lookups[str, int | None]:
        return Lookups(self.ask, MOST)


async def look_up(lookups: Lookups[str, int | None], key: str, found: dict[str, int | Exception | None]) -> None:
    try:
        found[key] = await lookups.get(key)
    except PersistenceUnavailable as error:
        found[key] = error


async def test_keys_wait_for_the_query_that_runs_and_are_then_looked_up_together() -> None:
    database = Database()
    database.values = {"a": 1, "b": 2, "c": 3}
    lookups = database.lookups()
    found: dict[str, int | Exception | None] = {}
    async with trio.open_nursery() as nursery:
        for key in ("a", "b", "c", "d"):
            nursery.start_soon(look_up, lookups, key, found)
        await wait_all_tasks_blocked()
        assert len(database.asked) == 1
        assert len(database.asked[0]) == 1
        database.answer.set()
    assert found == {"a": 1, "b": 2, "c": 3, "d": None}
    assert len(database.asked) == 2
    assert sorted(database.asked[0] + database.asked[1]) == ["a", "b", "c", "d"]


async def test_an_answer_is_never_older_than_its_question() -> None:
    """A sign-in that was revoked before a `hello` must not be found by the query of another one."""
    database = Database()
    database.values = {"a": 1}
    lookups = database.lookups()
    found: dict[str, int | Exception | None] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_up, lookups, "a", {})
        await wait_all_tasks_blocked()
        del database.values["a"]
        nursery.start_soon(look_up, lookups, "a", found)
        await wait_all_tasks_blocked()
        database.answer.set()
    assert found == {"a": None}
    assert database.asked == [["a"], ["a"]]


async def test_a_query_has_a_bounded_number_of_keys() -> None:
    database = Database()
    lookups = database.lookups()
    found: dict[str, int | Exception | None] = {}
    keys = [str(number) for number in range(2 * MOST + 2)]
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(look_up, lookups, key, found)
        await wait_all_tasks_blocked()
        database.answer.set()
    assert sorted(found) == sorted(keys)
    assert sorted(map(len, database.asked)) == [1, 1, MOST, MOST]


@pytest.mark.parametrize("asking", [True, False])
async def test_a_cancelled_caller_takes_nobody_with_it(asking: bool) -> None:
    """Not the one whose task asks for all, and not the one that waits to do so."""
    database = Database()
    database.values = {"a": 1, "b": 2}
    lookups = database.lookups()
    found: dict[str, int | Exception | None] = {}
    async with trio.open_nursery() as nursery:
        if not asking:
            nursery.start_soon(look_up, lookups, "before", found)
            await wait_all_tasks_blocked()
        caller = trio.CancelScope()
        nursery.start_soon(look_up_in, caller, lookups, "cancelled")
        await wait_all_tasks_blocked()
        for key in ("a", "b"):
            nursery.start_soon(look_up, lookups, key, found)
        await wait_all_tasks_blocked()
        caller.cancel()
        await wait_all_tasks_blocked()
        database.answer.set()
    assert {key: found[key] for key in ("a", "b")} == {"a": 1, "b": 2}
    assert await lookups.get("b") == 2


async def look_up_in(scope: trio.CancelScope, lookups: Lookups[str, int | None], key: str) -> None:
    with scope:
        await lookups.get(key)


async def test_an_error_reaches_all_who_were_looked_up_together() -> None:
    database = Database()
    database.error = PersistenceUnavailable()
    lookups = database.lookups()
    found: dict[str, int | Exception | None] = {}
    async with trio.open_nursery() as nursery:
        for key in ("a", "b", "c"):
            nursery.start_soon(look_up, lookups, key, found)
        await wait_all_tasks_blocked()
        database.answer.set()
    assert found == dict.fromkeys(("a", "b", "c"), database.error)
    database.error = None
    assert await lookups.get("a") is None


async def test_a_query_that_hangs_holds_up_no_others(autojump_clock: MockClock) -> None:
    database = Database()
    lookups = database.lookups()
    found: dict[str, int | Exception | None] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_up, lookups, "hangs", {})
        await wait_all_tasks_blocked()
        nursery.start_soon(look_up, lookups, "a", found)
        nursery.start_soon(look_up, lookups, "b", found)
        await trio.sleep(1.5 * PATIENCE_SECONDS)
        assert sorted(database.asked[1]) == ["a", "b"]
        database.answer.set()
    assert found == {"a": None, "b": None}


class Rooms(Database):
    """A database that is asked for one key at a time."""

    def shared(self) -> SharedLookups[str, int]:
        return SharedLookups(self.find)

    async def find(self, key: str) -> int | None:
        return (await self.ask([key]))[0]


async def share(lookups: SharedLookups[str, int], key: str, found: list[int | Exception | None]) -> None:
    try:
        found.append(await lookups.get(key))
    except PersistenceUnavailable as error:
        found.append(error)


@pytest.mark.parametrize(
    ("values", "error", "queries"),
    [({"a": 1}, None, ["a", "b"]), ({}, PersistenceUnavailable(), ["a", "b"]), ({}, None, ["a", "b", "a"])],
)
async def test_what_was_found_is_shared_by_all_who_ask_meanwhile(
    values: dict[str, int], error: Exception | None, queries: list[str]
) -> None:
    """An error too. That nothing was found only by those who had asked before."""
    database = Rooms()
    database.values, database.error = values, error
    lookups = database.shared()
    found: list[int | Exception | None] = []
    async with trio.open_nursery() as nursery:
        for key in ("a", "b", "a", "a"):
            nursery.start_soon(share, lookups, key, found)
            await wait_all_tasks_blocked()
        assert database.asked == [["a"], ["b"]]
        database.answer.set()
    assert [key for [key] in database.asked] == queries
    assert sorted(map(str, found)) == sorted(map(str, [error or values.get("a")] * 3 + [error or values.get("b")]))
    database.values, database.error = {"a": 2}, None
    assert await lookups.get("a") == 2


async def test_who_shares_a_lookup_is_answered_where_its_task_is_cancelled() -> None:
    database = Rooms()
    database.values = {"a": 1}
    lookups = database.shared()
    found: list[int | Exception | None] = []
    asker = trio.CancelScope()

    async def ask() -> None:
        with asker:
            await lookups.get("a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        nursery.start_soon(share, lookups, "a", found)
        await wait_all_tasks_blocked()
        asker.cancel()
        await wait_all_tasks_blocked()
        database.answer.set()
    assert found == [1]
    assert asker.cancelled_caught


@pytest.mark.parametrize("values", [{"a": 1}, {}], ids=["found", "nothing"])
@pytest.mark.parametrize("cancelled", [0, 1, 5])
async def test_nobody_asks_alone_where_a_query_brought_nothing(values: dict[str, int], cancelled: int) -> None:
    """Whether nothing was found, or the task that ran it was cancelled: the others share the next query."""
    database = Rooms()
    database.values = values
    scopes: dict[trio.lowlevel.Task, trio.CancelScope] = {}
    running: list[trio.lowlevel.Task] = []

    async def find(key: str) -> int | None:
        running.append(trio.lowlevel.current_task())
        return await database.find(key)

    lookups = SharedLookups(find)
    found: list[int | Exception | None] = []

    async def ask() -> None:
        with trio.CancelScope() as scope:
            scopes[trio.lowlevel.current_task()] = scope
            await share(lookups, "a", found)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        for query in range(cancelled):
            assert len(running) == query + 1
            scopes[running[query]].cancel()
            await wait_all_tasks_blocked()
        database.answer.set()
    assert found == [values.get("a")] * (50 - cancelled)
    # Who asked before the query that was answered began shares that, even that nothing was found.
    assert len(running) == cancelled + (1 if values or cancelled else 2)


async def test_that_nothing_was_found_is_not_shared_by_who_asked_after_the_query_began() -> None:
    database = Rooms()
    lookups = database.shared()
    found: list[int | Exception | None] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(share, lookups, "a", found)
        await wait_all_tasks_blocked()
        database.values = {"a": 1}  # it exists from now on
        for _ in range(10):
            nursery.start_soon(share, lookups, "a", found)
        await wait_all_tasks_blocked()
        database.answer.set()
    assert found == [None] + [1] * 10
    assert database.asked == [["a"]] * 2
