"""The client of one Redis server: a thread that sends all waiting commands in one round trip."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import trio
from redis.exceptions import NoScriptError, ReadOnlyError

from evanesce.errors import StoreUnavailable
from evanesce.logs import folded
from evanesce.store.redis.calls import Call, CallQueue
from evanesce.store.redis.client import Deadline
from evanesce.store.redis.connection import BROKEN, Address, Connection, refused
from evanesce.store.redis.connection_thread import ConnectionThread
from evanesce.store.redis.faults import TIMED_OUT, UNKNOWN, classify, code, unavailable
from evanesce.store.redis.scripts import SOURCES, Command

logger = logging.getLogger(__name__)

OUTSTANDING = 8_192
"""How many calls may wait for their answers. Further calls are refused."""

RESERVED = 64
"""How many more urgent calls may wait, so that messages never keep a server from renewing its lease."""

OUTSTANDING_BYTES = 64 * 1024 * 1024
"""The limit for the total size of the messages in waiting calls."""

IDLE_SECONDS = 0.01
"""After how long without an answer the connection is checked before anything is sent."""

LONGEST_DELAY = 0.2
"""The longest delay between two attempts to connect, in seconds."""


class NodeClient(ConnectionThread):
    """One connection to Redis and the thread that owns it. Use it as a context, from the Trio thread alone.

    Every call ends within `CALL_SECONDS`: with its answers or with `StoreUnavailable`, whatever happens to the
    connection, and at once when the client is stopped.
    """

    def __init__(self, address: Address) -> None:
        super().__init__("evanesce-redis-writer")
        self._address = address
        self._answers = False  # the connection is believed to work
        self._logged = False  # that it does not work was logged since it last worked; used on the thread only
        self._queue = CallQueue()
        self._outstanding: set[Call] = set()
        """Calls that were accepted and have no answer yet. Changed on the Trio thread only."""
        self._outstanding_bytes = 0
        self._on_connect: list[Callable[[], None]] = []
        self._reconnecting = False  # this server accepts no messages, but another one may
        self._fault = UNKNOWN
        self._tried = trio.Event()

    # On the Trio thread

    async def __aenter__(self) -> NodeClient:
        """Start the thread, and wait until it has tried to connect once, but at most 1 s."""
        self.start()
        try:
            with trio.move_on_after(1):
                await self.tried()
        except BaseException:  # cancelled: there will be no `__aexit__`
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Make the thread end, fail all waiting calls, and refuse new ones. It is safe to call this again."""
        self._stopping.set()
        self._tried.set()
        self._queue.wake()
        waiting = list(self._outstanding)
        for call in waiting:
            call.answers = StoreUnavailable()
        self._deliver(waiting)

    @property
    def up(self) -> bool:
        """Whether the connection is believed to work. If not, calls are refused at once."""
        return self._answers and not self._stopping.is_set()

    @property
    def address(self) -> Address:
        """The address of the server."""
        return self._address

    async def tried(self) -> None:
        """Wait until the thread has tried to connect once."""
        await self._tried.wait()

    async def run(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Run commands in one round trip, in order; see `Client.run`.

        If a call is cancelled, its answer is dropped, but its commands are still run.
        """
        answers = await self.exchange(*commands, urgent=urgent)
        if (refusal := refused(answers)) is not None:
            if isinstance(refusal, ReadOnlyError) and self._address.moves:
                self._reconnecting = True
                self.look()
            raise unavailable(refusal)
        return answers

    async def exchange(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Run commands as `run` does, but return a `RedisError` as the answer of a command that Redis refuses."""
        call = self._submit(commands, trio.lowlevel.current_task(), urgent=urgent)

        def abort(_: object) -> trio.lowlevel.Abort:
            call.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        with Deadline():
            await trio.lowlevel.wait_task_rescheduled(abort)
        answers = call.answers
        if isinstance(answers, StoreUnavailable):
            raise answers
        assert answers is not None, "a call is delivered with its answers"
        return answers

    def post(self, *commands: Command) -> None:
        """See `Client.post`."""
        try:
            self._submit(commands, None, urgent=False)
        except StoreUnavailable:
            logger.debug("a command was dropped: the store does not answer")

    def on_connect(self, connected: Callable[[], None]) -> None:
        """See `Client.on_connect`."""
        self._on_connect.append(connected)

    def _connected(self) -> None:
        for connected in self._on_connect:
            connected()

    def _submit(self, commands: Sequence[Command], task: trio.lowlevel.Task | None, *, urgent: bool) -> Call:
        if not self.up:
            raise self._fault.error()
        call = Call(commands, task)
        most = OUTSTANDING + RESERVED if urgent else OUTSTANDING
        if len(self._outstanding) >= most or self._outstanding_bytes + call.size > OUTSTANDING_BYTES:
            raise StoreUnavailable("The message store is too busy. Try again in a moment.")
        self._outstanding.add(call)
        self._outstanding_bytes += call.size
        self._queue.put(call, urgent=urgent)
        return call

    def _deliver(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if call not in self._outstanding:
                continue  # it failed when the client was stopped
            self._outstanding.remove(call)
            self._outstanding_bytes -= call.size
            if call.task is not None:
                trio.lowlevel.reschedule(call.task)

    def _thread_ended(self) -> None:
        if not self._stopping.is_set():
            logger.error("the thread that writes to the message store has ended: nothing is stored until a restart")
        self.stop()
        self._ended.set()

    # From any thread

    def look(self) -> None:
        """Make the thread check its connection."""
        self._queue.wake()

    # On the own thread

    def _work(self) -> None:
        try:
            self._connect_and_serve()
        finally:  # also after a defect: no caller may wait for a thread that has ended
            self._call_soon(self._thread_ended)

    def _connect_and_serve(self) -> None:
        delay = 0.0
        calls: list[Call] = []
        while not self._stopping.is_set():
            try:
                connection = self._connect()
                if connection is not None:
                    delay = 0.0
                    calls = self._serve(connection, calls)
                    connection.close()
                    continue
            except Exception as error:  # a defect, in this code or in the driver: the thread must go on
                logger.error("the client of the message store failed: %s", folded(error))
                self._answers = False
            self._fail(calls, StoreUnavailable())
            calls = []
            self._refuse(delay)
            delay = min(max(0.01, delay * 2), LONGEST_DELAY)

    def _connect(self) -> Connection | None:
        connection: Connection | None = None
        try:
            connection = self._address.connection()
            connection.connect()
            connection.greet()
            _load_scripts(connection)
        except BROKEN as error:
            if connection is not None:
                connection.close()
            self._down(error)
            return None
        if not self._answers:
            logger.info("the message store answers")
        self._answers = True
        self._logged = False
        self._call_soon(self._tried.set)
        self._call_soon(self._connected)
        return connection

    def _down(self, error: Exception) -> None:
        fault = classify(error)
        if not self._logged:
            logger.warning("the message store does not answer: %s: %s %s", code(error), *fault)
        # Calls that are refused from now on were not sent, so they have certainly not been carried out.
        self._fault = UNKNOWN if fault is TIMED_OUT else fault
        self._answers = False
        self._logged = True
        self._call_soon(self._tried.set)

    def _serve(self, connection: Connection, calls: list[Call]) -> list[Call]:
        """Send calls, `calls` first, until the connection breaks or the client stops. Return the calls not sent yet."""
        heard_at = time.monotonic()
        while not self._stopping.is_set():
            if self._reconnecting:
                self._reconnecting = False
                self._refuse(LONGEST_DELAY)  # reconnecting earlier is of no use
                return calls
            if (not calls or time.monotonic() - heard_at > IDLE_SECONDS) and _ended(connection):
                return calls
            try:
                if calls:
                    _round_trip(connection, calls)
                    self._answer(calls)
                    heard_at = time.monotonic()
            except BROKEN as error:
                self._down(error)
                self._fail(calls, unavailable(error))
                return []
            except Exception as error:
                # A defect, in this code or in the driver: the callers must get an answer, and the thread must go on.
                logger.error("a round trip failed: %s", code(error))
                self._fail(calls, StoreUnavailable())
                return []
            calls = self._queue.take() or []
        return calls

    def _refuse(self, delay: float) -> None:
        """Refuse the calls that are waiting, and those of the next `delay` seconds."""
        until = time.monotonic() + delay
        while not self._stopping.is_set():
            calls = self._queue.take(timeout=max(0.0, until - time.monotonic()))
            if calls is None:
                return
            self._fail(calls, StoreUnavailable())

    def _fail(self, calls: Sequence[Call], error: StoreUnavailable) -> None:
        for call in calls:
            # One exception for each call, because raising it writes a traceback into it.
            call.answers = StoreUnavailable(error.message, advice=error.advice)
        self._answer(calls)

    def _answer(self, calls: Sequence[Call]) -> None:
        if calls:
            self._call_soon(self._deliver, calls)


def _ended(connection: Connection) -> bool:
    """Return whether Redis has closed the connection. Nothing else can arrive between round trips."""
    try:
        return connection.readable(0)
    except BROKEN:
        return True


def _round_trip(connection: Connection, calls: Sequence[Call]) -> None:
    commands = [command for call in calls for command in call.commands]
    answers = connection.exchange(commands)
    unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        # The script cache was emptied. A script that is not known has not run, so it is safe to send it again.
        _load_scripts(connection)
        for place, answer in zip(unknown, connection.exchange([commands[p] for p in unknown]), strict=True):
            answers[place] = answer
    end = 0
    for call in calls:
        start, end = end, end + len(call.commands)
        call.answers = answers[start:end]


def _load_scripts(connection: Connection) -> None:
    answers = connection.exchange([("SCRIPT", "LOAD", source) for source in SOURCES.values()])
    if (refusal := refused(answers)) is not None:
        raise refusal
