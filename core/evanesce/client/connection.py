"""One connection of a client over WebSocket: send commands, and receive their replies and all events in order."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import h11
import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from evanesce.client.errors import NOT_THE_PROTOCOL, Disconnected, Refused, Unreachable, number
from evanesce.client.streams import CONNECT_SECONDS, OpenStream, WatchedStream, open_stream
from evanesce.errors import CloseCode

SUBPROTOCOL = "evanesce.v1"
CLOSE_SECONDS = 2
ANSWER_SECONDS = 15
"""How long the reply to a command may take. The deadlines of a server are much shorter."""

WAITING_EVENTS = 1024
"""How many events may wait to be read. With more, the client stops reading from the network."""

Fields = dict[str, Any]
Sink = Callable[[list[Fields]], Awaitable[None]]
"""Takes the replies and events of a frame. While it waits, nothing is read from the network."""

_frame: msgspec.json.Decoder[list[Fields]] = msgspec.json.Decoder(list[Fields])


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


class Connection:
    """A connection. `events` receives all replies and events in order, and ends with the connection.

    With a `sink` these get each frame whole in place of `events`. `close_reason` is None while the connection is
    open, and `closed` is set when it is not.
    """

    def __init__(self, socket: WebSocketConnection, stream: WatchedStream, sink: Sink | None) -> None:
        self._socket = socket
        self._stream = stream
        self._refs = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._goodbye: Fields | None = None
        self._incoming, self.events = trio.open_memory_channel[Fields](WAITING_EVENTS)
        self._sink = sink or self._keep
        self._fault: str | None = None
        self.delivering = False
        self.close_reason: CloseReason | None = None
        self.closed = trio.Event()

    @classmethod
    async def open(
        cls, nursery: trio.Nursery, url: str, sink: Sink | None = None, open_stream: OpenStream = open_stream
    ) -> Connection:
        """Connect to `url`. Tasks in `nursery` run the connection, and raise nothing there. Raises `Unreachable`."""
        connection: Connection = await nursery.start(cls._hold, url, sink, open_stream)
        return connection

    @classmethod
    async def _hold(
        cls, url: str, sink: Sink | None, open_stream: OpenStream, task_status: trio.TaskStatus[Connection]
    ) -> None:
        connection: Connection | None = None
        failure = "no answer"
        # trio-websocket does not close the stream if the server has closed the connection.
        async with await open_stream(url) as stream:
            try:
                async with trio.open_nursery() as nursery:
                    parts = urlsplit(url)
                    resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
                    opening = trio.move_on_after(CONNECT_SECONDS)
                    watched = WatchedStream(stream, opening.cancel)
                    typed = cast("trio.SocketStream", watched)  # any stream works: the annotation is too narrow
                    with opening:
                        socket = await wrap_client_stream(
                            nursery, typed, parts.netloc, resource, subprotocols=[SUBPROTOCOL]
                        )
                        connection = cls(socket, watched, sink)
                    if watched.ended:
                        failure = "the connection is lost"
                    if connection is not None:
                        task_status.started(connection)
                        await connection._read()
                    # The socket's own task ends with the closing handshake.
                    nursery.cancel_scope.deadline = trio.current_time() + CLOSE_SECONDS
            except* ConnectionRejected as rejected:
                failure = f"it answers with HTTP status {_first(rejected).status_code}"
            except* h11.LocalProtocolError:
                failure = "it does not speak WebSocket"
            except* LocalProtocolError:
                pass  # the answer to a ping during the closing handshake (python-trio/trio-websocket#184)
            finally:
                if connection is not None:
                    connection._end()
        if connection is None:
            raise Unreachable(failure)

    @property
    def silent_seconds(self) -> float:
        """For how many seconds nothing was heard from the server. 0 while `sink` or `events` is full.

        Nothing is read then, so that silence says nothing about the server.
        """
        return 0.0 if self.delivering else trio.current_time() - self._stream.heard_at

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
        """Send a frame that need not be a command. Raises `Disconnected`.

        To be cancelled while a part of the frame is written ends the connection: what follows would be no frame.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._socket.send_message(text)
        except ConnectionClosed:
            raise Disconnected("the connection is lost") from None
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self.abort()
            raise

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
            try:
                self._note(events := _frame.decode(frame))
                self.delivering = True
                await self._sink(events)
            except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
                # Also msgspec.ValidationError. Their text may have content.
                await self._break_off(CloseCode.PROTOCOL_VIOLATION, NOT_THE_PROTOCOL)
                return
            finally:
                self.delivering = False

    def _note(self, events: list[Fields]) -> None:
        """Take a `goodbye`, and hand over the replies that are waited for."""
        for event in events:
            if event["type"] == "goodbye":
                self._goodbye = event
            call = self._calls.get(event.get("ref", 0))
            if call is not None:
                call.reply = event
                call.done.set()

    async def _keep(self, events: list[Fields]) -> None:
        for event in events:
            await self._incoming.send(event)

    async def _break_off(self, code: int, reason: str) -> None:
        self._fault = reason
        with trio.move_on_after(CLOSE_SECONDS):
            await self._socket.aclose(code, reason)

    def _end(self) -> None:
        closed = self._socket.closed
        code, reason = (1006, "") if closed is None else (closed.code, closed.reason or "")
        if self._fault is not None:
            self.close_reason = CloseReason(code, self._fault)
        elif self._goodbye is None:
            reconnect = code == 1006 or (code in list(CloseCode) and CloseCode(code).reconnect)
            self.close_reason = CloseReason(code, reason, reconnect)
        else:
            goodbye = self._goodbye
            self.close_reason = CloseReason(
                code,
                str(goodbye.get("reason", reason)),
                goodbye.get("reconnect") is True,
                number(goodbye.get("reconnectAfter")),
            )
        self._incoming.close()
        self.closed.set()
        for call in self._calls.values():
            call.done.set()


def _first(group: ExceptionGroup[ConnectionRejected]) -> ConnectionRejected:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)
    return error
