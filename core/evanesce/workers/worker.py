"""One worker, as the supervisor sees it: a process that is started again whenever it ends."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import trio

from evanesce.inherited import inherited_sockets
from evanesce.workers.channel import Assignment, encode
from evanesce.workers.handover import HandoverSockets

logger = logging.getLogger(__name__)

START_SECONDS = 60.0
"""How long a worker may take until it is ready."""

MARGIN_SECONDS = 5.0
"""How much longer than `server.lame_duck_seconds` and `server.drain_seconds` a worker may take to stop."""

STEADY_SECONDS = 5.0
"""A worker that ran for this long is started again at once. Otherwise it is started after a growing delay."""

LONGEST_DELAY = 5.0
"""The longest delay before a start, in seconds."""


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """One process of a worker, from before its start to its end.

    - `urls`: the addresses that it listens on, None until it is ready.
    - `ready_or_ended`: set when it is ready, or has ended before it was.
    - `stopping`: set when it was told to stop.
    - `ended`: set when it has ended. `code`: its exit code, None if it could not be started.
    - `pending`: a signal to send when the process has started.
    - `heard_at`: when it last gave a sign of life, in seconds of Trio's clock.
    """

    urls: Sequence[str] | None = None
    ready_or_ended: trio.Event = field(default_factory=trio.Event)
    stopping: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    code: int | None = None
    process: trio.Process | None = None
    pending: int | None = None
    heard_at: float = math.inf

    @property
    def serving(self) -> bool:
        """Whether it is ready, has not ended, and was not told to stop."""
        return self.urls is not None and not self.ended.is_set() and not self.stopping.is_set()

    def hangs(self, silent_since: float) -> bool:
        """Return whether it serves and has given no sign of life since then.

        One that starts or stops too slowly is killed by its `Worker`.
        """
        return self.serving and self.heard_at < silent_since

    def stop(self, number: int) -> None:
        """Send it a signal that stops it."""
        self.stopping.set()
        if self.process is None:
            self.pending = number
        else:
            self.process.send_signal(number)


class Worker:
    """A worker, whose process is started by `command`. `current` is the present process, or the next one.

    `handover` are the sockets whose descriptors the assignment names.
    """

    def __init__(self, command: Sequence[str], assignment: Assignment, handover: HandoverSockets | None = None) -> None:
        self.number = assignment.number
        self.current = WorkerProcess()
        self._command = [*command, str(assignment.number)]
        self._assignment = assignment
        self._handover = handover
        self._stop_seconds = assignment.lame_duck_seconds + assignment.drain_seconds + MARGIN_SECONDS
        self._stopping = trio.Event()

    def stop(self, number: int) -> None:
        """Send a signal to the process, and start no other one. May be called again."""
        self._stopping.set()
        self.current.stop(number)

    async def restart(self, number: int) -> None:
        """Send a signal to the process, and wait until it has ended. `run` starts the next one."""
        current = self.current
        current.stop(number)
        await current.ended.wait()

    async def wait_serving(self) -> None:
        """Wait until a process serves."""
        while not (current := self.current).serving:
            await (current.ended if current.ready_or_ended.is_set() else current.ready_or_ended).wait()

    async def run(self) -> None:
        """Run a process, and start it again whenever it ends, until `stop` is called.

        Return as well when the first process ends before it is ready: another one would fail in the same way.
        """
        served = False
        delay = 0.0
        while True:
            began = trio.current_time()
            current = self.current
            await self._run_process(current)
            if self._handover is not None:
                self._handover.clear(self.number)
            self.current = WorkerProcess()
            current.ready_or_ended.set()
            current.ended.set()
            served = served or current.urls is not None
            if not served or self._stopping.is_set():
                return
            if current.stopping.is_set():
                delay = 0.0
                continue
            ran_for = trio.current_time() - began
            if current.code is not None:
                logger.warning(
                    "worker %d ended with exit code %d after %.1f s: starting it again",
                    self.number,
                    current.code,
                    ran_for,
                )
            delay = 0.0 if ran_for >= STEADY_SECONDS else delay
            with trio.move_on_after(delay):
                await self._stopping.wait()
                return
            delay = min(max(0.1, delay * 2), LONGEST_DELAY)

    async def _run_process(self, current: WorkerProcess) -> None:
        """Run one process from its start to its end."""
        ours, theirs = socket.socketpair()
        handover = () if self._assignment.handover is None else self._assignment.handover.all
        inherited = inherited_sockets()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            with theirs:
                try:
                    process = await trio.lowlevel.open_process(
                        self._command,
                        stdin=theirs.fileno(),
                        pass_fds=(*handover, *self._assignment.sockets.values(), *inherited.descriptors),
                        env=inherited.worker_environment(),
                        start_new_session=True,  # Ctrl-C in the terminal is for the supervisor, which forwards it
                    )
                except OSError as error:  # no processes or memory left, which may be temporary
                    logger.error("worker %d could not be started (%s)", self.number, error.strerror)
                    return
            current.process = process
            try:
                if current.pending is not None:
                    process.send_signal(current.pending)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._start, current, process, stream)
                    nursery.start_soon(self._kill_when_late, current, process)
                    await process.wait()
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await self._reap(process)
                current.code = process.returncode

    async def _start(self, current: WorkerProcess, process: trio.Process, stream: trio.SocketStream) -> None:
        """Send the process its assignment, and wait until it reports that it is ready."""
        with trio.move_on_after(START_SECONDS):
            urls: list[str] | None = None
            try:
                while urls is None:  # it starts its program again, and needs the assignment once more
                    await stream.send_all(encode(self._assignment))
                    answer = b""
                    while not answer.endswith(b"\n"):
                        part = await stream.receive_some()
                        if not part:
                            return  # the process is ending
                        answer += part
                    urls = msgspec.json.decode(answer, type=list[str] | None)
            except trio.BrokenResourceError:
                return
            current.heard_at = trio.current_time()
            current.urls = urls
            current.ready_or_ended.set()
        if current.urls is not None:
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    current.heard_at = trio.current_time()
            return
        logger.error("worker %d was not ready within %g s: killing it", self.number, START_SECONDS)
        process.kill()

    async def _kill_when_late(self, current: WorkerProcess, process: trio.Process) -> None:
        await current.stopping.wait()
        await trio.sleep(self._stop_seconds)
        logger.error("worker %d did not stop within %g s: killing it", self.number, self._stop_seconds)
        process.kill()

    async def _reap(self, process: trio.Process) -> None:
        """Stop a process that still runs because the supervisor itself ends by a fault."""
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(self._stop_seconds):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
