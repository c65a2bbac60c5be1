"""TLS in front of a server that speaks none itself."""

from __future__ import annotations

import ssl

import trio
import trustme


async def over_tls(port: int, nursery: trio.Nursery, certificate: trustme.LeafCert) -> int:
    """Put TLS in front of a server on this machine, which speaks none itself, and return the port of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    async def pass_on(source: trio.abc.ReceiveStream, sink: trio.abc.Stream) -> None:
        async for data in source:
            await sink.send_all(data)
        await sink.aclose()

    async def serve(client: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with (
                client,
                await trio.open_tcp_stream("127.0.0.1", port) as server,
                trio.open_nursery() as both,
            ):
                both.start_soon(pass_on, client, server)
                both.start_soon(pass_on, server, client)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # either side may leave first

    [listener] = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    outside: int = listener.transport_listener.socket.getsockname()[1]
    return outside
