"""The body of an HTTP request: read whole, bounded in size and time, before the application hears of the request."""

from __future__ import annotations

import trio

from evanesce_transports.request import Incoming, Refused, receive

BODY_SECONDS = 5.0
"""How long a client may take for the body."""


async def read_body(request: Incoming, stream: trio.abc.Stream, limit: int) -> bytes:
    """Read the whole body, at most `limit` bytes. Raises `Refused`."""
    length = int((request.values(b"content-length") or [b"0"])[0])
    if length > limit:
        raise Refused(413, f"A body is at most {limit} bytes.")
    body = bytearray(request.rest)
    with trio.move_on_after(BODY_SECONDS) as waiting:
        if len(body) < length and b"100-continue" in request.tokens(b"expect"):
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < length:
            chunk = await receive(stream)
            if not chunk:
                raise Refused(400, "The body is shorter than its Content-Length.")
            body += chunk
    if waiting.cancelled_caught:
        raise Refused(408, "The body took too long.")
    return bytes(body[:length])
