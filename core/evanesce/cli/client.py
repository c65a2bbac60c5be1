"""A client of protocol version 1 over WebSocket: commands out; their replies, and every event in order, in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import h11
import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from evanesce.errors import CloseCode, EvanesceError

SUBPROTOCOL = "evanesce.v1"
CONNECT_SECONDS = 10
CLOSE_SECONDS = 2
ANSWER_SECONDS = 15
"""How long a command's reply may take: a server's own bounds are well below it."""

WAITING_EVENTS = 1024
"""How many events may wait for their reader; behind that the network waits."""

Fields = dict[str, Any]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_ROOM = re.compile(r"(?P<base>.*)/r/(?P<room>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?", re.IGNORECASE)
_frame: msgspec.json.Decoder[list[Fields]] = msgspec.json.Decoder(list[Fields])


class BadLink(EvanesceError):
    """This is no deep link."""


class Unreachable(EvanesceError):
    """No connection could be made."""


class Disconnected(EvanesceError):
    """The connection is gone, or does not answer: whether the command was carried out is not known."""


class Refused(EvanesceError):
    """The server answered `error`: `code` as the protocol has it, `retry_after` in seconds."""

    def __init__(self, error: Fields) -> None:
        super().__init__(str(error.get("message", "")))
        self.code = str(error.get("code", ""))
        self.retry = error.get("retry") is True
        self.retry_after: float | None = error.get("retryAfter")


@dataclass(frozen=True, slots=True)
class DeepLink:
    """A room's address: `url` is the server's WebSocket endpoint, `host` what a person calls it."""

    url: str
    host: str
    room_id: str

    @classmethod
    def parse(cls, link: str) -> DeepLink:
        """Read `http(s)://HOST[:PORT]/r/ROOMID`. Raises `BadLink`."""
        try:
            parts = urlsplit(link.strip())
            port = parts.port
        except ValueError:
            raise BadLink("this is no link") from None
        path = _ROOM.fullmatch(parts.path)
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or path is None:
            raise BadLink("a link looks like http://HOST:PORT/r/ROOMID, as the page gives it")
        host = parts.netloc.rpartition("@")[2]
        scheme = "wss" if parts.scheme == "https" else "ws"
        return cls(f"{scheme}://{host}{path['base']}/ws", host, path["room"].lower())


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended: `code` 1006 where nothing was said; `reconnect_after` in seconds."""

    code: int
    reason: str = ""
    reconnect: bool = True
    reconnect_after: float | None = None

    def __str__(self) -> str:
        return self.reason or f"it ended with code {self.code}"


@dataclass(slots=True)
class _Call:
    done: trio.Event = field(default_factory=trio.Event)
    reply: Fields | None = None


class Client:
    """One connection. `events` has every reply and event in order, and ends when the connection does."""

    def __init__(self, socket: WebSocketConnection, stream: Stream) -> None:
        self._socket = socket
        self._stream = stream
        self._refs = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._goodbye: Fields | None = None
        self._incoming, self.events = trio.open_memory_channel[Fields](WAITING_EVENTS)
        self.ending: Ending | None = None
        """How it ended; None while it lasts."""

    @classmethod
    async def open(cls, nursery: trio.Nursery, url: str) -> Client:
        """Connect to `url`; the connection lives in `nursery`, and harms nothing else there. Raises `Unreachable`."""
        client: Client = await nursery.start(cls._hold, url)
        return client

    @classmethod
    async def _hold(cls, url: str, task_status: trio.TaskStatus[Client]) -> None:
        client: Client | None = None
        failure = "no answer"
        # trio-websocket does not close the stream where the server has closed the connection: it is ours.
        async with await _connect(url) as stream:
            try:
                async with trio.open_nursery() as nursery:
                    parts = urlsplit(url)
                    opening = trio.move_on_after(CONNECT_SECONDS)
                    watched = _Watched(stream, opening.cancel)
                    typed = cast("Stream", watched)  # any stream would do: its hints are narrower than what it says
                    with opening:
                        socket = await wrap_client_stream(
                            nursery, typed, parts.netloc, parts.path, subprotocols=[SUBPROTOCOL]
                        )
                        client = cls(socket, stream)
                    if watched.ended:
                        failure = "the connection is lost"
                    if client is not None:
                        task_status.started(client)
                        await client._read()
                    # The socket's own task ends with the closing handshake.
                    nursery.cancel_scope.deadline = trio.current_time() + CLOSE_SECONDS
            except* ConnectionRejected as rejected:
                failure = f"it answers with HTTP {_first(rejected).status_code}"
            except* h11.LocalProtocolError:
                failure = "what answers there does not speak WebSocket"
            except* LocalProtocolError:
                pass  # it answers a ping that comes during the closing handshake (python-trio/trio-websocket#184)
            finally:
                if client is not None:
                    client._end()
        if client is None:
            raise Unreachable(failure)

    async def request(self, command: Fields) -> Fields:
        """Send `command`; give its reply. Raises `Refused`, `Disconnected`.

        `events` must be read meanwhile, or have room for what comes before the reply.
        """
        ref = next(self._refs)
        call = self._calls[ref] = _Call()
        try:
            with trio.move_on_after(ANSWER_SECONDS):
                await self.send(command | {"ref": ref})
                await call.done.wait()
        finally:
            del self._calls[ref]
        if call.reply is None:
            lost = "no answer came in time" if self.ending is None else f"the connection is lost: {self.ending}"
            raise Disconnected(lost)
        if call.reply["type"] == "error":
            raise Refused(call.reply)
        return call.reply

    async def send(self, command: Fields) -> None:
        """Send `command`, and wait for no reply. Raises `Disconnected`."""
        try:
            await self._socket.send_message(msgspec.json.encode(command).decode())
        except ConnectionClosed:
            raise Disconnected("the connection is lost") from None

    async def aclose(self) -> None:
        """Leave."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._socket.aclose()

    async def abort(self) -> None:
        """Let the connection go without a word."""
        await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        while True:
            try:
                frame = await self._socket.get_message()
            except ConnectionClosed:
                return
            for event in _frame.decode(frame):
                if event["type"] == "goodbye":
                    self._goodbye = event
                call = self._calls.get(event.get("ref", 0))
                if call is not None:
                    call.reply = event
                    call.done.set()
                await self._incoming.send(event)

    def _end(self) -> None:
        closed = self._socket.closed
        code, reason = (1006, "") if closed is None else (closed.code, closed.reason or "")
        if self._goodbye is None:
            reconnect = code == 1006 or (code in list(CloseCode) and CloseCode(code).reconnect)
            self.ending = Ending(code, reason, reconnect)
        else:
            goodbye = self._goodbye
            self.ending = Ending(code, goodbye["reason"], goodbye["reconnect"], goodbye.get("reconnectAfter"))
        self._incoming.close()
        for call in self._calls.values():
            call.done.set()


class _Watched(trio.abc.Stream):
    """A stream that says when it ends.

    trio-websocket 0.12 goes on waiting for the opening handshake when the connection ends before or in it.
    """

    def __init__(self, stream: Stream, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end
        self.ended = False

    def _end(self) -> None:
        self.ended = True
        self._on_end()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._end()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            received = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._end()
            raise
        if not received:
            self._end()
        return received

    async def aclose(self) -> None:
        self._end()
        await self._stream.aclose()


async def _connect(url: str) -> Stream:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if parts.scheme == "ws":
                return await trio.open_tcp_stream(host, parts.port or 80)
            secure = await trio.open_ssl_over_tcp_stream(host, parts.port or 443, https_compatible=True)
            try:
                await secure.do_handshake()
            except BaseException:  # cancelled too: nobody else has the socket yet
                await trio.aclose_forcefully(secure)
                raise
            return secure
    except trio.TooSlowError:
        raise Unreachable("no answer") from None
    except trio.BrokenResourceError as error:
        raise Unreachable(str(error.__cause__ or "the connection is lost")) from error
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from error


def _first(group: ExceptionGroup[ConnectionRejected]) -> ConnectionRejected:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)
    return error
