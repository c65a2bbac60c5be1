"""TLS in front of a Valkey, as the embedded one has none of its own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import trio
import trustme


def certified(authority: trustme.CA, *names: str, until: datetime | None = None) -> ssl.SSLContext:
    """Return what a server needs to be trusted by who trusts the authority; two names unless others are given."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("localhost", "127.0.0.1")), not_after=until).configure_cert(context)
    return context


@asynccontextmanager
async def behind_tls(socket: str, context: ssl.SSLContext) -> AsyncGenerator[int, None]:
    """Remove TLS in front of what listens at a Unix socket; yield the port."""

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
