"""The client under test: a process that takes JSON lines on standard input and writes JSON lines on standard output."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import trio

from evanesce.conformance.arrivals import Arrivals, Frame, News
from evanesce.conformance.scripted_server import decoded
from evanesce.conformance.transcript import Json
from evanesce.errors import ConfigurationError

LINE_BYTES = 1 << 20
ERROR_LINES = 12
END_SECONDS = 2


class Driver:
    """A running driver. `events` has its lines, `states` those that are states of the connection."""

    def __init__(self, process: trio.Process, news: News) -> None:
        """Read from `process`."""
        self.events: Arrivals[Frame] = Arrivals(news)
        self.states: Arrivals[Frame] = Arrivals(news)
        self.exit_code: int | None = None
        """The exit code, after the process has ended by itself."""
        self.last_errors: deque[str] = deque(maxlen=ERROR_LINES)
        """The end of its standard error."""
        self._process = process
        self._news = news

    async def tell(self, line: dict[str, Json]) -> None:
        """Write a line to standard input. Nothing happens if the process has ended: the next step will notice."""
        assert self._process.stdin is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._process.stdin.send_all(msgspec.json.encode(line) + b"\n")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def read_output(self) -> None:
        """Read standard output until it ends."""
        assert self._process.stdout is not None
        async for line in _lines(self._process.stdout):
            text = line.strip()
            event = decoded(text)
            kind = event.get("event") if isinstance(event, dict) else None
            if text and kind != "ok":
                (self.states if kind == "state" else self.events).put(event)
        self.exit_code = await self._process.wait()
        self._news.tell()

    async def read_errors(self) -> None:
        """Read standard error until it ends."""
        assert self._process.stderr is not None
        async for line in _lines(self._process.stderr):
            self.last_errors.append(line.decode("utf-8", "replace").rstrip())

    async def end(self) -> None:
        """Close standard input, wait a little for the process to end, and kill what is left."""
        assert self._process.stdin is not None
        with trio.move_on_after(END_SECONDS):
            await self._process.stdin.aclose()
            await self._process.wait()


@asynccontextmanager
async def running(command: Sequence[str], url: str, news: News) -> AsyncGenerator[Driver]:
    """Run the driver with `url` as its last argument. Raises `ConfigurationError` if it cannot be started."""
    try:
        process = await trio.lowlevel.open_process(
            [*command, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that a signal reaches the children of a wrapper such as npx
        )
    except OSError as error:
        raise ConfigurationError(
            "--command", f"{command[0]} cannot be started: {error.strerror}", "It is the program of the client."
        ) from None
    driver = Driver(process, news)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.read_output)
            nursery.start_soon(driver.read_errors)
            yield driver
            await driver.end()
            nursery.cancel_scope.cancel()
    finally:
        driver.send_signal(signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()


def split(command: str) -> list[str]:
    """Return the words of a command, as a shell does. Raises `ConfigurationError`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError("--command", str(error), "Quote it as in a shell.") from None
    if not words:
        raise ConfigurationError("--command", "it names no program", 'For example "node my-client.js".')
    return words


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    """Return the lines of a stream. One of more than `LINE_BYTES` is cut into several."""
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > LINE_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest
