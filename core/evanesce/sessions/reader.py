"""The reading side of a connection: frames become commands, within the limits, and are executed one after the other."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from evanesce import tracing
from evanesce.errors import CloseCode, CommandError, ErrorCode, RateLimited
from evanesce.interfaces import Connection
from evanesce.metrics import Metrics
from evanesce.plugins.faults import is_cancellation
from evanesce.protocol import codec, commands
from evanesce.sessions.dispatch import Dispatcher, internal_error
from evanesce.sessions.read_ahead import ReadAhead, asks_provider, is_ping
from evanesce.sessions.session import Session

BAD_FRAMES = 20
"""How many bad frames in a row end a connection."""


_SPANS: Mapping[type[commands.Command], str] = {
    commands.Hello: "sign-in",
    commands.Join: "join",
    commands.Send: "send",
}
"""The commands that are traced, by the names of their spans."""


class FrameReader:
    """Reads the frames of one connection for its session. `frame_bytes` bounds what is read ahead."""

    __slots__ = (
        "_bad_frames",
        "_connection",
        "_dispatcher",
        "_metrics",
        "_reads_ahead",
        "_session",
        "ahead",
        "waiting",
    )

    def __init__(
        self,
        connection: Connection,
        session: Session,
        dispatcher: Dispatcher,
        metrics: Metrics,
        *,
        frame_bytes: int,
    ) -> None:
        self._connection = connection
        self._session = session
        self._dispatcher = dispatcher
        self._metrics = metrics
        self.ahead = ReadAhead(frame_bytes)
        """The frames that were read ahead: take them before `receive`."""
        self._bad_frames = 0  # in a row
        self._reads_ahead = False  # a command is being executed meanwhile
        self.waiting = False
        """Whether it waits for a frame."""

    async def receive(self) -> str | bytes | None:
        """Wait for the next frame; None when the client has left."""
        self.waiting = True
        try:
            return await self._connection.receive()
        finally:
            self.waiting = False

    async def read(self, frame: str | bytes) -> None:
        """Decode a frame and execute its command, or refuse it."""
        try:
            command = codec.decode(frame)
        except codec.Undecodable as error:
            try:
                await self._session.budget.take(None)
            except RateLimited as limited:
                self._refuse_fast(error.ref, limited)
            else:
                self._refuse_frame(error)
            return
        self._bad_frames = 0
        if isinstance(command, commands.Send) and self._send_at_once(command):
            return
        if asks_provider(command):
            await self._execute_and_read(command)
        else:
            await self.execute(command)

    def take(self, frame: str) -> bool:
        """Execute a frame that has to wait for nothing, and return True; otherwise do nothing, and return False.

        Call it while `receive` waits.
        """
        if self._reads_ahead:
            return False
        try:
            command = codec.decode(frame)
        except codec.Undecodable:
            return False
        if not (isinstance(command, commands.Send) and self._send_at_once(command)):
            return False
        self._bad_frames = 0
        return True

    def _send_at_once(self, command: commands.Send) -> bool:
        session = self._session
        if session.principal is None or tracing.active is not None:
            return False
        try:
            return self._dispatcher.send_at_once(command, session)
        except Exception as error:  # a fault of one command must not end the connection
            session.refuse_command(command.ref, internal_error(command, error, self._metrics))
            return True

    async def execute(self, command: commands.AnyCommand, *, greet: bool = True) -> None:
        """Count a command and dispatch it; refuse it where that fails. `greet`: see `Dispatcher.dispatch`."""
        session = self._session
        try:
            if session.principal is None or not isinstance(command, commands.Send):  # the dispatcher counts messages
                await session.budget.take(command)
            if tracing.active is None or (span := _SPANS.get(type(command))) is None:
                await self._dispatcher.dispatch(command, session, greet=greet)
            else:
                with tracing.active.span(span):
                    await self._dispatcher.dispatch(command, session, greet=greet)
        except RateLimited as error:
            self._refuse_fast(command.ref, error)
        except CommandError as error:
            session.refuse_command(command.ref, error)
            if error.code is ErrorCode.INVALID_TOKEN:
                session.end(CloseCode.SIGN_IN_AGAIN, error.message)
            elif (
                error.code is ErrorCode.FORBIDDEN and isinstance(command, commands.Hello) and session.principal is None
            ):
                session.end(CloseCode.NOT_ALLOWED, error.message)
        except Exception as error:  # a fault of one command must not end the connection
            session.refuse_command(command.ref, internal_error(command, error, self._metrics))

    async def _execute_and_read(self, command: commands.AnyCommand) -> None:
        """Execute a command that needs an identity provider, and go on reading meanwhile.

        So pings are answered, and the command is cancelled when the client leaves.
        """
        self._reads_ahead = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_ahead, nursery.cancel_scope)
                await self.execute(command)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if is_cancellation(group):
                await trio.lowlevel.checkpoint_if_cancelled()  # as one exception, not as a group
            raise
        finally:
            self._reads_ahead = False

    async def _read_ahead(self, work: trio.CancelScope) -> None:
        """Read ahead while there is room; cancel `work` when the client has left."""
        while self.ahead.has_room:
            frame = await self.receive()
            if frame is None:
                self.ahead.close()
                work.cancel()
                return
            if is_ping(frame):
                await self.read(frame)
            else:
                self.ahead.put(frame)

    def _refuse_fast(self, ref: commands.Ref | None, error: RateLimited) -> None:
        """Refuse a command above the rate, and end the connection of a client that is far above it."""
        self._session.refuse_command(ref, error)
        if self._session.budget.is_far_above():
            self._session.end(CloseCode.RATE_LIMITED, "Far above the rate limit.")

    def _refuse_frame(self, error: codec.Undecodable) -> None:
        self._session.refuse_command(error.ref, error)
        if error.code is ErrorCode.BAD_FRAME:
            self._bad_frames += 1
            if self._bad_frames >= BAD_FRAMES:
                self._session.end(CloseCode.BAD_CLIENT, f"{BAD_FRAMES} bad frames in a row.")
        else:
            self._bad_frames = 0
