"""The client of one Redis server: all commands of a turn of the event loop go out together, on one connection."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError, RedisError, TimeoutError

from evanesce import tracing
from evanesce.errors import StoreUnavailable
from evanesce.logs import folded
from evanesce.store.redis.calls import Call, CallQueue
from evanesce.store.redis.client import CALL_SECONDS
from evanesce.store.redis.connection import BROKEN, Address, Connection, refused
from evanesce.store.redis.connection_task import ConnectionTask
from evanesce.store.redis.faults import TIMED_OUT, UNKNOWN, classify, code, unavailable
from evanesce.store.redis.scripts import SOURCES, Command
from evanesce.store.redis.stream import Stream
from evanesce.store.statistics import StoreStatistics

logger = logging.getLogger(__name__)

OUTSTANDING = 8_192
"""How many calls may wait for their answers. Further calls are refused."""

RESERVED = 64
"""How many more urgent calls may wait, so that messages never keep a server from renewing its lease."""

OUTSTANDING_BYTES = 64 * 1024 * 1024
"""The limit for the total size of the messages in waiting calls."""

SENT = 256
"""How many calls may be sent before the first of them is answered. Urgent calls overtake those that are not sent."""

SILENT_SECONDS = 2.0
"""How long nothing may arrive while calls are sent and not answered. Then the connection counts as dead."""

ANSWER_SECONDS = 4.0
"""After how long a call that was sent must have its answer. Then the connection counts as dead."""

LOOK_SECONDS = 0.1
"""How often these times are looked at."""

IDLE_SECONDS = 0.01
"""After how long without an answer the connection is checked before anything is sent."""

LONGEST_DELAY = 0.2
"""The longest delay between two attempts to connect, in seconds."""

_SCRIPTS: Sequence[Command] = tuple(("SCRIPT", "LOAD", source) for source in SOURCES.values())


class NodeClient(ConnectionTask):
    """One connection to Redis. Use it as a context, or run `serve`, and use it from the Trio thread alone.

    Every call ends within `CALL_SECONDS`: with its answers or with `StoreUnavailable`, whatever happens to the
    connection, and at once when the client is stopped.
    """

    def __init__(self, address: Address, statistics: StoreStatistics | None = None) -> None:
        super().__init__(address)
        self._statistics = statistics or StoreStatistics()
        self._clock = trio.lowlevel.current_clock()  # `trio.current_time` makes two calls more for each message
        self._answers = False  # the connection is believed to work
        self._logged = False  # that it does not work was logged since it last worked
        self._waiting = CallQueue()  # to be sent
        self._sent: deque[Call] = deque()  # and not answered
        self._outstanding: dict[Call, None] = {}
        """Calls that were accepted and have no answer yet, the oldest first."""
        self._outstanding_bytes = 0
        self._writer = trio.lowlevel.ParkingLot()  # the task that sends, while there is nothing to send
        self._watch = trio.lowlevel.ParkingLot()  # the task that watches the deadlines, while there is no call
        self._waiting_since = 0.0  # when the first of the calls under way was sent, if there was none before
        self._on_connect: list[Callable[[], None]] = []
        self._fault = UNKNOWN
        self._refusing = False  # this server accepts no messages, but another one may
        self._tried = trio.Event()

    async def _started(self) -> None:
        """Wait until it was tried once to connect, but at most 1 s."""
        with trio.move_on_after(1):
            await self.tried()

    def stop(self) -> None:
        """End, fail all waiting calls, and refuse new ones. It is safe to call this again."""
        super().stop()
        self._tried.set()
        self._fail(list(self._outstanding), StoreUnavailable())

    @property
    def up(self) -> bool:
        """Whether the connection is believed to work. If not, calls are refused at once."""
        return self._answers and not self.stopping

    @property
    def address(self) -> Address:
        """The address of the server."""
        return self._address

    async def tried(self) -> None:
        """Wait until it was tried once to connect."""
        await self._tried.wait()

    # Calls

    async def run(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Run commands together, in order; see `Client.run`.

        If a call is cancelled, its answer is dropped, but its commands are still run.
        """
        answers = await self.exchange(*commands, urgent=urgent)
        if (refusal := refused(answers)) is not None:
            raise self._refused(refusal)
        return answers

    async def exchange(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Run commands as `run` does, but return a `RedisError` as the answer of a command that Redis refuses."""
        if not commands:  # there would be no answer to deliver the call with
            await trio.lowlevel.checkpoint()
            return []
        task = trio.lowlevel.current_task()
        call = self._submit(commands, lambda _: trio.lowlevel.reschedule(task), urgent=urgent)

        def abort(_: object) -> trio.lowlevel.Abort:
            call.done = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        answers = call.answers
        if isinstance(answers, StoreUnavailable):
            raise answers
        assert answers is not None, "a call is delivered with its answers"
        return answers

    def call(self, command: Command, done: Callable[[Any], None]) -> None:
        """See `Client.call`."""

        def answered(call: Call) -> None:
            answers = call.answers
            answer = answers[0] if isinstance(answers, list) else answers
            done(self._refused(answer) if isinstance(answer, RedisError) else answer)

        self._submit((command,), answered, urgent=False)

    def call_raw(self, command: Command, done: Callable[[Any], None]) -> None:
        """Run a command as `call` does, but call `done` with a `RedisError` where Redis refuses it."""

        def answered(call: Call) -> None:
            answers = call.answers
            done(answers[0] if isinstance(answers, list) else answers)

        self._submit((command,), answered, urgent=False)

    def post(self, *commands: Command) -> None:
        """See `Client.post`."""
        if not commands:
            return
        try:
            self._submit(commands, None, urgent=False)
        except StoreUnavailable:
            logger.debug("a command was dropped: the store does not answer")

    def on_connect(self, connected: Callable[[], None]) -> None:
        """See `Client.on_connect`."""
        self._on_connect.append(connected)

    def _submit(self, commands: Sequence[Command], done: Callable[[Call], None] | None, *, urgent: bool) -> Call:
        if not self._answers or self.stopping or self._refusing:
            self._statistics.failed.inc()
            raise self._fault.error()
        call = Call(commands, done, self._clock.current_time())
        most = OUTSTANDING + RESERVED if urgent else OUTSTANDING
        if len(self._outstanding) >= most or self._outstanding_bytes + call.size > OUTSTANDING_BYTES:
            self._statistics.failed.inc()
            raise StoreUnavailable("The message store is too busy. Try again in a moment.")
        if tracing.active is not None:
            call.span = tracing.active.start_child("redis", str(commands[0][0]))
        self._outstanding[call] = None
        self._outstanding_bytes += call.size
        self._waiting.put(call, urgent=urgent)
        if self._writer:
            self._writer.unpark()
        if len(self._outstanding) == 1:
            self._watch.unpark()
        return call

    def _deliver(self, call: Call, answers: list[Any] | StoreUnavailable) -> None:
        if call not in self._outstanding:
            return  # its time was over, or the client was stopped
        del self._outstanding[call]
        self._outstanding_bytes -= call.size
        call.answers = answers
        if isinstance(answers, StoreUnavailable):
            self._statistics.failed.inc()
        if call.span is not None:
            call.span.end()
        if call.done is None:
            return
        try:
            call.done(call)
        except Exception as error:  # a defect of one caller must not end the connection, which all share
            logger.error("the answer of the message store was not handled: %s", folded(error))

    def _fail(self, calls: Iterable[Call], error: StoreUnavailable) -> None:
        """Fail calls. Those of them that were not sent are not sent any more."""
        for call in calls:
            # One exception for each call, because raising it writes a traceback into it.
            self._deliver(call, StoreUnavailable(error.message, advice=error.advice))
        self._waiting.keep(self._outstanding)

    def _refused(self, refusal: RedisError) -> StoreUnavailable:
        """Return the exception for a refused command. Connect anew where another server may accept it."""
        if isinstance(refusal, ReadOnlyError) and self._address.moves and not self._refusing:
            self._refusing = True
            self._fault = UNKNOWN
            self._break(refusal)
        return unavailable(refusal)

    # The connection

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_deadlines)
            delay = 0.0
            while True:
                stream = await self._open()
                if stream is None:
                    self._fail(list(self._outstanding), StoreUnavailable())
                    await trio.sleep(delay)
                    delay = min(max(0.01, delay * 2), LONGEST_DELAY)
                    continue
                delay = 0.0
                broken = await self._use(stream)
                self._statistics.lost.inc()
                if self._refusing:
                    sent, self._sent = self._sent, deque()
                    self._fail(sent, TIMED_OUT.error())
                    self._fail(list(self._outstanding), StoreUnavailable())
                    await trio.sleep(LONGEST_DELAY)  # connecting earlier is of no use
                    self._refusing = False
                elif broken is not None:
                    self._lost(broken)

    async def _open(self) -> Stream | None:
        try:
            stream = await self._connect(_load_scripts)
        except BROKEN as error:
            self._down(error)
            return None
        except Exception as error:  # a defect, in this code or in the driver: the client must go on
            logger.error("the client of the message store failed: %s", folded(error))
            self._answers = False
            self._tried.set()
            return None
        if not self._answers:
            logger.info("the message store answers")
        self._statistics.connects.inc()
        self._answers = True
        self._logged = False
        self._tried.set()
        for connected in self._on_connect:
            connected()
        return stream

    def _down(self, error: Exception) -> None:
        fault = classify(error)
        if not self._logged:
            logger.warning("the message store does not answer: %s: %s %s", code(error), *fault)
        # Calls that are refused from now on were not sent, so they have certainly not been carried out.
        self._fault = UNKNOWN if fault is TIMED_OUT else fault
        self._answers = False
        self._logged = True
        self._tried.set()

    def _lost(self, broken: Exception) -> None:
        """Fail the calls that were sent. Those that were not go on waiting for the next connection."""
        sent, self._sent = self._sent, deque()
        if not sent:
            return
        fault = StoreUnavailable()
        if isinstance(broken, BROKEN):
            self._down(broken)
            fault = unavailable(broken)
        else:  # a defect, in this code or in the driver: the callers must get an answer, and the client must go on
            logger.error("an exchange with the message store failed: %s", code(broken))
        self._fail(sent, fault)

    async def _send(self, stream: Stream) -> None:
        while True:
            while not self._waiting or len(self._sent) >= SENT:
                await self._writer.park()
            idle = not self._sent and trio.current_time() - stream.received_at > IDLE_SECONDS
            if idle and stream.readable():  # nothing else can arrive: Redis has closed the connection
                raise ConnectionResetError
            calls = self._waiting.take(SENT - len(self._sent))
            now = trio.current_time()
            if not self._sent:
                self._waiting_since = now
            for call in calls:
                call.sent_at = now
            self._sent.extend(calls)
            await stream.send(*[command for call in calls for command in call.commands])

    async def _receive(self, stream: Stream) -> None:
        while True:
            await stream.wait_readable()
            self._take(stream)

    def take_answers(self) -> None:
        """Deliver the answers that have arrived, without waiting.

        A message is published at about the time of its answer, on another connection. Whoever reads that calls this
        before, so that the answer comes first.
        """
        if self._stream is not None:
            try:
                self._take(self._stream)
            except Exception as error:  # as where `_receive` raises it
                self._break(error)

    def _take(self, stream: Stream) -> None:
        unknown: list[Call] = []
        now = self._clock.current_time()
        for answer in stream.receive():
            if not self._sent:
                raise answer if isinstance(answer, RedisError) else InvalidResponse("an answer to no command")
            call = self._sent[0]
            call.received.append(answer)
            if isinstance(answer, NoScriptError):
                call.unknown = True
            if len(call.received) < len(call.commands):
                continue
            self._sent.popleft()
            self._statistics.round_trips.observe(now - call.sent_at)
            if call.unknown and not call.repeat and call in self._outstanding:
                unknown.append(call)
            else:
                self._deliver(call, call.received)
        if unknown:
            self._repeat(unknown)
        if self._waiting:
            self._writer.unpark()

    def _repeat(self, calls: Sequence[Call]) -> None:
        """Load the scripts, and run those again that were unknown, because the script cache was emptied.

        A script that is not known has not run, so it is safe to send it again.
        """
        places = [(call, place) for call in calls for place, answer in enumerate(call.received) if _unknown(answer)]

        def done(again: Call) -> None:
            if isinstance(again.answers, StoreUnavailable):
                self._fail(calls, again.answers)
                return
            assert again.answers is not None, "a call is delivered with its answers"
            for (call, place), answer in zip(places, again.answers[len(_SCRIPTS) :], strict=True):
                call.received[place] = answer
            for call in calls:
                self._deliver(call, call.received)

        commands = (*_SCRIPTS, *(call.commands[place] for call, place in places))
        again = Call(commands, done, trio.current_time(), repeat=True)
        self._outstanding[again] = None
        self._outstanding_bytes += again.size
        self._waiting.put_first(again)

    async def _watch_deadlines(self) -> None:
        """Fail calls whose time is over, and discard a connection that is silent while calls wait for answers."""
        while True:
            while not self._outstanding:
                await self._watch.park()
            await trio.sleep(LOOK_SECONDS)
            if self._is_late():
                # This process may have been stopped, and the answers may be here: they are received first.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                self._end_late_calls()

    def _is_late(self) -> bool:
        now = trio.current_time()
        oldest = next(iter(self._outstanding), None)
        return (oldest is not None and now - oldest.submitted_at > CALL_SECONDS) or self._is_silent(now)

    def _is_silent(self, now: float) -> bool:
        if not self._sent or self._stream is None:
            return False
        heard_at = max(self._stream.received_at, self._waiting_since)
        return now - heard_at > SILENT_SECONDS or now - self._sent[0].sent_at > ANSWER_SECONDS

    def _end_late_calls(self) -> None:
        now = trio.current_time()
        if self._is_silent(now):
            self._break(TimeoutError("no answer arrived in time"))
        late: list[Call] = []
        for call in self._outstanding:
            if now - call.submitted_at <= CALL_SECONDS:
                break
            late.append(call)
        self._fail(late, TIMED_OUT.error())


def _unknown(answer: Any) -> bool:
    return isinstance(answer, NoScriptError)


def _load_scripts(connection: Connection) -> None:
    if (refusal := refused(connection.exchange(_SCRIPTS))) is not None:
        raise refusal
