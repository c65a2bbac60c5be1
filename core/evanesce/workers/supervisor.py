"""The supervisor: starts the workers, passes signals on, and restarts them one after the other on SIGHUP."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import trio

from evanesce.config.model import Config
from evanesce.errors import ConfigurationError
from evanesce.plugins import Parts, Plugins
from evanesce.ports import probe
from evanesce.store.embedded import embedded_valkey
from evanesce.workers.line import Assignment
from evanesce.workers.worker import START_SECONDS, Life, Worker

logger = logging.getLogger(__name__)

REFUSED = 2
"""The exit code of a worker that has told the deployer what to correct."""


def run(config: Config, plugins: Plugins, command: Sequence[str], file: Path | None, settings: Sequence[str]) -> int:
    """Have `config.server.workers` processes serve until SIGINT or SIGTERM; gives the exit code.

    `command` starts a worker, which reads the configuration from `file` and `settings` itself. The server's secret and
    name are set. Raises `ConfigurationError`, `PluginError`.
    """
    parts = plugins.build(config, Path.cwd())  # what cannot be used is told before anything is started
    return trio.run(_main, config, parts, command, None if file is None else str(file), settings)


async def _main(config: Config, parts: Parts, command: Sequence[str], file: str | None, settings: Sequence[str]) -> int:
    server = config.server
    if server.node is None:
        raise AssertionError("the server is named before it starts")
    await refuse_taken_ports(parts)
    async with AsyncExitStack() as stack:
        redis_url = config.redis.url
        if redis_url == "embedded":
            redis_url = await stack.enter_async_context(embedded_valkey())
        workers: list[Worker] = []
        for number in range(1, server.workers + 1):
            assignment = Assignment(
                number=number,
                file=file,
                settings=settings,
                workers=server.workers,
                node=server.node,
                drain_seconds=server.drain_seconds,
                redis_url=redis_url,
            )
            workers.append(Worker(command, assignment))
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            return await Supervisor(workers).run(signals)


async def refuse_taken_ports(parts: Parts) -> None:
    """Raise `ConfigurationError` where something else listens on a transport's port, which it would share unseen."""
    for name, transport in parts.transports.items():
        for bind in transport.binds:
            try:
                await probe(bind)
            except OSError as error:
                raise ConfigurationError(
                    f"plugins.{name}.bind",
                    f"cannot listen on {bind} ({error.strerror or error})",
                    "Choose an address of this machine and a port that nothing else listens on",
                ) from None


class Supervisor:
    """Looks after the workers."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._leaving = False
        self._restarting = trio.CancelScope()
        # More restarts that are asked for while one is under way are one: it begins after all of them.
        self._ask, self._asked = trio.open_memory_channel[None](1)

    async def run(self, signals: AsyncIterator[int]) -> int:
        """Have the workers serve until a signal of `signals` says otherwise; gives the exit code."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey, signals)
            code = await self._keep()
            nursery.cancel_scope.cancel()
        return code

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP and not self._leaving:
                logger.info("%s: restarting the workers, one after the other", name)
                with suppress(trio.WouldBlock):
                    self._ask.send_nowait(None)
                continue
            logger.info("%s: passing it on to the workers", name)
            self._leaving = True
            self._restarting.cancel()
            for worker in self._workers:
                worker.leave(number)

    async def _keep(self) -> int:
        """Start the workers, the first one alone: it migrates the database, and says what is to be corrected, once."""
        first, *others = self._workers
        urls: Sequence[str] = ()
        async with trio.open_nursery() as nursery:
            for group in ([first], others):
                lives = [(worker.number, worker.life) for worker in group]
                for worker in group:
                    nursery.start_soon(worker.keep)
                for number, life in lives:
                    await life.settled.wait()
                    if self._leaving:
                        return 0
                    if life.urls is None:
                        nursery.cancel_scope.cancel()
                        return self._failed(number, life)
                    urls = urls or life.urls
            for url in urls:
                print(f"listening on {url}", flush=True)
            nursery.start_soon(self._restart_when_asked)
        return 0

    def _failed(self, number: int, life: Life) -> int:
        if life.code == REFUSED:
            return REFUSED
        logger.error("worker %d ended with %s before it served", number, life.code)
        return 1

    async def _restart_when_asked(self) -> None:
        with self._restarting:
            async for _ in self._asked:
                try:
                    await self._restart_all()
                except trio.TooSlowError:
                    logger.error("the restart has stopped: a worker does not serve within %g s", START_SECONDS)

    async def _restart_all(self) -> None:
        """Restart one worker after the other, each only while all others serve. Raises `trio.TooSlowError`."""
        for worker in self._workers:
            await self._all_serve()
            await worker.restart(signal.SIGHUP)
        await self._all_serve()
        logger.info("all workers were restarted")

    async def _all_serve(self) -> None:
        with trio.fail_after(START_SECONDS):
            while not all(worker.life.serving for worker in self._workers):
                for worker in self._workers:
                    await worker.serves()
