"""The answers to requests that never reach the application, with the headers that its own answers have."""

from __future__ import annotations

import re
from urllib.parse import unquote

from werkzeug.datastructures import Headers

from evanesce.interfaces import Gateway
from evanesce_transports import answers
from evanesce_transports.quart.headers import complete
from evanesce_transports.request import Refused

# Looked for in what may be no request at all: nothing but the headers of a refusal depends on them.
_PATH = re.compile(rb"[^ \r\n]+ (/[^ ?\r\n]*)")
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([\x21-\x7e]+)[ \t]*\r\n", re.IGNORECASE)


def refusal(refused: Refused, head: bytes, gateway: Gateway) -> bytes:
    """Write the whole response to a request that was refused, of which `head` came."""
    headers = Headers()
    path, origin = _PATH.match(head), _ORIGIN.search(head)
    complete(
        headers,
        unquote(path[1].decode("latin-1")) if path else "",
        origin[1].decode("ascii") if origin else None,
        gateway,
    )
    return answers.refusal(refused, headers)
