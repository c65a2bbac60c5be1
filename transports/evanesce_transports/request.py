"""Reading one HTTP request from a stream, strictly: what is not plain HTTP/1.1 never reaches a library behind this."""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11
import trio

from evanesce.errors import CommandError, ErrorCode

HEAD_BYTES = 16 * 1024
"""The largest request line and headers together."""

HEAD_SECONDS = 5.0
"""How long a client may take for them."""

_READ_BYTES = 16 * 1024

# A CR or LF alone ends a line for some parsers and not for others (RFC 9112, section 2.2); bytes beyond ASCII and
# control characters in a header are what libraries fall over (wsproto decodes headers as ASCII) or log unescaped.
_UNLAWFUL = re.compile(rb"[^\x20-\x7e\r\n\t]|\r[^\n]|(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")  # RFC 9112, section 5.2
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ (?P<target>[\x21-\x7e]+) HTTP/(?P<version>[0-9]\.[0-9])\r\n")
# What names a host (RFC 3986, section 3.2.2): libraries read it as an international name, and fail on what is none.
_HOST = re.compile(rb"(?:(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)


class Refused(Exception):
    """A request that this server does not serve: the status, and the protocol's nearest error, or its message alone."""

    def __init__(self, status: int, error: CommandError | str) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = CommandError(ErrorCode.BAD_FRAME, error) if isinstance(error, str) else error


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
            chunk = await receive(stream)
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


async def receive(stream: trio.abc.ReceiveStream) -> bytes:
    """Read what comes next; nothing where the client is gone."""
    try:
        return bytes(await stream.receive_some(_READ_BYTES))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""
