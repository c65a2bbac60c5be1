"""A Redis behind TLS, and the certificates that it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
import trustme

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store.base import Positioned
from evanesce.store.redis import open_redis_store
from tests.core.store.backends import RedisBackend, draft, eventually, until
from tests.core.store.tls import behind_tls, certified


async def test_a_store_over_tls_and_who_is_not_trusted(valkey: RedisBackend, room_id: str, tmp_path: Path) -> None:
    known = trustme.CA()
    known.cert_pem.write_to_path(tmp_path / "known.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "unknown.pem")
    async with behind_tls(valkey.url.removeprefix("unix://"), certified(known)) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}/"
        async with open_redis_store(RedisTable(url=url + "known.pem"), ttl=60, server_id="one") as store:
            await eventually(lambda: store.healthy)
            async with store.follow(room_id, 10) as feed:
                await store.append(room_id, [draft(room_id, "hello")])
                [heard] = await until(feed, Positioned)
                assert isinstance(heard, Positioned)
                assert heard.message.content == "hello"
        async with open_redis_store(RedisTable(url=url + "unknown.pem"), ttl=60, server_id="one") as store:
            with pytest.raises(StoreUnavailable, match="certificate is not trusted"):
                await store.append(room_id, [draft(room_id)])

        command = [sys.executable, "-m", "evanesce", "check"]
        for setting in (f"redis.url={url}unknown.pem", f"server.secret={'s' * 32}", "plugins.quart.bind=127.0.0.1:0"):
            command += ["--set", setting]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, cwd=tmp_path)
        [line] = [line for line in done.stdout.decode().splitlines() if " redis: " in line]
        assert done.returncode == 1
        assert line.startswith("FAIL")
        assert "certificate is not trusted" in line
        assert "add ?ssl_ca_certs=FILE" in line
