"""Reading one HTTP request from a stream, strictly: what is not plain HTTP/1.1 never reaches a library behind this."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio

from evanesce.errors import ErrorCode

HEAD_BYTES = 16 * 1024
"""The largest request line and headers together."""

HEAD_SECONDS = 5.0
"""How long a client may take for them."""

BODY_SECONDS = 5.0
"""How long a client may take for the body."""

_READ_BYTES = 16 * 1024

# A CR or LF alone ends a line for some parsers and not for others (RFC 9112, section 2.2); bytes beyond ASCII and
# control characters in a header are what libraries fall over (wsproto decodes headers as ASCII) or log unescaped.
_UNLAWFUL = re.compile(rb"[^\x20-\x7e\r\n\t]|\r[^\n]|(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")  # RFC 9112, section 5.2
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ (?P<target>[\x21-\x7e]+) HTTP/(?P<version>[0-9]\.[0-9])\r\n")
# What names a host (RFC 3986, section 3.2.2): libraries read it as an international name, and fail on what is none.
_HOST = re.compile(rb"(?:(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)


class Refused(Exception):
    """A request that this server does not serve: `status`, a message for a person, and the protocol's nearest code."""

    def __init__(self, status: int, message: str, code: ErrorCode = ErrorCode.BAD_FRAME) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@dataclass(slots=True)
class Incoming:
    """A request whose head was read; `rest` is what came behind the head."""

    head: h11.Request
    rest: bytes

    def values(self, name: bytes) -> list[bytes]:
        """Give all values of a header, `name` in lower case."""
        return [value for key, value in self.head.headers if key == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """Give the comma-separated values of a header, in lower case."""
        return [token.strip().lower() for value in self.values(name) for token in value.split(b",")]


async def read_head(stream: trio.abc.ReceiveStream, data: bytearray) -> Incoming | None:
    """Read a request's head; None where the client left or took too long. Raises `Refused`.

    What comes is put into `data`, for who has to know something of a request that is refused.
    """
    seen = 0  # up to where it was looked through
    with trio.move_on_after(HEAD_SECONDS):
        while True:
            end = data.find(b"\r\n\r\n", max(0, seen - 3))
            head_end = len(data) if end < 0 else end + 4
            if head_end > HEAD_BYTES:
                raise Refused(431, f"The request line and headers are at most {HEAD_BYTES} bytes.")
            if _UNLAWFUL.search(data, max(0, seen - 1), head_end):
                raise Refused(400, "Headers are lines of printable ASCII, each ended by CR LF.")
            if end >= 0:
                return Incoming(_parse(bytes(data[:head_end])), bytes(data[head_end:]))
            seen = len(data)
            chunk = await _receive(stream)
            if not chunk:
                return None
            data += chunk
    return None


def _parse(head: bytes) -> h11.Request:
    line = _REQUEST_LINE.match(head)
    if line is None or _FOLDED.search(head):
        raise Refused(400, "This is no HTTP request.")
    if line["version"] != b"1.1":
        raise Refused(505, "This server speaks HTTP/1.1.")
    if not line["target"].startswith(b"/"):
        raise Refused(400, "A request names a path.")
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    try:
        parser.receive_data(head)
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise Refused(error.error_status_hint, "This is no HTTP request.") from None
    if not isinstance(request, h11.Request):
        raise Refused(400, "This is no HTTP request.")
    headers = dict(request.headers)
    if not _HOST.fullmatch(headers[b"host"]):
        raise Refused(400, "The Host is no host.")
    if b"transfer-encoding" in headers:
        # Two framings at once are how requests are smuggled (RFC 9112, section 6.1).
        if b"content-length" in headers:
            raise Refused(400, "A request has a Content-Length or a Transfer-Encoding, not both.")
        raise Refused(411, "A body needs a Content-Length.")
    return request


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
            chunk = await _receive(stream)
            if not chunk:
                raise Refused(400, "The body is shorter than its Content-Length.")
            body += chunk
    if waiting.cancelled_caught:
        raise Refused(408, "The body took too long.")
    return bytes(body[:length])


async def _receive(stream: trio.abc.ReceiveStream) -> bytes:
    try:
        return bytes(await stream.receive_some(_READ_BYTES))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


def response(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Write a whole response, after which the connection ends."""
    connection = h11.Connection(h11.SERVER)
    framing = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    head = h11.Response(status_code=status, headers=headers + framing, reason=HTTPStatus(status).phrase.encode())
    parts = [connection.send(head), connection.send(h11.Data(data=body)), connection.send(h11.EndOfMessage())]
    return b"".join(part for part in parts if part)
