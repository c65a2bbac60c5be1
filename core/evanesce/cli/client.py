"""A client of protocol version 1 over WebSocket: send commands, and receive their replies and all events in order."""

from __future__ import annotations

import itertools
import os
import ssl
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
"""How long the reply to a command may take. The deadlines of a server are much shorter."""

WAITING_EVENTS = 1024
"""How many events may wait to be read. With more, the client stops reading from the network."""

Fields = dict[str, Any]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_frame: msgspec.json.Decoder[list[Fields]] = msgspec.json.Decoder(list[Fields])


class Unreachable(EvanesceError):
    """No connection could be opened."""


class Disconnected(EvanesceError):
    """The connection was closed or does not answer, so it is unknown whether the command was carried out."""


class Refused(EvanesceError):
    """The server replied with `error`: `code` is that of the protocol, `retry_after` is in seconds."""

    def __init__(self, error: Fields) -> None:
        super().__init__(str(error.get("message", "")))
        self.code = str(error.get("code", ""))
        self.retry = error.get("retry") is True
        self.retry_after: float | None = error.get("retryAfter")


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a connection was closed: `code` is 1006 if the server sent none, `reconnect_after` is in seconds."""

    code: int
    reason: str = ""
    reconnect: bool = True
    reconnect_after: float | None = None

    def __str__(self) -> str:
        return self.reason or f"it was closed with code {self.code}"


@dataclass(slots=True)
class _Call:
    done: trio.Event = field(default_factory=trio.Event)
    reply: Fields | None = None


class Client:
    """A connection. `events` receives all replies and events in order, and ends with the connection.

    `close_reason` is None while the connection is open.
    """

    def __init__(self, socket: WebSocketConnection, stream: Stream) -> None:
        self._socket = socket
        self._stream = stream
        self._refs = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._goodbye: Fields | None = None
        self._incoming, self.events = trio.open_memory_channel[Fields](WAITING_EVENTS)
        self.close_reason: CloseReason | None = None

    @classmethod
    async def open(cls, nursery: trio.Nursery, url: str) -> Client:
        """Connect to `url`. Tasks in `nursery` run the connection, and raise nothing there. Raises `Unreachable`."""
        client: Client = await nursery.start(cls._hold, url)
        return client

    @classmethod
    async def _hold(cls, url: str, task_status: trio.TaskStatus[Client]) -> None:
        client: Client | None = None
        failure = "no answer"
        # trio-websocket does not close the stream if the server has closed the connection.
        async with await _connect(url) as stream:
            try:
                async with trio.open_nursery() as nursery:
                    parts = urlsplit(url)
                    resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
                    opening = trio.move_on_after(CONNECT_SECONDS)
                    watched = _EndReportingStream(stream, opening.cancel)
                    typed = cast("Stream", watched)  # any stream works: the annotation is too narrow
                    with opening:
                        socket = await wrap_client_stream(
                            nursery, typed, parts.netloc, resource, subprotocols=[SUBPROTOCOL]
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
                failure = f"it answers with HTTP status {_first(rejected).status_code}"
            except* h11.LocalProtocolError:
                failure = "it does not speak WebSocket"
            except* LocalProtocolError:
                pass  # the answer to a ping during the closing handshake (python-trio/trio-websocket#184)
            finally:
                if client is not None:
                    client._end()
        if client is None:
            raise Unreachable(failure)

    async def request(self, command: Fields) -> Fields:
        """Send `command`, and return its reply. Raises `Refused` and `Disconnected`.

        Meanwhile, another task has to read `events`, or there must be room for the events before the reply.
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
            lost = (
                "there was no answer in time"
                if self.close_reason is None
                else f"the connection is lost: {self.close_reason}"
            )
            raise Disconnected(lost)
        if call.reply["type"] == "error":
            raise Refused(call.reply)
        return call.reply

    async def send(self, command: Fields) -> None:
        """Send `command` without waiting for a reply. Raises `Disconnected`."""
        await self.send_text(msgspec.json.encode(command).decode())

    async def send_text(self, text: str) -> None:
        """Send a frame that need not be a command. Raises `Disconnected`."""
        try:
            await self._socket.send_message(text)
        except ConnectionClosed:
            raise Disconnected("the connection is lost") from None

    async def aclose(self) -> None:
        """Close the connection."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._socket.aclose()

    async def abort(self) -> None:
        """Close the TCP connection without a closing handshake."""
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
            self.close_reason = CloseReason(code, reason, reconnect)
        else:
            goodbye = self._goodbye
            self.close_reason = CloseReason(
                code, goodbye["reason"], goodbye["reconnect"], goodbye.get("reconnectAfter")
            )
        self._incoming.close()
        for call in self._calls.values():
            call.done.set()


class _EndReportingStream(trio.abc.Stream):
    """A stream that calls `on_end` when it ends.

    trio-websocket 0.12 waits for ever if the connection ends before or during the opening handshake.
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
            except BaseException:  # also when cancelled: nothing else closes the socket yet
                await trio.aclose_forcefully(secure)
                raise
            return secure
    except trio.TooSlowError:
        raise Unreachable("no answer") from None
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            raise Unreachable("it does not speak TLS: maybe the link has to begin with http://") from error
        raise Unreachable(str(cause or "the connection is lost")) from error
    except OSError as error:
        raise Unreachable(_reason(error)) from error


def _reason(error: OSError) -> str:
    """Return the system's text for the reason.

    The error of Trio has that of the system as its cause: in a group if the host name has several addresses.
    """
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return error.strerror or str(error)


def _first(group: ExceptionGroup[ConnectionRejected]) -> ConnectionRejected:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)
    return error
