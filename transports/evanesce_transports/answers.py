"""The HTTP answers that a transport writes itself, each the last of its connection."""

from __future__ import annotations

import math
from collections.abc import Iterable
from http import HTTPStatus

import h11
import msgspec

from evanesce.protocol import codec
from evanesce_transports.request import Refused


def response(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Write a whole response, after which the connection ends."""
    connection = h11.Connection(h11.SERVER)
    framing = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    head = h11.Response(status_code=status, headers=headers + framing, reason=HTTPStatus(status).phrase.encode())
    parts = [connection.send(head), connection.send(h11.Data(data=body)), connection.send(h11.EndOfMessage())]
    return b"".join(part for part in parts if part)


def refusal(refused: Refused, headers: Iterable[tuple[str, str]]) -> bytes:
    """Write the whole response to a request that was refused: the protocol's error, and `headers` beside its own."""
    said = [("Content-Type", "application/json"), *headers]
    if refused.status == 426:
        said += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    if refused.error.retry_after is not None:
        said.append(("Retry-After", str(math.ceil(refused.error.retry_after))))
    body = msgspec.json.encode(codec.bare(codec.error_reply(refused.error)))
    return response(refused.status, [(name.lower().encode(), value.encode()) for name, value in said], body)
