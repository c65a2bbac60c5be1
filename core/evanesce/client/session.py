"""One connection of a client from its opening to its end: sign-in, heartbeat, renewal of the token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from evanesce.client.account import Account
from evanesce.client.clock import ServerClock
from evanesce.client.connection import CloseReason, Connection, Fields, Sink
from evanesce.client.errors import NOT_THE_PROTOCOL, Disconnected, Refused, Unreachable, number
from evanesce.client.streams import OpenStream
from evanesce.errors import CloseCode

TICK_SECONDS = 1.0
LATE_SECONDS = 2.0
"""A timer that fires so much too late, by any local clock, means that the computer slept or the process stood still."""

WELCOME_SECONDS = 10.0
"""How long the reply to `hello` may take."""

LONGEST_QUIET = 10.0
LONGEST_PATIENCE = 5.0
"""After how many seconds of silence beyond the heartbeat a server is asked, and for how long its answer may take.

Neither is longer than the heartbeat itself.
"""

LOST = CloseReason(1006)


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended: `online_seconds` is 0 where the sign-in did not succeed.

    `code` is the close code, or that of the error that refused `hello`; None where no connection could be opened.
    """

    code: int | str | None
    close: CloseReason
    online_seconds: float = 0.0


class Session:
    """Runs one connection. `welcomed` is called with the reply to `hello`, and `doubt` when the clocks may be wrong."""

    def __init__(
        self,
        account: Account,
        clock: ServerClock,
        sink: Sink,
        open_stream: OpenStream,
        welcomed: Callable[[Connection, Fields], None],
        doubt: Callable[[], None],
    ) -> None:
        self._account = account
        self._clock = clock
        self._sink = sink
        self._open_stream = open_stream
        self._welcomed = welcomed
        self._doubt = doubt
        self._heartbeat = 25.0

    async def run(self, url: str) -> End:
        """Connect to `url`, sign in, and stay until the connection ends."""
        hello = await self._account.hello()  # before the connection: the server waits 10 s for `hello`
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            try:
                connection = await nursery.start(self._hold, url, scope)
                try:
                    return await self._talk(connection, hello)
                finally:
                    with trio.CancelScope(shield=True):
                        await connection.aclose()
            except Unreachable as error:
                return End(None, CloseReason(1006, str(error)))
            finally:
                scope.cancel()
        raise AssertionError("unreachable")

    async def _hold(self, url: str, scope: trio.CancelScope, task_status: trio.TaskStatus[Connection]) -> None:
        """Run the tasks of a connection until `scope` is cancelled.

        A cancellation from outside does not reach them: without them nothing could close the connection in order.
        """
        failure: Unreachable | None = None
        with scope:
            async with trio.open_nursery() as nursery:
                try:
                    connection = await Connection.open(nursery, url, self._sink, self._open_stream)
                except Unreachable as error:
                    failure = error
                else:
                    scope.shield = True
                    task_status.started(connection)
        if failure is not None:
            raise failure

    async def _talk(self, connection: Connection, hello: Fields) -> End:
        welcome: Fields | None = None
        try:
            with trio.move_on_after(WELCOME_SECONDS):
                welcome = await connection.request(hello)
        except Disconnected:
            return _end(connection.close_reason or LOST)
        except Refused as error:
            if error.code == "invalid_token":
                return _end(CloseReason(CloseCode.SIGN_IN_AGAIN, str(error), reconnect=False))
            return End(error.code, CloseReason(1006, str(error), error.retry, error.retry_after))
        if welcome is None:
            return _end(connection.close_reason or LOST)
        try:
            self._heartbeat = _heartbeat(welcome)
            self._clock.set(welcome["serverTime"])
            self._account.welcomed(welcome, hello, self._clock)
        except (KeyError, TypeError, ValueError):
            return _end(CloseReason(CloseCode.PROTOCOL_VIOLATION, NOT_THE_PROTOCOL))
        online_at = self._clock.mark()
        self._welcomed(connection, welcome)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, connection, nursery)
            await connection.closed.wait()
            nursery.cancel_scope.cancel()
        return _end(connection.close_reason or LOST, self._clock.since(online_at))

    async def _watch(self, connection: Connection, nursery: trio.Nursery) -> None:
        """Notice a dead connection and a sleep of the computer, and renew the token."""
        quiet = self._heartbeat + min(LONGEST_QUIET, self._heartbeat)
        while True:
            before = self._clock.mark()
            await trio.sleep(TICK_SECONDS)
            late = self._clock.since(before) > TICK_SECONDS + LATE_SECONDS
            if late:
                self._doubt()
            if (late or connection.silent_seconds >= quiet) and not await self._ask(connection):
                await connection.abort()
                return
            if self._account.renewal_is_due(self._clock):
                nursery.start_soon(self._renew, connection)

    async def _ask(self, connection: Connection) -> bool:
        """Ask for the time of the server, and return whether the connection is alive."""
        patience = min(LONGEST_PATIENCE, self._heartbeat)
        asked_at = self._clock.mark()
        try:
            with trio.move_on_after(patience):
                pong = await connection.request({"type": "ping"})
                self._clock.set(pong["serverTime"], asked_at)
                self._doubt()
                return True
        except (Refused, KeyError, TypeError, ValueError):
            return True
        except Disconnected:
            return False
        return connection.silent_seconds < patience

    async def _renew(self, connection: Connection) -> None:
        try:
            self._account.keep(await connection.request({"type": "refresh"}), self._clock)
            await connection.request(await self._account.hello())
        except (Disconnected, Refused, KeyError, ValueError):
            return  # it is tried again while the token lives; the server says when it does not


def _heartbeat(welcome: Fields) -> float:
    """Return the seconds of `heartbeat`, and check the fields that the client reads later.

    Raises `KeyError` and `ValueError`.
    """
    heartbeat = number(welcome["heartbeat"])
    if heartbeat is None or heartbeat <= 0:
        raise ValueError("no time in seconds")
    if not isinstance(welcome.get("limits", {}), dict) or number(welcome.get("messageTtl", 60.0)) is None:
        raise ValueError("fields of other types")
    return heartbeat


def _end(close: CloseReason, online_seconds: float = 0.0) -> End:
    return End(close.code, close, online_seconds)
