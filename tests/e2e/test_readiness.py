"""`/readyz` while a part answers and does not do its work: what is said can not be heard, or not be kept."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

PATIENCE = 40.0  # for a loaded machine: alone each step takes 2 to 5 s

Change = tuple[Any, ...]

REDIS: dict[str, tuple[Change, Change]] = {
    "a replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "full": (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0)),
    "a right to write is missing": (("ACL", "SETUSER", "default", "-xadd"), ("ACL", "SETUSER", "default", "+xadd")),
    "a right to read is missing": (("ACL", "SETUSER", "default", "-mget"), ("ACL", "SETUSER", "default", "+mget")),
    "another prefix": (("ACL", "SETUSER", "default", "resetkeys", "~x:*"), ("ACL", "SETUSER", "default", "allkeys")),
    "no channels": (("ACL", "SETUSER", "default", "resetchannels"), ("ACL", "SETUSER", "default", "allchannels")),
    "no subscription by maxclients": (("CONFIG", "SET", "maxclients", 1), ("CONFIG", "SET", "maxclients", 10_000)),
    "no subscription by access": (
        ("ACL", "SETUSER", "default", "-ssubscribe", "-subscribe"),
        ("ACL", "SETUSER", "default", "+ssubscribe", "+subscribe"),
    ),
}


async def becomes(server: Server, status: int, **parts: str) -> None:
    """Wait until `/readyz` answers so, and says so of these parts."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await trio.to_thread.run_sync(server.ask, "GET", "/readyz")
            if answer[0] == status and parts.items() <= answer[1]["parts"].items():
                return
            await trio.sleep(0.1)  # nothing tells of it


async def metric(server: Server, name: str) -> float:
    _, text = await trio.to_thread.run_sync(server.ask, "GET", "/metrics")
    [line] = [line for line in text.decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def reaches(server: Server, name: str, wanted: Callable[[float], bool]) -> None:
    """Wait until a metric is as wanted."""
    with trio.fail_after(PATIENCE):
        while True:
            if wanted(await metric(server, name)):
                return
            await trio.sleep(0.1)  # nothing tells of it


@pytest.mark.parametrize("fault", REDIS)
async def test_a_redis_that_cannot_carry_a_message_is_down(serve: Callable[..., Server], fault: str) -> None:
    server = await trio.to_thread.run_sync(serve)
    begin, end = REDIS[fault]
    await becomes(server, 200, redis="up")
    with closing(server.redis()) as redis:
        redis.execute_command(*begin)
        if "no subscription" in fault:
            redis.client_kill_filter(_type="pubsub")
        await becomes(server, 503, redis="down", database="up")
        redis.execute_command(*end)
        await becomes(server, 200, redis="up")
        keys = list(redis.scan_iter(count=1_000))
    assert [key for key in keys if b"{servers}" not in key and b"check-" not in key] == []
    told = [line for line in server.errors.splitlines() if "redis is down" in line]
    assert 1 <= len(told) <= 3, told  # it may seem to be back for a moment, where parts of it are refused


async def test_the_members_of_a_server_without_its_subscription_are_told_and_served(
    serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    server = await trio.to_thread.run_sync(serve)
    ana = await ChatClient.open(server, nursery, "Ana")
    ben = await ChatClient.open(server, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    assert await metric(server, "evanesce_subscriber_up") == 1
    with closing(server.redis()) as redis:
        redis.config_set("maxclients", 1)
        redis.client_kill_filter(_type="pubsub")
        await ana.say(room_id, "is anybody there?")
        await until(lambda: any(event["type"] == "gap" for event in ben.record), PATIENCE)
        await ben.wait_for_event("message", content="is anybody there?")
        [gap] = [event for event in ben.record if event["type"] == "gap"]
        joined = await ben.join(room_id, gap["since"])
        assert joined["missed"] == 0
        await becomes(server, 503, redis="down")
        assert await metric(server, "evanesce_subscriber_up") == 0
        await ana.say(room_id, "still here")
        await ben.wait_for_event("message", content="still here")
        redis.config_set("maxclients", 10_000)
    await becomes(server, 200, redis="up")
    await ana.say(room_id, "back")
    await ben.wait_for_event("message", content="back")
    assert len(ben.contents()) == len(set(ben.contents())) == 3
    assert server.errors.count("does not arrive") == 1
    assert "accepts no more connections" in server.errors
    assert server.errors.count("arrives again") == 1


# The disk


class Disk:
    """Where a server has its database; `fill` leaves no room for more, `empty` makes room again."""

    def __init__(self, folder: Path, *, real: bool) -> None:
        self.folder = folder
        self._real = real

    @property
    def database(self) -> Path:
        return self.folder / "evanesce.db"

    def fill(self, server: Server) -> None:
        if not self._real:
            # No file of the server may grow past what the journal has now: what a full disk does to it.
            self._limit(server, (self.folder / "evanesce.db-wal").stat().st_size)
            return
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:  # there is no room for so much
                    continue

    def empty(self, server: Server) -> None:
        if self._real:
            (self.folder / "filler").unlink()
        else:
            self._limit(server, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(server: Server, size: int) -> None:
        assert server.process is not None
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def mounted(folder: Path) -> bool:
    """Mount a small file system; False where this machine does not let one."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture(params=["mounted", "limited"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Yield a small disk of its own, where one may be mounted; else, and once more, a limit that refuses alike."""
    folder = tmp_path / "disk"
    folder.mkdir()
    real = request.param == "mounted" and os.geteuid() == 0 and mounted(folder)
    yield Disk(folder, real=real)
    if real:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_database_on_a_full_disk_is_down_and_comes_back(
    serve: Callable[..., Server], nursery: trio.Nursery, disk: Disk
) -> None:
    server = await trio.to_thread.run_sync(serve, f"plugins.sqlite.path={disk.database}")
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await becomes(server, 200, database="up")
    disk.fill(server)
    await becomes(server, 200, redis="up", database="down")
    await ana.join(room_id)
    await ana.say(room_id, "people go on")
    await ana.wait_for_event("message", content="people go on")
    await reaches(server, "evanesce_records_waiting", lambda waiting: waiting > 0)
    disk.empty(server)
    await becomes(server, 200, redis="up", database="up")
    await reaches(server, "evanesce_records_waiting", lambda waiting: waiting == 0)
    with closing(sqlite3.connect(disk.database)) as database:
        assert database.execute('SELECT count(*) FROM "SessionLog"').fetchall() == [(1,)], "what waited was kept"
        assert database.execute('SELECT count(*) FROM "RevokedSignIn"').fetchall() == [(0,)]
    assert server.errors.count("database is down") == 1
    assert await metric(server, "evanesce_records_dropped_total") == 0
    await trio.to_thread.run_sync(server.stop)
