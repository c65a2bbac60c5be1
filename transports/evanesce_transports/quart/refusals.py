"""The answers to requests that never reach the application, with the headers that its own answers have."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec
from werkzeug.datastructures import Headers

from evanesce.errors import CommandError
from evanesce.interfaces import Gateway
from evanesce.protocol import codec
from evanesce_transports.quart.headers import complete
from evanesce_transports.quart.request import Refused, response

# Looked for in what may be no request at all: nothing but the headers of a refusal depends on them.
_PATH = re.compile(rb"[^ \r\n]+ (/[^ ?\r\n]*)")
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([\x21-\x7e]+)[ \t]*\r\n", re.IGNORECASE)


def refusal(refused: Refused, head: bytes, gateway: Gateway) -> bytes:
    """Write the whole response to a request that was refused, of which `head` came."""
    headers = Headers({"Content-Type": "application/json"})
    if refused.status == 426:
        headers["Upgrade"] = "websocket"
        headers["Sec-WebSocket-Version"] = "13"
    path, origin = _PATH.match(head), _ORIGIN.search(head)
    complete(
        headers,
        unquote(path[1].decode("latin-1")) if path else "",
        origin[1].decode("ascii") if origin else None,
        gateway,
    )
    body = msgspec.json.encode(codec.bare(codec.error_reply(CommandError(refused.code, refused.message))))
    return response(refused.status, [(name.lower().encode(), value.encode()) for name, value in headers], body)
