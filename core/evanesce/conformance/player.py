"""Plays transcripts with a client: does the steps of the server, and checks those of the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from signal import SIGCONT, SIGSTOP
from typing import assert_never

import trio

from evanesce.conformance.arrivals import Arrivals, Frame, News
from evanesce.conformance.defaults import complete
from evanesce.conformance.driver import Driver, running
from evanesce.conformance.expectations import TIMER_SECONDS, Expectations, Mismatch
from evanesce.conformance.matching import ServerClock, Variables, shown
from evanesce.conformance.outcome import Failure, Outcome
from evanesce.conformance.scripted_server import Connection, ScriptedServer
from evanesce.conformance.transcript import (
    Accept,
    AcceptOptions,
    AnyOrder,
    ClientSends,
    Close,
    Do,
    Freeze,
    Json,
    Kill,
    Ping,
    Quiet,
    Refuse,
    ServerSends,
    Stall,
    State,
    Step,
    Told,
    Transcript,
    nested,
)

CONNECTION_SECONDS = 10
FIRST_CONNECTION_SECONDS = 30  # a process has to start first, on a machine that may be busy


async def play(transcript: Transcript, command: Sequence[str]) -> Outcome:
    """Play a transcript with a new process of the client. Raises `ConfigurationError` if it cannot be started."""
    start = trio.current_time()
    news = News()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        server = ScriptedServer(listener, news)
        nursery.start_soon(server.run)
        async with running(command, server.url, news) as driver:
            failure = await _Player(transcript, server, driver, news, nursery).play()
        nursery.cancel_scope.cancel()
    return Outcome(transcript.name, transcript.about, trio.current_time() - start, failure)


async def play_all(
    transcripts: Sequence[Transcript], command: Sequence[str], jobs: int, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Play `transcripts`, at most `jobs` at a time, and return the outcomes in their order.

    `tell` is called with each as soon as it is there. Raises `ConfigurationError` if `command` cannot be started.
    """
    outcomes: dict[str, Outcome] = {}
    limiter = trio.CapacityLimiter(jobs)

    async def one(transcript: Transcript) -> None:
        async with limiter:
            outcome = await play(transcript, command)
        outcomes[transcript.name] = outcome
        tell(outcome)

    async with trio.open_nursery() as nursery:
        for transcript in transcripts:
            nursery.start_soon(one, transcript)
    return [outcomes[transcript.name] for transcript in transcripts]


class _Player:
    """The state of one run."""

    def __init__(
        self, transcript: Transcript, server: ScriptedServer, driver: Driver, news: News, nursery: trio.Nursery
    ) -> None:
        self._transcript = transcript
        self._server = server
        self._driver = driver
        self._news = news
        self._nursery = nursery
        self._variables = Variables(ServerClock(transcript.clock_offset))
        self._frames: Arrivals[Frame] = Arrivals(news)
        self._expectations = Expectations(self._variables, self._frames, driver, news)
        self._connection: Connection | None = None
        self._ended_at: float | None = None
        self._delay_began_at: float | None = None
        self._delays: list[float] = []
        self._expects_ping = False
        self._hints: list[str | None] = []

    async def play(self) -> Failure | None:
        """Do all steps, and return the first that failed."""
        steps = self._transcript.steps
        number = 0
        try:
            for number, step in enumerate(steps):
                self._expects_ping = _next_is_ping(steps[number:])
                await self._do(step)
            self._nothing_is_left()
        except Mismatch as mismatch:
            return Failure(
                number=number + 1,
                step=self._transcript.sources[number],
                expected=mismatch.expected,
                came=mismatch.came,
                differences=mismatch.differences,
                protocol=steps[number].why or self._transcript.protocol,
                errors=list(self._driver.last_errors),
            )
        return None

    async def _do(self, step: Step) -> None:
        match step:
            case Accept():
                await self._accept(step.accept)
            case Refuse():
                stream, _ = await self._next_connection(AcceptOptions(within=step.within))
                self._acted()
                await self._server.refuse(stream, self._nursery, step.refuse)
                self._delay_began_at = trio.current_time()
            case ClientSends() | Told() | State():
                await self._expectations.fulfil([step])
            case AnyOrder():
                await self._expectations.fulfil(
                    [one for one in nested(step) if isinstance(one, ClientSends | Told | State)]
                )
            case Quiet():
                await self._quiet(step.quiet)
            case Do():
                self._acted()
                await self._driver.tell(self._variables.fill(step.do))
            case Freeze():
                self._driver.send_signal(SIGSTOP)
                for inner in nested(step):
                    await self._do(inner)
                await trio.sleep(step.freeze)
                self._acted()
                self._driver.send_signal(SIGCONT)
            case ServerSends() | Ping() | Close() | Kill() | Stall():
                await self._act(step)
            case _:
                assert_never(step)

    async def _act(self, step: ServerSends | Ping | Close | Kill | Stall) -> None:
        """Do what the server does with the open connection."""
        connection = self._connection
        if connection is None or connection.close_code is not None:
            came = "there is none" if connection is None else f"the client closed it with code {connection.close_code}"
            raise Mismatch("an open connection", came)
        self._acted()
        match step:
            case ServerSends():
                frame: list[dict[str, Json]] = [self._variables.fill(complete(one)) for one in step.server]
                if any(one.get("type") == "welcome" for one in frame):
                    self._expectations.clock_uncertainty = (trio.current_time() - connection.accepted_at) / 2
                await connection.send(frame, step.frame_bytes)
            case Ping():
                if not await connection.ping():
                    raise Mismatch("the pong of the WebSocket protocol", "none")
            case Stall():
                await connection.stream.stall(step.stall)
                self._acted()
            case Close() | Kill():
                self._connection = None
                self._ended_at = self._delay_began_at = trio.current_time()
                self._delays.clear()
                if isinstance(step, Kill):
                    connection.stream.reset()
                else:
                    await connection.close(step.close, step.reason)
                self._frames.clear()

    def _acted(self) -> None:
        self._expectations.acted_at = trio.current_time()

    async def _accept(self, options: AcceptOptions) -> None:
        if self._connection is not None:
            self._connection.stream.reset()
            self._connection = None
        connection, arrived = None, 0.0
        while connection is None:  # what is no WebSocket was answered already
            stream, arrived = await self._next_connection(options)
            connection = await self._server.accept(stream, self._nursery)
        self._connection = connection
        self._acted()
        self._frames.clear()
        self._expectations.connection = connection
        self._nursery.start_soon(connection.read, self._receive, self._news)
        if self._ended_at is not None and arrived - self._ended_at < options.not_before - TIMER_SECONDS:
            waited = f"after {arrived - self._ended_at:.3f} s"
            raise Mismatch(f"a connection not earlier than {options.not_before} s after the last one ended", waited)
        if self._delays and max(self._delays) - min(self._delays) < options.spread:
            waited = ", ".join(f"{delay:.3f}" for delay in self._delays)
            raise Mismatch(f"random delays that differ by at least {options.spread:g} s", f"delays of {waited} s")
        self._hints.append(connection.room)
        last = options.unhinted_in_last
        if last is not None and all(self._hints[-last:]):
            raise Mismatch(
                f"one of {last} connections without a room in its address", f"all had roomId={connection.room}"
            )

    async def _next_connection(self, options: AcceptOptions) -> tuple[trio.SocketStream, float]:
        default = FIRST_CONNECTION_SECONDS if self._ended_at is None else CONNECTION_SECONDS
        seconds = default if options.within is None else options.within
        waiting = self._server.waiting
        with trio.move_on_after(seconds):
            while (first := waiting.first()) is None:
                self._expectations.check_driver("a connection")
                await self._news.wait()
            arrived, stream = first
            waiting.take()
            if self._delay_began_at is not None:
                self._delays.append(arrived - self._delay_began_at)
            return stream, arrived
        raise Mismatch("a connection of the client", f"none in {seconds:g} s{self._expectations.meanwhile()}")

    async def _receive(self, connection: Connection, frame: Frame) -> None:
        """Take a frame of the client. A `ping` is answered at once, unless the transcript expects one next."""
        if connection is not self._connection:
            return
        if isinstance(frame, dict) and frame.get("type") == "ping" and not self._expects_ping:
            reference = {"ref": frame["ref"]} if "ref" in frame else {}
            await connection.send([self._variables.fill(complete({"type": "pong"})) | reference])
        else:
            self._frames.put(frame)

    async def _quiet(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while True:
                self._nothing_is_left()
                self._expectations.check_driver(f"nothing for {seconds:g} s")
                await self._news.wait()

    def _nothing_is_left(self) -> None:
        if self._server.waiting.first() is not None:
            raise Mismatch("nothing more", "another connection of the client")
        if (event := self._driver.events.first()) is not None:
            raise Mismatch("nothing more", f"an event: {shown(event[1])}")
        if (frame := self._frames.first()) is not None:
            raise Mismatch("nothing more", f"a frame: {shown(frame[1])}")


def _next_is_ping(steps: Sequence[Step]) -> bool:
    """Return whether the next frame that these steps expect is a `ping`."""
    first = next((step for step in steps if isinstance(step, ClientSends | AnyOrder | Accept | Close | Kill)), None)
    return isinstance(first, ClientSends) and first.client.get("type") == "ping"
