"""The WebSocket handshake, checked by wsproto and beyond it: nothing that it falls over gets to it."""

from __future__ import annotations

import base64
import binascii

from wsproto.connection import ConnectionType
from wsproto.events import RejectConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from evanesce_transports.request import Incoming, Refused


def asks_for_websocket(request: Incoming) -> bool:
    """Whether a request is an upgrade to a WebSocket, lawful or not."""
    return b"websocket" in request.tokens(b"upgrade")


def shake(request: Incoming) -> tuple[H11Handshake, Request]:
    """Check an upgrade (RFC 6455, section 4.2.1). Raises `Refused`."""
    handshake = H11Handshake(ConnectionType.SERVER)
    if request.head.method != b"GET" or request.values(b"content-length") not in ([], [b"0"]):
        raise Refused(400, "A WebSocket is asked for by a GET without a body.")
    try:
        handshake.initiate_upgrade_connection(list(request.head.headers), request.head.target)
    except RemoteProtocolError as error:
        hint = error.event_hint
        raise Refused(hint.status_code if isinstance(hint, RejectConnection) else 400, f"{error}.") from None
    except UnicodeError:  # wsproto reads Host as an international name
        raise Refused(400, "The Host is no host.") from None
    if not _is_key(request.values(b"sec-websocket-key")):
        raise Refused(400, "Sec-WebSocket-Key is 16 bytes in base64.")
    asked = next(handshake.events(), None)
    if not isinstance(asked, Request):
        raise Refused(400, "This is no WebSocket handshake.")
    return handshake, asked


def _is_key(values: list[bytes]) -> bool:
    try:
        return len(values) == 1 and len(base64.b64decode(values[0], validate=True)) == 16
    except binascii.Error:
        return False
