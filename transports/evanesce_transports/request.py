"""The HTTP request of a client: its head, its path and its body, read strictly and within limits.

The libraries behind this module get only requests that are valid HTTP/1.1.
"""

from __future__ import annotations

import re
import string
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import h11
import trio

from evanesce.errors import CommandError, ErrorCode

HEAD_BYTES = 16 * 1024
"""The largest size of the request line and the headers together."""

MOST_HEADERS = 100
"""How many header lines a request may have: each costs the libraries much more than its bytes."""

FREE_BYTES = 2 * 1024
"""How much of a head is read before memory for a large one is reserved: most heads are smaller."""

BODY_SECONDS = 5.0
"""How long a client may take to send the body."""

_READ_BYTES = 16 * 1024

# A CR or LF alone ends a line for some parsers and not for others (RFC 9112, section 2.2). Control characters are not
# allowed in headers (RFC 9110, section 5.5).
_INVALID = re.compile(rb"[^\x20-\x7e\x80-\xff\r\n\t]|\r[^\n]|(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")  # RFC 9112, section 5.2
_REQUEST_LINE = re.compile(
    rb"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) (?P<target>[\x21-\x7e]+) HTTP/(?P<version>[0-9]\.[0-9])\r\n"
)
# What the names of headers may have (RFC 9110, section 5.6.2), and what headers have that almost all clients send.
_NAME_CHARACTERS = b"!#$%&'*+-.^_`|~" + string.digits.encode() + string.ascii_letters.encode()
_PLAIN_CHARACTERS = bytes(range(0x20, 0x7F))
_ABSOLUTE = re.compile(rb"https?://(?P<authority>[^/?#]*)(?P<rest>(?:[/?][^#]*)?)", re.IGNORECASE)
# A host and a port (RFC 3986, section 3.2.2). Libraries decode the host as an international name, and fail on others.
_HOST = re.compile(rb"(?:(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)

# Headers that this server or a library reads. They have to be ASCII, because wsproto decodes them as ASCII. The value
# of any other header may contain bytes above 0x7F (RFC 9110, section 5.5), such as a cookie of another server of the
# same domain.
_READ_HEADERS = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-length",
        b"expect",
        b"forwarded",
        b"host",
        b"origin",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-for",
        b"x-real-ip",
    }
)
_READ_PREFIX = b"sec-websocket-"


class Refused(Exception):
    """The server refuses a request with an HTTP status and an error of the protocol.

    An error that is only a message has the code `bad_frame`. `allow` are the methods that the address supports.
    """

    def __init__(self, status: int, error: CommandError | str, *, allow: str | None = None) -> None:
        super().__init__(str(error))
        self.status = status
        self.allow = allow
        self.error = CommandError(ErrorCode.BAD_FRAME, error) if isinstance(error, str) else error


class Head(NamedTuple):
    """The head of a valid request: the names of its headers are in lower case."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    http_version: bytes


@dataclass(slots=True)
class Request:
    """A request whose head was read. `rest` are the bytes that came after the head.

    The target of `head` may be replaced, but not its headers, which are read again and again.
    """

    head: Head
    rest: bytes
    _values: dict[bytes, list[bytes]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._values = {}
        for name, value in self.head.headers:
            self._values.setdefault(name, []).append(value)

    @property
    def path(self) -> bytes:
        """Return the target without its query; `*` for an `OPTIONS` request about the whole server."""
        return self.head.target.partition(b"?")[0]

    @property
    def keeps_connection(self) -> bool:
        """Return whether the client keeps the connection for another request (RFC 9112, section 9.3)."""
        return not self.is_http_1_0 and b"close" not in self.tokens(b"connection")

    @property
    def has_body(self) -> bool:
        """Return whether a body follows the head."""
        return any(int(length) > 0 for length in self.values(b"content-length"))

    @property
    def is_http_1_0(self) -> bool:
        """Return whether the request is HTTP/1.0, which proxies send, and which may lack a `Host` header."""
        return self.head.http_version == b"1.0"

    @property
    def names(self) -> Collection[bytes]:
        """Return the names of all headers, in lower case."""
        return self._values.keys()

    def values(self, name: bytes) -> Sequence[bytes]:
        """Return all values of the header `name`, which is in lower case."""
        return self._values.get(name, ())

    def elements(self, name: bytes) -> list[bytes]:
        """Return the elements of a header that is a comma-separated list, without empty ones (RFC 9110, 5.6.1)."""
        values = self._values.get(name, ())
        return [element for value in values for part in value.split(b",") if (element := part.strip())]

    def tokens(self, name: bytes) -> list[bytes]:
        """Return the elements of a header that ignores case, in lower case."""
        return [element.lower() for element in self.elements(name)]


@dataclass(frozen=True, slots=True)
class PublicPath:
    """The path of `server.public_url`, such as `/chat`: empty, or without a slash at its end.

    A proxy in front of the server may remove this path from requests or not: the server accepts both.
    """

    text: str

    @property
    def home(self) -> str:
        """The path of the start page."""
        return f"{self.text}/"

    def strip(self, target: bytes) -> bytes:
        """Return a target, with its query, without this path at its beginning."""
        prefix = self.text.encode("ascii")
        rest = target[len(prefix) :]
        if not prefix or not target.startswith(prefix) or rest[:1] not in (b"", b"/", b"?"):
            return target
        return rest if rest.startswith(b"/") else b"/" + rest

    def strip_text(self, path: str) -> str:
        """Return a path without this path at its beginning."""
        return self.strip(path.encode()).decode()

    def strip_head(self, head: Head) -> Head:
        """Return the head with this path removed from its target."""
        return head._replace(target=self.strip(head.target)) if self.text else head


Reserve = Callable[[int], Awaitable[None]]
"""Reserves memory for a number of bytes, or raises `Refused`."""


async def read_head(
    stream: trio.abc.ReceiveStream, data: bytearray, reserve: Reserve, *, deadline: float
) -> Request | None:
    """Read the head of a request; None where the client left, or `deadline` passed. Raises `Refused`.

    The bytes are added to `data`, so that the caller can answer a request that is refused. It may have `FREE_BYTES`
    that were received before. `reserve` is called for a head that is larger than usual.
    """
    request = _find_head(data, 0)  # what came with the connection
    if request is not None:
        return request
    allowed = FREE_BYTES
    with trio.move_on_at(deadline):
        while True:
            searched = len(data)
            if searched >= allowed:
                await reserve(HEAD_BYTES)
                allowed = HEAD_BYTES + _READ_BYTES
            chunk = await receive(stream, min(_READ_BYTES, allowed - searched))
            if not chunk:
                return None
            data += chunk
            request = _find_head(data, searched)
            if request is not None:
                return request
    return None


def _find_head(data: bytearray, searched: int) -> Request | None:
    """Return the request at the beginning of `data`; None where its head is incomplete. Raises `Refused`.

    The first `searched` bytes were checked before.
    """
    end = data.find(b"\r\n\r\n", max(0, searched - 3))
    head_end = len(data) if end < 0 else end + 4
    if head_end > HEAD_BYTES:
        raise Refused(431, f"The request line and the headers may have {HEAD_BYTES} bytes at most.")
    head = _parse_plain(bytes(data[:head_end])) if end >= 0 else None
    if head is None:
        if _INVALID.search(data, max(0, searched - 1), head_end):
            raise Refused(400, "Each header has to end with CR LF, and may not contain control characters.")
        if end < 0:
            return None
        head = _parse(bytes(data[:head_end]))
    return Request(head, bytes(data[head_end:]))


async def read_body(request: Request, stream: trio.abc.Stream, limit: int, reserve: Reserve) -> bytes:
    """Read the whole body, `limit` bytes at most, after `reserve` has reserved its memory. Raises `Refused`."""
    length = int((request.values(b"content-length") or [b"0"])[0])
    if length > limit:
        raise Refused(413, f"A body may have {limit} bytes at most.")
    if length:
        await reserve(length)
    body = bytearray(request.rest)
    with trio.move_on_after(BODY_SECONDS) as waiting:
        expected = b"100-continue" in request.tokens(b"expect") and not request.is_http_1_0  # RFC 9110, section 10.1.1
        if len(body) < length and expected:
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < length:
            chunk = await receive(stream)
            if not chunk:
                raise Refused(400, "The body is shorter than its Content-Length.")
            body += chunk
    if waiting.cancelled_caught:
        raise Refused(408, "The body of the request took too long.")
    return bytes(body[:length])


async def receive(stream: trio.abc.ReceiveStream, size: int = _READ_BYTES) -> bytes:
    """Return the next bytes, `size` at most; an empty result where the client is gone."""
    try:
        return bytes(await stream.receive_some(size))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


def _parse_plain(head: bytes) -> Head | None:
    """Return the head of a request without a body, as almost all clients send it; None where it is another one.

    `_parse` finds the same, but takes many times as long, and all clients come back at once after a restart.
    """
    line = _REQUEST_LINE.match(head)
    if line is None:
        return None
    method, target, version = line.group("method", "target", "version")
    text = head[line.end() : -4]
    lines = text.split(b"\r\n")
    if len(lines) > MOST_HEADERS:
        return None
    # A regular expression for all headers took half the time of reading a head.
    if text.translate(None, _PLAIN_CHARACTERS) != b"\r\n" * (len(lines) - 1):
        return None
    headers: list[tuple[bytes, bytes]] = []
    hosts = 0
    for field_line in lines:
        name, _, value = field_line.partition(b": ")
        if not name or name.translate(None, _NAME_CHARACTERS) or not value or value != value.strip():
            return None
        name = name.lower()
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                return None
        elif name in (b"content-length", b"transfer-encoding"):
            return None
        headers.append((name, value))
    plain = target.startswith(b"/") and method != b"CONNECT" and version in (b"1.0", b"1.1")
    return Head(method, target, headers, version) if plain and hosts == 1 else None


def _parse(head: bytes) -> Head:
    line = _REQUEST_LINE.match(head)
    if line is None or _FOLDED.search(head):
        raise Refused(400, "This is not an HTTP request.")
    if line["version"] not in (b"1.0", b"1.1"):
        raise Refused(505, "This server supports only HTTP/1.0 and HTTP/1.1.")
    target, authority = _resolve_target(line["method"], line["target"])
    if head.count(b"\r\n") > MOST_HEADERS + 2:  # the request line, and the empty one
        raise Refused(431, f"A request may have {MOST_HEADERS} headers at most.")
    headers = _parse_headers(head)
    if authority is not None:
        headers = [(b"host", authority), *((name, value) for name, value in headers if name != b"host")]
    return Head(line["method"], target, headers, line["version"])


def _parse_headers(head: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Return the headers of a request, read by h11. Raises `Refused`."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    try:
        parser.receive_data(head)
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise Refused(error.error_status_hint, "This is not an HTTP request.") from None
    if not isinstance(request, h11.Request):
        raise Refused(400, "This is not an HTTP request.")
    headers = list(request.headers)
    _check_values(headers)
    names = dict(headers)
    if b"transfer-encoding" in names:
        # Both at once are used for request smuggling (RFC 9112, section 6.1).
        if b"content-length" in names:
            raise Refused(400, "A request may have a Content-Length or a Transfer-Encoding, not both.")
        raise Refused(411, "A request with a body needs a Content-Length.")
    return headers


def _resolve_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Return the path and query of a target, or `*`, and the authority where the target has one. Raises `Refused`.

    A target in absolute form has an authority, which replaces the Host header (RFC 9112, section 3.2.2).
    """
    if method == b"CONNECT":
        raise Refused(400, "This server is not a proxy.")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refused(400, "The target of a request has to be a path, or a whole http or https URL.")
    authority, rest = absolute["authority"], absolute["rest"]
    if not _HOST.fullmatch(authority):
        raise Refused(400, "The URL of the request has no valid host.")
    if not rest and method == b"OPTIONS":
        return b"*", authority  # RFC 9112, section 3.2.4
    return (rest if rest.startswith(b"/") else b"/" + rest), authority


def _check_values(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise `Refused` where a header that the server or a library reads has an invalid value."""
    for name, value in headers:
        if not value.isascii() and (name in _READ_HEADERS or name.startswith(_READ_PREFIX)):
            raise Refused(400, f"The header {name.decode('ascii')} contains bytes that are not ASCII.")
        if name == b"host" and not _HOST.fullmatch(value):
            raise Refused(400, "The Host header is not a valid host.")
