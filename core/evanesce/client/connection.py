"""One connection of a client over WebSocket: send commands, and receive their replies and all events in order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import h11
import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from evanesce.client.errors import Disconnected, Refused, Unreachable
from evanesce.client.streams import CONNECT_SECONDS, Stream, WatchedStream, open_stream
from evanesce.errors import CloseCode

SUBPROTOCOL = "evanesce.v1"
CLOSE_SECONDS = 2
ANSWER_SECONDS = 15
"""How long the reply to a command may take. The deadlines of a server are much shorter."""

WAITING_EVENTS = 1024
"""How many events may wait to be read. With more, the client stops reading from the network."""

Fields = dict[str, Any]

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
    async def open(cls, nursery: trio.Nursery, url: str) -> Connection:
        """Connect to `url`. Tasks in `nursery` run the connection, and raise nothing there. Raises `Unreachable`."""
        connection: Connection = await nursery.start(cls._hold, url)
        return connection

    @classmethod
    async def _hold(cls, url: str, task_status: trio.TaskStatus[Connection]) -> None:
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
                    typed = cast("Stream", watched)  # any stream works: the annotation is too narrow
                    with opening:
                        socket = await wrap_client_stream(
                            nursery, typed, parts.netloc, resource, subprotocols=[SUBPROTOCOL]
                        )
                        connection = cls(socket, stream)
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


def _first(group: ExceptionGroup[ConnectionRejected]) -> ConnectionRejected:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)
    return error
