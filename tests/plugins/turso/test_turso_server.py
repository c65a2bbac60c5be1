"""A real libSQL server that is shared, killed and frozen while it is written to. `-s` shows the figures."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from evanesce.errors import PersistenceUnavailable
from evanesce.interfaces import Repository
from evanesce.metrics import Metrics
from evanesce.model import ChatRoom, Record, SessionStarted, User
from evanesce.testing.contracts.rows import a_room, a_session, a_user
from evanesce.writebehind import WriteBehind
from evanesce_plugins.sql.driver import PATIENCE
from tests.patience import Stopwatch
from tests.plugins.conftest import turso_repository
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

BATCH = 20
SCHEMES = ["http", "ws"]

RACE = """
import sys, trio
from evanesce.errors import PersistenceUnavailable
from tests.plugins.conftest import turso_repository
from evanesce.testing.contracts.rows import a_room, a_session, a_user

async def surely(write, *arguments):
    # As people and the write-behind queue do: sqld lets a writer wait for seconds now and then.
    while True:
        try:
            return await write(*arguments)
        except PersistenceUnavailable:
            pass

async def main():
    url, token, name = sys.argv[1:]
    repository = turso_repository(url, token)
    async with repository:
        accounts = [await surely(repository.sign_in, a_user(f"human-{index}")) for index in range(20)]
        user = accounts[0][0]
        rooms = [await surely(repository.create_room, a_room(user), 10) for _ in range(10)]
        room = (await repository.rooms(user.user_id, None, 1))[0][0]
        for _ in range(30):
            await surely(repository.record, [a_session(user, room, server=name) for _ in range(100)])
        print(*(user.user_id for user, _ in accounts), sum(new for _, new in accounts), sum(rooms))

trio.run(main)
"""


class Writing:
    """Writes through a repository without a pause, and remembers what it was told is written."""

    def __init__(self, repository: Repository, user: User, room: ChatRoom) -> None:
        self.repository = repository
        self.user = user
        self.room = room
        self.rooms: list[str] = []
        self.sessions: list[str] = []
        self.refused = 0
        self.longest = 0.0

    async def _bounded(self, seconds: float, write: Callable[[], Awaitable[object]]) -> bool:
        stopwatch = Stopwatch()
        try:
            await write()
        except PersistenceUnavailable:
            self.refused += 1
            return False
        finally:
            self.longest = max(self.longest, stopwatch.seconds() / seconds)
        return True

    async def write_sessions(self) -> None:
        while True:
            batch = [a_session(self.user, self.room) for _ in range(BATCH)]
            # As the write-behind queue does: the same rows again, until they are acknowledged.
            while not await self._bounded(5.0, partial(self.repository.record, batch)):
                pass
            self.sessions += [session.session_id for session in batch]

    async def open_rooms(self) -> None:
        while True:
            room = a_room(self.user)
            if await self._bounded(PATIENCE, partial(self.repository.create_room, room, 1_000_000)):
                self.rooms.append(room.room_id)

    def check(self, sqld: Sqld) -> None:
        """Every acknowledged row is there, no batch is half written, and every call kept to its time."""
        assert self.longest < 1.2, "no call takes longer than it may"
        stored = [row[0] for row in sqld.rows('SELECT sessionId FROM "SessionLog"')]
        assert set(self.sessions) <= set(stored)
        assert len(stored) == len(set(stored))
        assert len(stored) % BATCH == 0
        assert len(stored) - len(self.sessions) in (0, BATCH), "the last one may have been cut off"
        opened = [row[0] for row in sqld.rows('SELECT roomId FROM "ChatRoom"')]
        assert {*self.rooms, self.room.room_id} <= set(opened)
        assert len(opened) == len(set(opened))
        assert sqld.rows("PRAGMA integrity_check") == [("ok",)]
        assert sqld.rows("PRAGMA foreign_key_check") == []


@asynccontextmanager
async def writing(sqld: Sqld, scheme: str) -> AsyncIterator[Writing]:
    """Write while the context lasts, and check afterwards."""
    repository = turso_repository(sqld.url(scheme), sqld.token())
    async with repository:
        user = a_user()
        room = a_room(user)
        await repository.sign_in(user)
        await repository.create_room(room, 10)
        work = Writing(repository, user, room)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work.write_sessions)
            nursery.start_soon(work.open_rooms)
            yield work
            nursery.cancel_scope.cancel()
    work.check(sqld)


async def more(work: Writing, sessions: int = 200, rooms: int = 10) -> None:
    """Wait until more was acknowledged than is now."""
    wanted = len(work.sessions) + sessions, len(work.rooms) + rooms
    with trio.fail_after(60):
        while len(work.sessions) < wanted[0] or len(work.rooms) < wanted[1]:  # noqa: ASYNC110 - it tells nobody
            await trio.sleep(0.005)


async def test_servers_that_begin_at_once_on_a_new_database_make_each_account_once(sqld: Sqld) -> None:
    outputs: list[list[str]] = []

    async def race(name: str, scheme: str) -> None:
        command = [sys.executable, "-W", "error", "-c", RACE, sqld.url(scheme), sqld.token(), name]
        done = await trio.run_process(command, capture_stdout=True)
        outputs.append(done.stdout.decode().split())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for name, scheme in (("one", "http"), ("two", "ws")):
                nursery.start_soon(race, name, scheme)
    assert len({tuple(output[:20]) for output in outputs}) == 1
    assert sum(int(output[20]) for output in outputs) <= 20, "fewer where an answer was lost, and asked for again"
    assert sqld.rows('SELECT count(*) FROM "User"') == [(20,)]
    assert sum(int(output[21]) for output in outputs) == 10
    logs = sqld.rows('SELECT server, count(*) FROM "SessionLog" GROUP BY server ORDER BY server')
    assert logs == [("one", 3000), ("two", 3000)]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_server_killed_in_the_middle_of_writes_loses_no_row_that_it_acknowledged(
    sqld: Sqld, scheme: str
) -> None:
    async with writing(sqld, scheme) as work:
        for pause in (0.0, 0.2, 2.0):  # the last is longer than any call tries again
            await more(work)
            sqld.kill()
            await trio.sleep(pause)
            await trio.to_thread.run_sync(sqld.start)
        await more(work)
    assert work.refused, "the long one was noticed"


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_server_frozen_for_10_s_hangs_nobody_and_loses_nothing(sqld: Sqld, scheme: str) -> None:
    async with writing(sqld, scheme) as work:
        await more(work)
        sqld.freeze()
        try:
            await trio.sleep(10)
        finally:
            sqld.thaw()
        assert work.refused >= 3
        await more(work)
    print(
        f"\n{scheme}, frozen for 10 s: {work.refused} calls refused, the longest after {work.longest:.2f} of its time"
    )


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_ten_thousand_sessions_through_the_queue_beside_single_inserts(sqld: Sqld, scheme: str) -> None:
    repository = turso_repository(sqld.url(scheme), sqld.token())
    async with repository:
        user = a_user()
        room = a_room(user)
        await repository.sign_in(user)
        await repository.create_room(room, 10)
        singles = [a_session(user, room) for _ in range(500)]
        began = time.perf_counter()
        for session in singles:
            await repository.record([session])
        single = len(singles) / (time.perf_counter() - began)

        metrics = Metrics()
        queue = WriteBehind(repository, metrics)
        sessions: list[Record] = [a_session(user, room) for _ in range(10_000)]
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run)
            for session in sessions:
                queue.record(session)
            with trio.fail_after(60):
                while queue.waiting:  # noqa: ASYNC110 - it tells nobody
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        queued = len(sessions) / (time.perf_counter() - began)
    beside = f"{single:,.0f} in single inserts: {queued / single:.0f} times"
    print(f"\n{scheme}: {queued:,.0f} rows/s through the queue, {beside}")
    assert queued >= 10 * single
    stored = {row[0] for row in sqld.rows('SELECT sessionId FROM "SessionLog"')}
    assert stored == {session.session_id for session in (*singles, *sessions) if isinstance(session, SessionStarted)}
    assert "evanesce_records_dropped_total 0.0" in metrics.text()


async def test_the_queue_survives_an_outage_without_losing_a_row(sqld: Sqld) -> None:
    repository = turso_repository(sqld.url(), sqld.token())
    async with repository:
        user = a_user()
        room = a_room(user)
        await repository.sign_in(user)
        await repository.create_room(room, 10)
        queue = WriteBehind(repository, Metrics())
        sessions = [a_session(user, room) for _ in range(3_000)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run)
            for number, session in enumerate(sessions):
                queue.record(session)
                if number == 1_000:
                    sqld.kill()
                if number % 10 == 0:
                    await trio.sleep(0.001)
            await trio.sleep(2)
            assert queue.waiting >= 1_500
            await trio.to_thread.run_sync(sqld.start)
            with trio.fail_after(60):
                while queue.waiting:  # noqa: ASYNC110 - it tells nobody
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    stored = {row[0] for row in sqld.rows('SELECT sessionId FROM "SessionLog"')}
    assert stored == {session.session_id for session in sessions}
