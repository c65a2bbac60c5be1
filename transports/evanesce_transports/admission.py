"""Who is let in: the rules that the protocol has for a handshake, on every transport that has one."""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.errors import BadRequest, CommandError, ErrorCode
from evanesce.interfaces import Gateway
from evanesce_transports.request import Incoming, Refused

PATH = "/ws"
"""Where clients ask for a WebSocket."""

SUBPROTOCOL = "evanesce.v1"

_COME_BACK_SECONDS = 1.0


def admit(gateway: Gateway, *, origins: Sequence[str], offered: Sequence[str]) -> str | None:
    """Let a client in that offers these subprotocols; give the one to speak, where it offers any. Raises `Refused`."""
    if gateway.draining:
        away = CommandError(ErrorCode.INTERNAL, "The server is going away.", retry_after=_COME_BACK_SECONDS)
        raise Refused(503, away)
    if not all(gateway.admits_origin(origin) for origin in origins):
        raise Refused(403, CommandError(ErrorCode.FORBIDDEN, "This page may not connect."))
    if offered and SUBPROTOCOL not in offered:
        raise Refused(400, BadRequest("Sec-WebSocket-Protocol", f"This server speaks {SUBPROTOCOL}."))
    return SUBPROTOCOL if offered else None


def bearer(header: str | None) -> str | None:
    """Give the token of an Authorization header; None where it has none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def bearer_of(request: Incoming) -> str | None:
    """Give the token of a request whose head was read."""
    return next((bearer(value.decode("ascii")) for value in request.values(b"authorization")), None)
