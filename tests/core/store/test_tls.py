"""A Redis behind TLS, and the certificates that it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
import trustme

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store.message_log import LogEntry
from evanesce.store.redis import open_redis_store
from tests.checks import failure
from tests.core.store.backends import RedisBackend, draft, eventually, until
from tests.core.store.tls import behind_tls, certified


async def test_a_store_over_tls_and_who_is_not_trusted(
    valkey: RedisBackend, room_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = trustme.CA()
    known.cert_pem.write_to_path(tmp_path / "known.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "unknown.pem")
    async with behind_tls(valkey.url.removeprefix("unix://"), certified(known)) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}/"
        async with open_redis_store(RedisTable(url=url + "known.pem"), ttl=60, server_id="one") as store:
            await eventually(lambda: store.health.healthy)
            async with store.events.follow(room_id, 10) as feed:
                await store.messages.append(room_id, [draft(room_id, "hello")])
                [heard] = await until(feed, LogEntry)
                assert isinstance(heard, LogEntry)
                assert heard.message.content == "hello"
        async with open_redis_store(RedisTable(url=url + "unknown.pem"), ttl=60, server_id="one") as store:
            await eventually(lambda: "certificate is not trusted" in caplog.text)  # before, a call may only time out
            with pytest.raises(StoreUnavailable, match="certificate is not trusted"):
                await store.messages.append(room_id, [draft(room_id)])

        command = [sys.executable, "-m", "evanesce", "check"]
        for setting in (f"redis.url={url}unknown.pem", f"server.secret={'s' * 32}", "plugins.quart.bind=127.0.0.1:0"):
            command += ["--set", setting]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, cwd=tmp_path)
        failed = failure(done.stdout.decode())
        assert done.returncode == 1
        assert failed.part == "redis"
        assert "certificate is not trusted" in failed.detail
        assert "add ?ssl_ca_certs=FILE" in failed.advice
