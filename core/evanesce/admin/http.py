"""One request of an operator over HTTP/1.1: read within bounds, and answered. Then the connection ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

import h11
import trio

from evanesce.confidential import Confidential

HEAD_BYTES = 16 * 1024
"""The longest request line with all headers."""

BODY_BYTES = 16 * 1024
"""The longest body of a request."""

READ_SECONDS = 5.0
"""How long a client may take to send a request."""

WORK_SECONDS = 60.0
"""How long a request may take to be carried out."""

SEND_SECONDS = 10.0
"""How long a client may take to receive the answer."""

_READ_BYTES = 16 * 1024

MOST_FIELDS = 32
"""How many fields a query has at most."""


class Refused(Exception):
    """A request that cannot be understood, with the status that says why. The message is for people."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest(Confidential):
    """A request. `segments` are the decoded parts of its path, of which the first one is empty.

    `headers` have lower-case names; a header that comes twice is refused. `body` is None where there is none.
    """

    method: str
    segments: list[str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True, repr=False)
class HttpAnswer(Confidential):
    """An answer in JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str]


Handle = Callable[[HttpRequest | Refused], Awaitable[HttpAnswer]]
"""Carries out a request, or describes why it was refused."""


async def serve_request(stream: trio.abc.Stream, handle: Handle) -> None:
    """Read one request, and send what `handle` answers. Raises `trio.BrokenResourceError` where the client left.

    A client that is too slow gets no answer.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    request: HttpRequest | Refused | None = None
    with trio.move_on_after(READ_SECONDS):
        try:
            request = await _read(connection, stream)
        except h11.RemoteProtocolError as error:
            request = Refused(error.error_status_hint, "This is not a valid HTTP request.")
        except Refused as refusal:
            request = refusal
    if request is None:
        return
    answer: HttpAnswer | None = None
    with trio.move_on_after(WORK_SECONDS):
        answer = await handle(request)
    if answer is None:
        late = f"This took more than {WORK_SECONDS:g} s and was given up. A part of it may have been done."
        answer = await handle(Refused(503, late))
    with trio.move_on_after(SEND_SECONDS):
        await stream.send_all(_encoded(answer))


async def _read(connection: h11.Connection, stream: trio.abc.Stream) -> HttpRequest:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                raise Refused(417, "Send the body without waiting.")
            data = await stream.receive_some(_READ_BYTES)
            if not data and head is None and not connection.trailing_data[0]:
                raise trio.BrokenResourceError("the client left")
            connection.receive_data(bytes(data))
        elif isinstance(event, h11.Request):
            head = event
            _check_length(head)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_BYTES:
                raise Refused(413, f"A body has at most {BODY_BYTES} bytes.")
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _request(head, bytes(body))
        else:
            raise trio.BrokenResourceError("the client left")


def _check_length(head: h11.Request) -> None:
    if len(head.target) + sum(len(name) + len(value) for name, value in head.headers) > HEAD_BYTES:
        raise Refused(431, f"A request line with all headers has at most {HEAD_BYTES} bytes.")
    for name, value in head.headers:
        if name == b"content-length" and int(value) > BODY_BYTES:  # h11 lets numbers of up to 20 digits through
            raise Refused(413, f"A body has at most {BODY_BYTES} bytes.")


def _request(head: h11.Request, body: bytes) -> HttpRequest:
    headers: dict[str, str] = {}
    for raw, value in head.headers:
        name = raw.decode("ascii")
        if name in headers:
            raise Refused(400, f"The header {name} is there twice.")
        headers[name] = value.decode("latin-1")
    target = head.target.decode("ascii")
    if not target.startswith("/"):
        raise Refused(400, "The request has no path.")
    path, _, query = target.partition("?")
    try:
        segments = [unquote(segment, errors="strict") for segment in path.split("/")]
        fields = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise Refused(400, "The path or the query is not encoded as it has to be.") from None
    if len(dict(fields)) != len(fields):
        raise Refused(400, "A field of the query is there twice.")
    return HttpRequest(head.method.decode("ascii"), segments, dict(fields), headers, body or None)


def _encoded(answer: HttpAnswer) -> bytes:
    headers = {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "connection": "close",
        **answer.headers,
    }
    head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode() + answer.body
