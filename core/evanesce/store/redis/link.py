"""The way to Redis for commands: one thread that packs all that waits into one round trip."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import trio
from redis.exceptions import NoScriptError, ReadOnlyError

from evanesce.errors import StoreUnavailable
from evanesce.logs import folded
from evanesce.store.redis.connection import BROKEN, Address, Connection, refused
from evanesce.store.redis.faults import code, unavailable
from evanesce.store.redis.scripts import SOURCES, Command

logger = logging.getLogger(__name__)

ROUND_TRIP = 256
"""How many calls go into one round trip."""

OUTSTANDING = 8_192
"""How many calls may wait for their answers; what comes above that is refused."""

OUTSTANDING_BYTES = 64 * 1024 * 1024
"""How much the messages in the calls that wait may hold together."""

IDLE_SECONDS = 0.01
"""After how long without an answer the connection is looked at before anything is sent."""

LONGEST_DELAY = 0.2
"""The longest delay between two attempts to connect, in seconds."""


class Call:
    """Commands of one caller, in order. `answers` is what each gave, or the error that all of them share."""

    __slots__ = ("answers", "commands", "size", "task")

    def __init__(self, commands: Sequence[Command], task: trio.lowlevel.Task | None) -> None:
        self.commands = commands
        self.task = task
        # Messages are given as bytes; all else is small.
        self.size = sum([len(argument) for command in commands for argument in command if type(argument) is bytes])
        self.answers: list[Any] | StoreUnavailable | None = None


class Link:
    """One connection to Redis and the thread that owns it. Use it as a context, from the Trio thread alone.

    `up` is whether the connection is believed to work. While it is not, calls are refused at once, and the thread
    goes on trying to connect.
    """

    def __init__(self, address: Address) -> None:
        self.up = False
        self._address = address
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        """What waits to be sent; None makes the thread look at its connection, and at whether it shall end."""
        self._outstanding = 0
        self._outstanding_bytes = 0
        self._token = trio.lowlevel.current_trio_token()
        self._watchers: list[Callable[[], None]] = []
        self._stopping = False
        self._leaving = False  # the server takes no messages, and another one may
        self._fault = StoreUnavailable().message
        self._tried = trio.Event()
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._work, name="evanesce-redis-writer", daemon=True)

    # On the Trio thread

    async def __aenter__(self) -> Link:
        """Start the thread, and wait until it has tried to connect once, for 1 s at most."""
        self.start()
        with trio.move_on_after(1):
            await self.tried()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the thread. It is left behind where Redis keeps it waiting: it ends with the process at the latest."""
        self.stop()
        with trio.move_on_after(1) as patience:
            patience.shield = True
            await self._ended.wait()

    def start(self) -> None:
        """Start the thread. Whoever does so sees to its end as well."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end, and refuse what is asked from now on."""
        self._stopping = True
        self.up = False
        self._calls.put(None)

    async def tried(self) -> None:
        """Wait until it has tried to connect once."""
        await self._tried.wait()

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip, in order; see `Commands`.

        A cancelled call drops its answer: what it asked for is done all the same.
        """
        answers = await self.exchange(*commands)
        if (refusal := refused(answers)) is not None:
            if isinstance(refusal, ReadOnlyError) and self._address.moves:
                self._leaving = True
                self.look()
            raise unavailable(refusal)
        return answers

    async def exchange(self, *commands: Command) -> list[Any]:
        """Run commands as `run` does, but give what Redis refuses as the answer of its command, a `RedisError`."""
        task = trio.lowlevel.current_task()
        call = self._submit(commands, task)

        def abort(_: object) -> trio.lowlevel.Abort:
            call.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        answers = call.answers
        if isinstance(answers, StoreUnavailable):
            raise answers
        assert answers is not None, "a call is delivered with its answers"
        return answers

    def post(self, *commands: Command) -> None:
        """Run commands without waiting for them, as far as Redis answers."""
        try:
            self._submit(commands, None)
        except StoreUnavailable:
            logger.debug("a command was dropped: the store does not answer")

    def watch(self, connected: Callable[[], None]) -> None:
        """Call `connected` on the Trio thread whenever there is a new connection: much may have happened before."""
        self._watchers.append(connected)

    def _connected(self) -> None:
        for connected in self._watchers:
            connected()

    def _submit(self, commands: Sequence[Command], task: trio.lowlevel.Task | None) -> Call:
        if not self.up:
            raise StoreUnavailable(self._fault)
        call = Call(commands, task)
        if self._outstanding >= OUTSTANDING or self._outstanding_bytes + call.size > OUTSTANDING_BYTES:
            raise StoreUnavailable("The message store is too busy. Try again in a moment.")
        self._outstanding += 1
        self._outstanding_bytes += call.size
        self._calls.put(call)
        return call

    def _deliver(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self._outstanding -= 1
            self._outstanding_bytes -= call.size
            if call.task is not None:
                trio.lowlevel.reschedule(call.task)

    # From any thread

    def look(self) -> None:
        """Make the thread look whether its connection still stands: somebody has reason to doubt it."""
        self._calls.put(None)

    # On the thread of its own

    def _work(self) -> None:
        delay = 0.0
        calls: list[Call] = []
        while not self._stopping:
            try:
                connection = self._connect()
                if connection is not None:
                    delay = 0.0
                    calls = self._serve(connection, calls)
                    connection.close()
                    continue
            except Exception as error:  # a defect, ours or the driver's: without the thread nothing goes on
                logger.error("the way to the store failed: %s", folded(error))
                self.up = False
            self._fail(calls, StoreUnavailable())
            calls = []
            self._refuse(delay)
            delay = min(max(0.01, delay * 2), LONGEST_DELAY)
        self._fail(calls, StoreUnavailable())
        self._hop(self._ended.set)

    def _connect(self) -> Connection | None:
        connection: Connection | None = None
        try:
            connection = self._address.connection()
            connection.connect()
            _load_scripts(connection)
        except BROKEN as error:
            if connection is not None:
                connection.close()
            self._down(error)
            return None
        if not self.up:
            logger.info("the message store answers")
        self.up = True
        self._hop(self._tried.set)
        self._hop(self._connected)
        return connection

    def _down(self, error: Exception) -> None:
        if self.up or not self._tried.is_set():
            logger.warning("the message store does not answer: %s", code(error))
        self._fault = unavailable(error).message
        self.up = False
        self._hop(self._tried.set)

    def _serve(self, connection: Connection, calls: list[Call]) -> list[Call]:
        """Do what is asked, `calls` first, until the connection breaks, or the end; gives the calls not sent yet."""
        heard_at = time.monotonic()
        while not self._stopping:
            if self._leaving:
                self._leaving = False
                self._refuse(LONGEST_DELAY)  # no sooner than it is of use
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
                # A defect, ours or the driver's: the callers must not wait for ever, nor the thread end.
                logger.error("a round trip failed: %s", code(error))
                self._fail(calls, StoreUnavailable())
                return []
            calls = self._waiting()
        return calls

    def _waiting(self) -> list[Call]:
        call = self._calls.get()
        calls: list[Call] = []
        while call is not None:
            calls.append(call)
            if len(calls) == ROUND_TRIP:
                break
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
        return calls

    def _refuse(self, delay: float) -> None:
        """Refuse what was asked meanwhile and what is asked in the next `delay` seconds."""
        until = time.monotonic() + delay
        while not self._stopping:
            try:
                call = self._calls.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if call is not None:
                self._fail([call], StoreUnavailable())

    def _fail(self, calls: Sequence[Call], error: StoreUnavailable) -> None:
        for call in calls:
            # One exception for each: a traceback is written into it where it is raised.
            call.answers = StoreUnavailable(error.message)
        self._answer(calls)

    def _answer(self, calls: Sequence[Call]) -> None:
        if calls:
            self._hop(self._deliver, calls)

    def _hop(self, act: Callable[..., object], *arguments: Any) -> None:
        try:
            self._token.run_sync_soon(act, *arguments)
        except trio.RunFinishedError:
            self._stopping = True


def _ended(connection: Connection) -> bool:
    """Whether Redis has closed the connection: between round trips nothing else comes."""
    try:
        return connection.readable(0)
    except BROKEN:
        return True


def _round_trip(connection: Connection, calls: Sequence[Call]) -> None:
    commands = [command for call in calls for command in call.commands]
    answers = connection.exchange(commands)
    unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        # Somebody emptied the script cache. A script that is not known has not run: it may be sent again.
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
