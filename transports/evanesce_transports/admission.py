"""Which requests are admitted: by their host, and for a WebSocket by their origin, subprotocol and handshake."""

from __future__ import annotations

import binascii
import functools
from collections.abc import Sequence

from wsproto.utilities import generate_accept_token

from evanesce.addresses import parse_address
from evanesce.errors import BadRequest, CommandError, ErrorCode
from evanesce.interfaces import Gateway
from evanesce.webaddress import host_name
from evanesce_transports.request import Refused, Request

PATH = "/ws"
"""The path of the WebSocket."""

SUBPROTOCOL = "evanesce.v1"

_VERSION = b"13"

_RETRY_SECONDS = 1.0

_MOST_HOSTS = 64

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


def admit_upgrade(gateway: Gateway, request: Request) -> str | None:
    """Return the subprotocol to use with the client of an upgrade, None where it offers none.

    Raises `Refused` where the upgrade is not valid, or where the client is not admitted.
    """
    if request.path != PATH.encode():
        raise Refused(404, CommandError(ErrorCode.UNKNOWN_TYPE, "There is nothing at this address."))
    offered = check_handshake(request)
    if gateway.draining:
        draining = CommandError(ErrorCode.INTERNAL, "The server is going away.", retry_after=_RETRY_SECONDS)
        raise Refused(503, draining)
    if not all(gateway.admits_origin(origin.decode("ascii")) for origin in request.values(b"origin")):
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


def check_handshake(request: Request) -> list[str]:
    """Return the subprotocols that the client offers with an upgrade, whose `Upgrade` was read already.

    Raises `Refused` where the upgrade is not valid (RFC 6455, section 4.2.1).
    """
    if request.head.method != b"GET" or set(request.values(b"content-length")) - {b"0"}:
        raise Refused(400, "A WebSocket handshake is a GET request without a body.")
    if b"upgrade" not in request.tokens(b"connection"):
        raise Refused(400, f"The request has no Connection: Upgrade. {_PASS_ON}")
    versions, keys = request.values(b"sec-websocket-version"), request.values(b"sec-websocket-key")
    if len(versions) != 1:
        raise Refused(400, "The request needs one Sec-WebSocket-Version header.")
    if versions[0] != _VERSION:
        # A response with the status 426 has the header with the version that this server supports.
        raise Refused(426, "Sec-WebSocket-Version has to be 13.")
    if not keys:
        raise Refused(400, "Missing header, 'Sec-WebSocket-Key'.")
    hosts = request.values(b"host")
    if len(hosts) != 1 or not _is_international_name(hosts[0]):
        raise Refused(400, "The Host header is not a valid host.")
    if not _is_valid_key(keys):
        raise Refused(400, "Sec-WebSocket-Key has to be 16 bytes in base64.")
    return [name.decode("ascii") for name in request.elements(b"sec-websocket-protocol")]


def encode_acceptance(request: Request, subprotocol: str | None) -> bytes:
    """Return the response to an upgrade that is valid and admitted (RFC 6455, section 4.2.2).

    wsproto makes the same bytes, but parses the request, and its own response, by h11 again: together that was a fifth
    of what a connection cost.
    """
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + generate_accept_token(request.values(b"sec-websocket-key")[0]),
    ]
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
    return b"\r\n".join([*lines, b"", b""])


@functools.lru_cache(_MOST_HOSTS)  # clients use a few names, and this took as long as all other checks of a handshake
def _is_international_name(host: bytes) -> bool:
    """Return whether a host can be decoded as an international name, and is not empty."""
    try:
        return bool(host.decode("idna"))
    except UnicodeError:
        return False


def _is_valid_key(values: Sequence[bytes]) -> bool:
    try:
        return len(values) == 1 and len(binascii.a2b_base64(values[0], strict_mode=True)) == 16
    except binascii.Error:
        return False
