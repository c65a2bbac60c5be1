"""The store on a primary that sentinels watch, and that is lost."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import trio
import trustme

from evanesce.config.model import RedisTable
from evanesce.errors import ConfigurationError
from evanesce.store.events import HistoryLost
from evanesce.store.health import Severity
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.sentinel import SentinelAddress
from tests.core.store.backends import Record, RedisBackend, appended, eventually, of_kind
from tests.core.store.replicated import REPLICATED
from tests.core.store.tls import behind_tls, certified
from tests.ports import free_port
from tests.redis_versions import server_binary

pytestmark = pytest.mark.slow

SERVED_AGAIN = 60.0
"""How long the sentinels may take to put the replica in the primary's place, in seconds."""


class Watched:
    """A primary, its replica and three sentinels. With `own`, sentinels and Redis have a password each.

    A primary counts as lost after `down_after` milliseconds without an answer.
    """

    def __init__(self, folder: Path, *, own: bool = False, binary: Path | None = None, down_after: int = 5_000) -> None:
        self._folder = folder
        self._binary = binary or server_binary()
        self._down_after = down_after
        self._secrets = ("of redis", "of sentinels") if own else (None, None)
        self.ports = [free_port() for _ in range(2)]
        self.sentinels = [free_port() for _ in range(3)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        secret = self._secrets[0]
        for port in self.ports:
            options = ["--port", str(port), *REPLICATED]
            if port != self.ports[0]:
                options += ["--replicaof", f"127.0.0.1 {self.ports[0]}"]
            if secret is not None:
                options += ["--requirepass", secret, "--masterauth", secret]
            self._start(port, options)
        for port in self.sentinels:
            self._watch(port, self.ports[0])

    def _watch(self, port: int, primary: int) -> None:
        """Start a sentinel."""
        of_redis, own = self._secrets
        lines = [
            f"port {port}",
            f"sentinel monitor chat 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds chat {self._down_after}",
            "sentinel failover-timeout chat 5000",
            *([f'sentinel auth-pass chat "{of_redis}"'] if of_redis else []),
            *([f'requirepass "{own}"', f'sentinel sentinel-pass "{own}"'] if own else []),
        ]
        configuration = self._folder / f"{port}.conf"
        configuration.write_text("\n".join(lines) + "\n")
        self._start(port, [str(configuration), "--sentinel"])

    def watch_what_is_gone(self) -> None:
        """Start a sentinel that nobody told of a failover: it names a primary that is not there. It is asked first."""
        port = free_port()
        self._watch(port, free_port())
        self.sentinels.insert(0, port)

    def _start(self, port: int, options: list[str]) -> None:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        self.processes[port] = subprocess.Popen([self._binary, *options], cwd=folder, stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        of_redis, own = (None if secret is None else quote(secret) for secret in self._secrets)
        who = f":{of_redis}@" if of_redis else ""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{who}{hosts}/chat/0" + (f"?sentinel_password={own}" if own else "")

    def redis(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, password=self._secrets[0])

    def sentinel(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, password=self._secrets[1])

    def ready(self) -> bool:
        """Whether the replica follows, and every sentinel knows of it and of the two others."""
        try:
            with self.redis(self.ports[1]) as replica:
                if replica.info("replication").get("master_link_status") != "up":
                    return False
            for port in self.sentinels:
                with self.sentinel(port) as sentinel:
                    state = sentinel.sentinel_master("chat")
                    if (state["num-slaves"], state["num-other-sentinels"]) != (1, 2):
                        return False
        except redis.RedisError:
            return False
        return True

    def fail_over(self) -> bool:
        """Promote the replica to primary; return False where the sentinel does not know yet that it can."""
        with self.sentinel(self.sentinels[0]) as sentinel:
            try:
                sentinel.sentinel_failover("chat")
            except redis.ResponseError:
                return False
        return True

    def restart(self, port: int, *, replica_of: int) -> None:
        """Start a Redis that was killed, without anything that it held."""
        options = ["--port", str(port), *REPLICATED]
        self._start(port, [*options, "--replicaof", f"127.0.0.1 {replica_of}"])

    def kill(self, port: int) -> None:
        self.processes[port].kill()
        self.processes[port].wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    folder = Path(tempfile.mkdtemp(prefix="sentinels-"))
    watched = Watched(folder, own=getattr(request, "param", False))
    yield watched
    watched.stop()
    shutil.rmtree(folder)


@pytest.mark.parametrize(("how", "watched"), [("failover", False), ("kill", True)], indirect=["watched"])
async def test_the_primary_is_followed(watched: Watched, room_id: str, how: str) -> None:
    await eventually(watched.ready, SERVED_AGAIN)
    async with open_redis_store(RedisTable(url=watched.url), ttl=60, server_id="one") as store:
        await eventually(lambda: store.health.healthy)
        record = Record()
        async with store.events.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
            nursery.start_soon(record.listen, feed)
            nursery.start_soon(record.send, store, room_id)
            await eventually(lambda: len(record.acknowledged) > 50)
            if how == "kill":
                watched.kill(watched.ports[0])
            else:
                await eventually(watched.fail_over, SERVED_AGAIN)
            with watched.redis(watched.ports[1]) as replica:
                await eventually(lambda: replica.info("replication")["role"] == "master", SERVED_AGAIN)
            before = len(record.acknowledged)
            await eventually(lambda: len(record.acknowledged) > before + 50, SERVED_AGAIN)
            await record.finish(store, room_id)
            nursery.cancel_scope.cancel()
    assert len(record.given) == len(set(record.given)), "none twice"
    assert set(record.acknowledged) <= set(record.given) or of_kind(record.heard, HistoryLost), (
        "what may be lost is told"
    )
    assert set(record.acknowledged[before:]) <= set(record.given)


async def test_without_a_sentinel_there_is_no_store(watched: Watched, room_id: str) -> None:
    for port in watched.sentinels:
        watched.kill(port)
    async with open_redis_store(RedisTable(url=watched.url), ttl=60, server_id="one") as store:
        assert not store.health.healthy
        assert not await appended(store, room_id)


async def test_check_looks_at_the_primary_that_sentinels_name(watched: Watched) -> None:
    await eventually(watched.ready, SERVED_AGAIN)
    async with open_redis_store(RedisTable(url=watched.url), ttl=60, server_id="one") as store:
        await eventually(lambda: store.health.healthy)
        assert [finding for finding in await store.health.check() if finding.severity is Severity.FAIL] == []
        with watched.redis(watched.ports[1]) as replica:
            replica.config_set("save", "60 1")
        [found] = await store.health.content_on_disk()
        assert found.severity is Severity.FAIL
        assert found.text.startswith(f"replica 127.0.0.1:{watched.ports[1]}: save: ")


async def test_one_sentinel_that_knows_nothing_of_a_failover_is_outvoted(watched: Watched, room_id: str) -> None:
    watched.watch_what_is_gone()
    async with open_redis_store(RedisTable(url=watched.url), ttl=60, server_id="one") as store:
        await eventually(lambda: appended(store, room_id))


@pytest.mark.parametrize("watched", [True], indirect=True)
async def test_who_has_not_the_sentinels_password_finds_no_store(watched: Watched, room_id: str) -> None:
    for url in (watched.url.partition("?")[0], f"{watched.url}wrong"):
        async with open_redis_store(RedisTable(url=url), ttl=60, server_id="one") as store:
            assert not await appended(store, room_id)


@contextmanager
def sentinel_of(port: int) -> Iterator[str]:
    """Start a sentinel that names a primary on this port, to which it cannot speak; return its Unix socket."""
    with tempfile.TemporaryDirectory(prefix="sentinel-") as folder:
        configuration = Path(folder, "sentinel.conf")
        socket = f"{folder}/socket"
        configuration.write_text(f"port 0\nunixsocket {socket}\nsentinel monitor chat 127.0.0.1 {port} 1\n")
        process = subprocess.Popen([server_binary(), configuration, "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            yield socket
        finally:
            process.kill()
            process.wait()


async def test_sentinels_and_the_primary_behind_tls(valkey: RedisBackend, room_id: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = certified(authority)
    async with behind_tls(valkey.url.removeprefix("unix://"), context) as primary:
        with sentinel_of(primary) as socket:
            async with behind_tls(socket, context) as sentinel:
                url = f"rediss+sentinel://localhost:{sentinel}/chat?ssl_ca_certs={tmp_path}/ca.pem"
                async with open_redis_store(RedisTable(url=url), ttl=60, server_id="one") as store:
                    await eventually(lambda: appended(store, room_id))


def test_what_is_no_address_of_sentinels() -> None:
    for url in ("redis+sentinel://one:26379", "redis+sentinel:///chat", "redis+sentinel://ada:secret@one:port/chat"):
        with pytest.raises(ConfigurationError) as error:
            SentinelAddress(url)
        assert "secret" not in str(error.value)
