"""The HTTP request of a client: its head, its path and its body, read strictly and within limits.

The libraries behind this module get only requests that are valid HTTP/1.1.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

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

    An error that is only a message has the code `bad_frame`.
    """

    def __init__(self, status: int, error: CommandError | str) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = CommandError(ErrorCode.BAD_FRAME, error) if isinstance(error, str) else error


@dataclass(slots=True)
class Request:
    """A request whose head was read. `rest` are the bytes that came after the head.

    The target of `head` may be replaced, but not its headers, which are read again and again: h11's list of them is
    slow.
    """

    head: h11.Request
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
        elements = (element.strip() for value in self.values(name) for element in value.split(b","))
        return [element for element in elements if element]

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

    def strip_request(self, head: h11.Request) -> h11.Request:
        """Return the request with this path removed from its target."""
        target = self.strip(head.target)
        if target == head.target:
            return head
        return h11.Request(
            method=head.method, headers=list(head.headers), target=target, http_version=head.http_version
        )


Reserve = Callable[[int], Awaitable[None]]
"""Reserves memory for a number of bytes, or raises `Refused`."""


async def read_head(
    stream: trio.abc.ReceiveStream, data: bytearray, reserve: Reserve, *, deadline: float
) -> Request | None:
    """Read the head of a request; None where the client left, or `deadline` passed. Raises `Refused`.

    The bytes are added to `data`, so that the caller can answer a request that is refused. `reserve` is called for a
    head that is larger than usual.
    """
    searched = 0  # how many bytes of `data` were searched
    allowed = FREE_BYTES
    with trio.move_on_at(deadline):
        while True:
            end = data.find(b"\r\n\r\n", max(0, searched - 3))
            head_end = len(data) if end < 0 else end + 4
            if head_end > HEAD_BYTES:
                raise Refused(431, f"The request line and the headers may have {HEAD_BYTES} bytes at most.")
            if _INVALID.search(data, max(0, searched - 1), head_end):
                raise Refused(400, "Each header has to end with CR LF, and may not contain control characters.")
            if end >= 0:
                return Request(_parse(bytes(data[:head_end])), bytes(data[head_end:]))
            searched = len(data)
            if len(data) >= allowed:
                await reserve(HEAD_BYTES)
                allowed = HEAD_BYTES + _READ_BYTES
            chunk = await receive(stream, min(_READ_BYTES, allowed - len(data)))
            if not chunk:
                return None
            data += chunk
    return None


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


def _parse(head: bytes) -> h11.Request:
    line = _REQUEST_LINE.match(head)
    if line is None or _FOLDED.search(head):
        raise Refused(400, "This is not an HTTP request.")
    if line["version"] not in (b"1.0", b"1.1"):
        raise Refused(505, "This server supports only HTTP/1.0 and HTTP/1.1.")
    target, authority = _resolve_target(line["method"], line["target"])
    if head.count(b"\r\n") > MOST_HEADERS + 2:  # the request line, and the empty one
        raise Refused(431, f"A request may have {MOST_HEADERS} headers at most.")
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    try:
        parser.receive_data(head)
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise Refused(error.error_status_hint, "This is not an HTTP request.") from None
    if not isinstance(request, h11.Request):
        raise Refused(400, "This is not an HTTP request.")
    headers = dict(request.headers)
    _check_values(request)
    if b"transfer-encoding" in headers:
        # Both at once are used for request smuggling (RFC 9112, section 6.1).
        if b"content-length" in headers:
            raise Refused(400, "A request may have a Content-Length or a Transfer-Encoding, not both.")
        raise Refused(411, "A request with a body needs a Content-Length.")
    if target == request.target:
        return request
    return h11.Request(
        method=request.method,
        target=target,
        headers=[(b"host", authority), *((name, value) for name, value in request.headers if name != b"host")]
        if authority is not None
        else request.headers,
        http_version=request.http_version,
    )


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


def _check_values(request: h11.Request) -> None:
    """Raise `Refused` where a header that the server or a library reads has an invalid value."""
    for name, value in request.headers:
        if not value.isascii() and (name in _READ_HEADERS or name.startswith(_READ_PREFIX)):
            raise Refused(400, f"The header {name.decode('ascii')} contains bytes that are not ASCII.")
        if name == b"host" and not _HOST.fullmatch(value):
            raise Refused(400, "The Host header is not a valid host.")
