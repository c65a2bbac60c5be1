"""Several processes on one file: racing for the same rows, and killed while they write."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from evanesce.testing.contracts.rows import a_room, a_user
from tests.patience import PATIENCE
from tests.plugins.conftest import sqlite_repository

PREAMBLE = """
import sys, uuid
from functools import partial
from pathlib import Path
import trio
from evanesce.model import ChatRoom, SessionStarted, User, timestamp
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sqlite.driver import connect

path, now = Path(sys.argv[1]), timestamp(1_795_000_000_000)
repository = SqlRepository(partial(connect, path, "plugins.sqlite.path"), "plugins.sqlite.path")

def a_user(world_id):
    name = "Ada"
    return User(user_id=str(uuid.uuid4()), world_id=world_id, display_name=name, created_at=now, last_active=now)

def a_room(user_id):
    return ChatRoom(room_id=str(uuid.uuid4()), created_by=user_id, created_at=now, deep_link="")
"""

RACE = (
    PREAMBLE
    + """
async def main():
    async with repository:
        accounts = [await repository.sign_in(a_user(f"human-{index}")) for index in range(20)]
        user_id = accounts[0][0].user_id
        rooms = [await repository.create_room(a_room(user_id), 10) for _ in range(10)]
        print(*(user.user_id for user, _ in accounts), sum(new for _, new in accounts), sum(rooms))

trio.run(main)
"""
)

WRITE = (
    PREAMBLE
    + """
async def main():
    async with repository:
        user, _ = await repository.sign_in(a_user("writer"))
        async def write():
            while True:
                room = a_room(user.user_id)
                assert await repository.create_room(room, 1_000_000)
                ids = [str(uuid.uuid4()) for _ in range(20)]
                people = {"user_id": user.user_id, "room_id": room.room_id, "join_time": now, "server": "one"}
                await repository.record([SessionStarted(session_id=id, **people) for id in ids])
                print(room.room_id, *ids, flush=True)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(write)

trio.run(main)
"""
)


async def test_processes_that_begin_at_once_on_a_new_file_make_each_account_once(tmp_path: Path) -> None:
    path = tmp_path / "evanesce.db"
    outputs: list[list[str]] = []

    async def race() -> None:
        command = [sys.executable, "-W", "error", "-c", RACE, str(path)]
        done = await trio.run_process(command, capture_stdout=True)
        outputs.append(done.stdout.decode().split())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(race)
    assert len({tuple(output[:20]) for output in outputs}) == 1
    assert sum(int(output[20]) for output in outputs) == 20
    assert sum(int(output[21]) for output in outputs) == 10


async def test_two_repositories_in_one_process_share_a_file(tmp_path: Path) -> None:
    one, two = sqlite_repository(tmp_path), sqlite_repository(tmp_path)
    async with one, two:
        user, new = await one.sign_in(a_user("one-human"))
        assert new
        assert (await two.sign_in(a_user("one-human")))[1] is False
        created: list[bool] = []

        async def create(index: int) -> None:
            created.append(await (one, two)[index % 2].create_room(a_room(user), 7))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for index in range(40):
                    nursery.start_soon(create, index)
        assert sum(created) == 7
        assert await one.rooms(user.user_id, None, 100) == await two.rooms(user.user_id, None, 100)


async def test_a_process_killed_while_it_writes_leaves_every_row_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "evanesce.db"
    acknowledged: list[str] = []
    for _ in range(3):
        received = b""
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                command = [sys.executable, "-W", "error", "-c", WRITE, str(path)]
                process = await nursery.start(
                    partial(trio.run_process, command, stdin=None, stdout=subprocess.PIPE, check=False)
                )
                async for chunk in process.stdout:
                    received += chunk
                    if received.count(b"\n") >= 40:
                        process.send_signal(signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
        acknowledged += received.decode().rpartition("\n")[0].split("\n")
        await trio.to_thread.run_sync(partial(check, path, acknowledged))
    repository = sqlite_repository(tmp_path)
    async with repository:
        assert (await repository.sign_in(a_user("writer")))[1] is False


def check(path: Path, acknowledged: list[str]) -> None:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        rooms = {row[0] for row in database.execute('SELECT roomId FROM "ChatRoom"')}
        logs = {row[0]: row[1] for row in database.execute('SELECT sessionId, roomId FROM "SessionLog"')}
    for line in acknowledged:
        room_id, *session_ids = line.split()
        assert room_id in rooms
        assert [logs[session_id] for session_id in session_ids] == [room_id] * 20
    assert len(logs) % 20 == 0
