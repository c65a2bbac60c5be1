"""Which requests are admitted: by their host, and for a WebSocket by their origin, subprotocol and handshake.

wsproto checks the handshake. It gets only headers that it does not fail on.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from wsproto.connection import ConnectionType
from wsproto.events import RejectConnection
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from evanesce.addresses import parse_address
from evanesce.errors import BadRequest, CommandError, ErrorCode
from evanesce.interfaces import Gateway
from evanesce.webaddress import host_name
from evanesce_transports.request import Refused, Request

PATH = "/ws"
"""The path of the WebSocket."""

SUBPROTOCOL = "evanesce.v1"

_RETRY_SECONDS = 1.0

_PROBES = (b"/healthz", b"/readyz")

_PASS_ON = (
    "A proxy in between has to use HTTP/1.1 for this server and pass on the headers Connection and Upgrade."
    " In nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
)


def check_host(gateway: Gateway, request: Request, local_address: str) -> None:
    """Raise `Refused` where the Host of a request, which came to `local_address`, is not a name of this server.

    Probes may use any IP address: some come through port forwarding, and DNS rebinding needs a name. A request of
    HTTP/1.0 may have no Host: it comes from a proxy or a probe, because every browser sends one.
    """
    hosts = request.values(b"host")
    if not hosts:
        return
    text = hosts[0].decode("ascii")
    if request.path in _PROBES and parse_address(host_name(text)) is not None:
        return
    if gateway.admits_host(text, local_address):
        return
    message = (
        "The host of this request is not a name of this server."
        " If you run the server, set server.public_url or server.origins to the name that people use."
    )
    raise Refused(421, CommandError(ErrorCode.FORBIDDEN, message))


def admit(gateway: Gateway, *, origins: Sequence[str], offered: Sequence[str]) -> str | None:
    """Return the subprotocol to use with a client, None where it offers none. Raises `Refused`."""
    if gateway.draining:
        draining = CommandError(ErrorCode.INTERNAL, "The server is going away.", retry_after=_RETRY_SECONDS)
        raise Refused(503, draining)
    if not all(gateway.admits_origin(origin) for origin in origins):
        raise Refused(403, CommandError(ErrorCode.FORBIDDEN, "A page of this origin may not connect."))
    if offered and SUBPROTOCOL not in offered:
        raise Refused(400, BadRequest("Sec-WebSocket-Protocol", f"This server supports only {SUBPROTOCOL}."))
    return SUBPROTOCOL if offered else None


def bearer(header: str | None) -> str | None:
    """Return the bearer token in an Authorization header; None where it has none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def bearer_of(request: Request) -> str | None:
    """Return the bearer token of a request; None where it has none."""
    return next((bearer(value.decode("ascii")) for value in request.values(b"authorization")), None)


def asks_for_websocket(request: Request) -> bool:
    """Return whether a request asks for an upgrade to WebSocket, valid or not.

    `Upgrade` is a list of protocols. HTTP/1.0 has no upgrade (RFC 9110, section 7.8).
    """
    return not request.is_http_1_0 and b"websocket" in request.tokens(b"upgrade")


def upgrade_required(request: Request) -> Refused:
    """Return the refusal of a request for the path of the WebSocket that is not an upgrade, with the likely reason."""
    if request.is_http_1_0:
        return Refused(426, f"The request uses HTTP/1.0, which does not support WebSocket. {_PASS_ON}")
    if request.values(b"sec-websocket-key"):
        return Refused(426, f"The request has no Upgrade: websocket. {_PASS_ON}")
    return Refused(426, "This address is only for WebSocket connections.")


def start_handshake(request: Request) -> tuple[H11Handshake, list[str]]:
    """Return wsproto's handshake object for an upgrade, and the subprotocols that the client offers.

    Raises `Refused` where the upgrade is not valid (RFC 6455, section 4.2.1).
    """
    handshake = H11Handshake(ConnectionType.SERVER)
    if request.head.method != b"GET" or request.values(b"content-length") not in ([], [b"0"]):
        raise Refused(400, "A WebSocket handshake is a GET request without a body.")
    if b"upgrade" not in request.tokens(b"connection"):
        raise Refused(400, f"The request has no Connection: Upgrade. {_PASS_ON}")
    offered = request.elements(b"sec-websocket-protocol")
    try:
        handshake.initiate_upgrade_connection(_headers_for_wsproto(request, offered), request.head.target)
    except RemoteProtocolError as error:
        hint = error.event_hint
        raise Refused(hint.status_code if isinstance(hint, RejectConnection) else 400, f"{error}.") from None
    except UnicodeError:  # wsproto decodes Host as an international name
        raise Refused(400, "The Host header is not a valid host.") from None
    if not _is_valid_key(request.values(b"sec-websocket-key")):
        raise Refused(400, "Sec-WebSocket-Key has to be 16 bytes in base64.")
    return handshake, [name.decode("ascii") for name in offered]


def _headers_for_wsproto(request: Request, offered: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an upgrade in a form that wsproto accepts: one protocol in `Upgrade`, no empty list."""
    own = (b"host", b"sec-websocket-key", b"sec-websocket-version")
    headers = [(name, value) for name, value in request.head.headers if name in own]
    headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    if offered:
        headers.append((b"sec-websocket-protocol", b", ".join(offered)))
    return headers


def _is_valid_key(values: list[bytes]) -> bool:
    try:
        return len(values) == 1 and len(base64.b64decode(values[0], validate=True)) == 16
    except binascii.Error:
        return False
