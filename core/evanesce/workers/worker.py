"""One worker, as the supervisor sees it: a process, started again when it ends, and what becomes of it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from evanesce.workers.line import Assignment, encode

logger = logging.getLogger(__name__)

START_SECONDS = 60.0
"""How long a worker may take from its start until it serves."""

MARGIN_SECONDS = 5.0
"""How much longer than `server.drain_seconds` a worker may take to end."""

STEADY_SECONDS = 5.0
"""A worker that lived this long is started again at once when it ends; below, with a growing delay."""

LONGEST_DELAY = 5.0
"""The longest delay between two starts, in seconds."""


@dataclass(slots=True, eq=False)
class Life:
    """One process of a worker, from before its start to its end.

    `urls` are where it serves, None until it does. `settled`: it serves, or has ended without ever having served.
    `asked`: it was told to end. `code` is its exit code, None where it could not be started at all.
    """

    urls: Sequence[str] | None = None
    settled: trio.Event = field(default_factory=trio.Event)
    asked: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    code: int | None = None
    process: trio.Process | None = None
    pending: int | None = None
    """A signal that came before the process was there."""

    @property
    def serving(self) -> bool:
        """Whether it serves at this moment."""
        return self.urls is not None and not self.ended.is_set() and not self.asked.is_set()

    def end(self, number: int) -> None:
        """Send it a signal at which it ends."""
        self.asked.set()
        if self.process is None:
            self.pending = number
        else:
            self.process.send_signal(number)


class Worker:
    """A worker, whose process is started by `command`. `life` is that of the present process, or of the next one."""

    def __init__(self, command: Sequence[str], assignment: Assignment) -> None:
        self.number = assignment.number
        self.life = Life()
        self._command = [*command, str(assignment.number)]
        self._assignment = assignment
        self._patience = assignment.drain_seconds + MARGIN_SECONDS
        self._leaving = trio.Event()

    def leave(self, number: int) -> None:
        """Send a signal, and start no process any more. May be called again."""
        self._leaving.set()
        self.life.end(number)

    async def restart(self, number: int) -> None:
        """Send a signal, and wait until the process has ended. The next one is being started then."""
        life = self.life
        life.end(number)
        await life.ended.wait()

    async def serves(self) -> None:
        """Wait until there is a process that serves."""
        while not (life := self.life).serving:
            await (life.ended if life.settled.is_set() else life.settled).wait()

    async def keep(self) -> None:
        """Have a process run, and another one whenever it ends, until told to leave.

        It ends as well where the first one never served: that will not become better by itself.
        """
        served = False
        delay = 0.0
        while True:
            began = trio.current_time()
            life = self.life
            await self._live(life)
            self.life = Life()
            life.settled.set()
            life.ended.set()
            served = served or life.urls is not None
            if not served or self._leaving.is_set():
                return
            if life.asked.is_set():
                delay = 0.0
                continue
            lived = trio.current_time() - began
            if life.code is not None:
                logger.warning(
                    "worker %d ended with %d after %.1f s: it is started again", self.number, life.code, lived
                )
            delay = 0.0 if lived >= STEADY_SECONDS else delay
            with trio.move_on_after(delay):
                await self._leaving.wait()
                return
            delay = min(max(0.1, delay * 2), LONGEST_DELAY)

    async def _live(self, life: Life) -> None:
        """Run one process from its start to its end."""
        ours, theirs = socket.socketpair()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as line:
            with theirs:
                try:
                    process = await trio.lowlevel.open_process(
                        self._command,
                        stdin=theirs.fileno(),
                        start_new_session=True,  # an interrupt from the terminal is the supervisor's to pass on
                    )
                except OSError as error:  # out of processes or memory, which may pass
                    logger.error("worker %d could not be started (%s)", self.number, error.strerror)
                    return
            life.process = process
            try:
                if life.pending is not None:
                    process.send_signal(life.pending)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._begin, life, process, line)
                    nursery.start_soon(self._limit, life, process)
                    await process.wait()
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await self._reap(process)
                life.code = process.returncode

    async def _begin(self, life: Life, process: trio.Process, line: trio.SocketStream) -> None:
        """Tell the process what it is, and wait until it says that it serves."""
        with trio.move_on_after(START_SECONDS):
            answer = b""
            try:
                await line.send_all(encode(self._assignment))
                while not answer.endswith(b"\n"):
                    part = await line.receive_some()
                    if not part:
                        return  # it is ending
                    answer += part
            except trio.BrokenResourceError:
                return
            life.urls = msgspec.json.decode(answer, type=list[str])
            life.settled.set()
            return
        logger.error("worker %d did not serve within %g s: it is killed", self.number, START_SECONDS)
        process.kill()

    async def _limit(self, life: Life, process: trio.Process) -> None:
        await life.asked.wait()
        await trio.sleep(self._patience)
        logger.error("worker %d did not end within %g s: it is killed", self.number, self._patience)
        process.kill()

    async def _reap(self, process: trio.Process) -> None:
        """End a process that still runs because the supervisor itself ends by a fault."""
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(self._patience):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
