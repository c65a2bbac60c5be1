"""The table of what a client may send to a transport, and of other asynchronous parsers."""

from __future__ import annotations

import contextlib
import functools
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import trio
import trio.testing

from evanesce.errors import EvanesceError
from evanesce.interfaces import Connection
from evanesce.store.cursor import Cursor
from evanesce.store.presence import PresenceSnapshot
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.feed import RoomFeed
from evanesce.store.redis.message_log import Reading, RedisMessageLog
from evanesce_plugins.provider_http import ANSWER_BYTES
from evanesce_plugins.worldid.portal import Portal
from evanesce_plugins.worldid.proof import check
from evanesce_transports.request import HEAD_BYTES, Refused, read_body, read_head
from tests.hostile import costs
from tests.hostile.calls import FRAMES, HEADERS, Parser
from tests.hostile.shapes import BROKEN, TEXTS, VALUES, BytesShape, TextShape, encoded, numbered, repeated
from tests.plugins.worldid import results
from tests.plugins.worldid.scripted import scripted_portal
from tests.transports.serving import QUART, TRANSPORTS, FakeGateway, Listening, listening, read_all, upgrade_request


def waiting(
    name: str,
    parse: Callable[[Any, costs.Steps], Any],
    shapes: Mapping[str, Callable[[int], Any]],
    most: int = costs.LARGEST,
) -> Parser:
    """Return a row of an asynchronous parser."""
    return Parser(name, costs.of_task(parse), shapes, most)


# Requests and frames, on sockets


async def request(transport: str, data: bytes, steps: costs.Steps) -> None:
    """Send a request to a transport that has served one before, and read the answer."""
    async with listening(FakeGateway(), transport) as server:
        await server.exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await steps.restart()
        await send(server, data)


async def frames(transport: str, data: bytes, steps: costs.Steps) -> None:
    """Send frames over a WebSocket to a server that reads all messages and sends none."""
    gateway = FakeGateway()

    async def listen(connection: Connection) -> None:
        while await connection.receive() is not None:
            pass

    gateway.handle = listen
    async with listening(gateway, transport) as server, await server.upgraded() as stream:
        await steps.restart()
        await exchange(stream, data)


async def send(server: Listening, data: bytes) -> None:
    async with await server.raw() as stream:
        await exchange(stream, data)


async def exchange(stream: trio.SocketStream, data: bytes) -> None:
    """Send `data` as far as the server reads it, and read until the end meanwhile."""

    async def write() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await read_all(stream)


def heads() -> dict[str, BytesShape]:
    """Return requests whose head is large in one place."""
    upgrade = upgrade_request()[:-2].decode()
    shapes: dict[str, TextShape] = {
        "a method": repeated("G", "", " / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a path": repeated("a", "GET /", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a path of slashes": repeated("/", "GET /", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a path of parts": repeated("a/", "GET /api/v1/rooms/", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a path of percents": repeated("%", "GET /", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "an encoded path": repeated("%41", "GET /", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a query": repeated("a=b&", "GET /api/v1/rooms?", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a query of signs": repeated("&", "GET /api/v1/rooms?", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "an encoded query": repeated("%C3", "GET /api/v1/rooms?after=", " HTTP/1.1\r\nHost: x\r\n\r\n"),
        "labels of a host": repeated("a.", "GET / HTTP/1.1\r\nHost: ", "!\r\n\r\n"),
        "long labels of a host": repeated("a" * 63 + ".", "GET / HTTP/1.1\r\nHost: ", "!\r\n\r\n"),
        "international labels of a host": repeated(
            "xn--" + "a" * 59 + ".", upgrade.replace("host: x", "host: "), "\r\n"
        ),
        "colons of a host": repeated(":", "GET / HTTP/1.1\r\nHost: [", "\r\n\r\n"),
        "hosts": repeated("Host: a\r\n", "GET / HTTP/1.1\r\n", "\r\n"),
        "headers": numbered("a%d:\r\n", "GET / HTTP/1.1\r\nHost: x\r\n", "\r\n"),
        "one header": repeated("a:\r\n", "GET / HTTP/1.1\r\nHost: x\r\n", "\r\n"),
        "a header's name": repeated("a", "GET / HTTP/1.1\r\nHost: x\r\n", ":\r\n\r\n"),
        "a line that is no header": repeated("a", "GET / HTTP/1.1\r\nHost: x\r\n", "\r\n\r\n"),
        "folded lines": repeated("\r\n ", "GET / HTTP/1.1\r\nHost: x\r\na:", "\r\n\r\n"),
        "white space in a header": repeated(" \t", "GET / HTTP/1.1\r\nHost: x\r\na: x", "x\r\n\r\n"),
        "no line": repeated("a"),
        "lines": repeated("\r\n"),
        "half lines": repeated("\r"),
        "a length": repeated("9", "POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: ", "\r\n\r\n"),
        "lengths": repeated("1,", "POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: ", "1\r\n\r\n"),
        "codings": repeated("chunked,", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ", "\r\n\r\n"),
        "expectations": repeated("a,", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: ", "\r\n\r\nx"),
        "cookies": repeated("a=b;", "GET / HTTP/1.1\r\nHost: x\r\nCookie: ", "\r\n\r\n"),
        "ranges": repeated("1-2,", "GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=", "\r\n\r\n"),
        "kinds of content": repeated("a/b;q=0.1,", "GET / HTTP/1.1\r\nHost: x\r\nAccept: ", "\r\n\r\n"),
        "entity tags": repeated('"a",', "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: ", "\r\n\r\n"),
        "a token": repeated("a", "GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ", "\r\n\r\n"),
        "an origin": repeated("a", "OPTIONS /api/v1/me HTTP/1.1\r\nHost: x\r\nOrigin: ", "\r\n\r\n"),
        "upgrades": repeated("a,", upgrade.replace("upgrade: websocket", "upgrade: websocket,"), "\r\n"),
        "subprotocols": repeated("a,", upgrade + "sec-websocket-protocol: ", "\r\n\r\n"),
        "extensions": repeated("a;", upgrade + "sec-websocket-extensions: ", "\r\n\r\n"),
        "offers of an extension": repeated("permessage-deflate,", upgrade + "sec-websocket-extensions: ", "\r\n\r\n"),
        "a key": repeated("=", upgrade.replace("key: ", "key: ="), "\r\n"),
        "headers of an upgrade": repeated("a:\r\n", upgrade, "\r\n"),
    }
    return {name: encoded(shape) for name, shape in shapes.items()}


def bodies() -> dict[str, BytesShape]:
    """Return requests with a large body: the routes that read one read it alike."""
    shapes: dict[str, BytesShape] = {}
    for name, value in (VALUES | BROKEN).items():
        shapes[f"a credential: {name}"] = _posted("POST", "/api/v1/session", "", value)
    for name, value in VALUES.items():
        shapes[f"in a credential: {name}"] = _posted("POST", "/api/v1/session", '{"provider":"guest","a":', value)
        shapes[f"a name: {name}"] = _posted("PATCH", "/api/v1/me", '{"displayName":', value)
    return shapes


def _posted(method: str, path: str, before: str, value: TextShape) -> BytesShape:
    def shape(size: int) -> bytes:
        text = before + value(size - len(before) - 1) + ("}" if before else "")
        body = text.encode("utf-8", "surrogatepass")[: costs.LARGEST]
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    return shape


class Drip(trio.abc.Stream):
    """A stream that returns its data in single bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self._at += 1
        return self._data[self._at - 1 : self._at]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def granted(size: int) -> None:
    """Reserve bytes: there are always enough."""
    await trio.lowlevel.checkpoint()


async def head_in_bytes(data: bytes, steps: costs.Steps) -> None:
    with contextlib.suppress(Refused):
        await read_head(Drip(data), bytearray(), granted, deadline=math.inf)


async def body_in_bytes(data: bytes, steps: costs.Steps) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
    incoming = await read_head(Whole(head), bytearray(), granted, deadline=math.inf)
    assert incoming is not None
    await steps.restart()
    assert len(await read_body(incoming, Drip(data), costs.LARGEST, granted)) == len(data)


class Whole(Drip):
    """A stream that returns all its data at once."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self._data = self._data, b""
        return data


# What World's portal and Redis say


async def portal_answer(answer: bytes, steps: costs.Steps) -> None:
    """Verify a proof with a portal that answers with `answer`, head and body."""
    async with scripted_portal() as scripted, Portal(scripted.url, "rp_0123456789abcdef", 5) as portal:
        scripted.answer = answer
        await steps.restart()
        with contextlib.suppress(EvanesceError):
            await portal.status()
        with contextlib.suppress(EvanesceError):
            await portal.verify(check(results.result(), results.wanted(), results.settings()))


def _answered(body: bytes, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in ("Connection: close", f"Content-Length: {len(body)}", *lines))
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body


def _portal(shape: TextShape) -> BytesShape:
    return lambda size: _answered(shape(size).encode("utf-8", "surrogatepass"))


def _dated(shape: TextShape) -> BytesShape:
    return lambda size: _answered(b"{}", "Date: " + shape(size))


def _bomb(size: int) -> bytes:
    """Return an answer of `size` bytes that is a thousand times as large when it is decompressed."""
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(bytes(size * 1000)) + packer.flush()
    return _answered(packed, "Content-Encoding: gzip")


class StillLog(RedisMessageLog):
    """A room's log in which nothing ever happened."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._ttl = 60_000
        self._cipher = None

    async def read(self, room_id: str, behind: Cursor | None, entries: int) -> Reading:
        await trio.lowlevel.checkpoint()
        return Reading(Cursor("e", 1, 0, 0), 0, None, [], 0)

    async def renew(self, room_id: str, epoch: str) -> None:
        await trio.lowlevel.checkpoint()


class StillPresence:
    """A presence without members."""

    async def snapshot(self, room_id: str, roster: int) -> PresenceSnapshot:
        await trio.lowlevel.checkpoint()
        return PresenceSnapshot(0, 0, ())

    async def restore(self, room_id: str) -> None:
        await trio.lowlevel.checkpoint()

    def forget(self, room_id: str) -> None:
        pass

    def suspect(self, room_id: str) -> None:
        pass


async def published(payload: bytes, steps: costs.Steps) -> None:
    """Read by a follower of a room what was published for it."""
    presence: Any = StillPresence()
    feed = RoomFeed("r", 0, StillLog(), presence)
    feed.subscribed()
    await feed.start()
    await steps.restart()
    feed.push([payload])

    async def read() -> None:
        while True:
            await feed.next()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()  # there is nothing left to read
        nursery.cancel_scope.cancel()


MESSAGE = (
    '{"roomId":"r","messageId":"m","senderId":"s","senderName":"n","content":"c",'
    '"createdAt":"2026-01-01T00:00:00.000Z","expiresAt":"2026-01-01T00:01:00.000Z"}'
)


def payloads() -> dict[str, BytesShape]:
    """Return lines of each kind that no server of Evanesce publishes."""
    shapes: dict[str, TextShape] = dict(TEXTS)
    for kind in (
        "m 1 1 1 9 ",
        "w 1 1 1 ",
        "e 1 1 u ",
        "r 1 1 u ",
        "d 1 1 ",
        "t ",
        "x ",
        "o 1 1 link 0 0 ",
        "k 1 0 u ",
        "q ",
        "b 1 1 1 0 ",
    ):
        for name, value in (VALUES | BROKEN).items():
            shapes[f"{kind}{name}"] = _line("e\n" + kind, value)
    shapes |= {
        "lines": repeated("\n", "e"),
        "typing": repeated("t u\n", "-\n", "t u"),
        "messages": repeated(f"m 1 1 1 9 {MESSAGE}\n", "e\n", "t u"),
        "people": numbered('e 1 %d u "n"\n', "e\n", "t u"),
        "people with one number": repeated('e 1 1 u "n"\n', "e\n", "t u"),
        "digits of a number": repeated("9", "e\nm 1 ", " 1 9 {}"),
        "digits of a version": repeated("9", "e\nd 1 ", " u"),
        "spaces": repeated(" ", "e\nm "),
    }
    return {name: functools.partial(_utf8, shape) for name, shape in shapes.items()}


def _utf8(shape: TextShape, size: int) -> bytes:
    return shape(size).encode("utf-8", "surrogatepass")


def _line(before: str, value: TextShape) -> TextShape:
    return lambda size: before + value(size - len(before))


WAITING = [
    *(waiting(f"a request, {name}", functools.partial(request, name), heads(), HEAD_BYTES) for name in TRANSPORTS),
    waiting(f"a body, {QUART}", functools.partial(request, QUART), bodies()),
    *(waiting(f"frames, {name}", functools.partial(frames, name), FRAMES) for name in TRANSPORTS),
    waiting(
        "a head in single bytes",
        head_in_bytes,
        {name: heads()[name] for name in ("a path", "headers", "a header's name", "lines", "white space in a header")},
        HEAD_BYTES,
    ),
    waiting("a body in single bytes", body_in_bytes, {"letters": lambda size: b"a" * size}),
    waiting(
        "an answer of World's portal",
        portal_answer,
        {name: _portal(shape) for name, shape in (VALUES | BROKEN).items()}
        | {
            f"a date of {name}": _dated(shape)
            for name, shape in TEXTS.items()
            if shape(64).isascii() and name in HEADERS
        }
        | {
            "results": _portal(repeated("{},", '{"success":true,"results":[', "{}]}")),
            "a nullifier": _portal(repeated("f", '{"success":true,"results":[{"success":true}],"nullifier":"0x', '"}')),
            "a code": _portal(repeated("a", '{"code":"', '"}')),
            "what was compressed": _bomb,
        },
        ANSWER_BYTES,
    ),
    waiting("what Redis publishes for a room", published, payloads()),
]
