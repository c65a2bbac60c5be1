"""A Redis behind TLS, and the certificates that it needs."""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store.base import Positioned
from evanesce.store.redis import open_redis_store
from tests.core.store.backends import RedisBackend, draft, eventually, until


@asynccontextmanager
async def behind_tls(socket: str, context: ssl.SSLContext) -> AsyncGenerator[int, None]:
    """Take TLS off in front of a Valkey, as the embedded one has none of its own; gives the port."""

    async def copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream) -> None:
        async for data in source:
            await target.send_all(data)

    async def serve(client: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with client, await trio.open_unix_socket(socket) as valkey, trio.open_nursery() as nursery:
                nursery.start_soon(copy, client, valkey)
                await copy(valkey, client)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, OSError):
            pass  # a client that does not trust the certificate

    [listener] = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_a_store_over_tls_and_who_is_not_trusted(valkey: RedisBackend, room_id: str, tmp_path: Path) -> None:
    known = trustme.CA()
    known.cert_pem.write_to_path(tmp_path / "known.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "unknown.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    known.issue_cert("localhost").configure_cert(context)
    async with behind_tls(valkey.url.removeprefix("unix://"), context) as port:
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
