"""The supervisor: starts the workers, forwards signals, and restarts the workers one after the other on SIGHUP."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
import trio

from evanesce.config.model import Config
from evanesce.config.public import admin_binds
from evanesce.lifecycle.database import locked
from evanesce.lifecycle.reload import FileWatch
from evanesce.lifecycle.restart_check import REFUSED, RestartCheck
from evanesce.lifecycle.service_manager import ServiceManager
from evanesce.lifecycle.signals import SHUTDOWN_SIGNALS, unblock_signals
from evanesce.lifecycle.startup_checks import refuse_exposed_debugging
from evanesce.listening.opening import shared_unix_socket
from evanesce.plugins import Components, Plugins, discovery
from evanesce.ports import refuse_misassigned, refuse_taken
from evanesce.store.embedded import embedded_valkey
from evanesce.webaddress import is_unix
from evanesce.workers.channel import Assignment
from evanesce.workers.handover import open_handover_sockets
from evanesce.workers.worker import START_SECONDS, Worker, WorkerProcess

logger = logging.getLogger(__name__)

_SIGNS_MISSED = 2  # after so many signs of life that did not come, a worker hangs
_NOT_RESTARTED = "the workers were not restarted, see the log"


def run(
    config: Config,
    plugins: Plugins,
    command: Sequence[str],
    file: Path | None,
    settings: Sequence[str],
    restart_check: RestartCheck,
    *,
    debug_plugins: bool = False,
    migrate: bool = True,
) -> int:
    """Serve with `config.server.workers` processes until SIGINT or SIGTERM, and return the exit code.

    `command` starts a worker, which reads the configuration from `file` and `settings` itself. `restart_check` checks
    it before a restart. The server's secret and name are set. `debug_plugins` and `migrate` are as in `Assignment`.
    Raises `ConfigurationError` and `PluginError`.
    """
    components = plugins.build(config, Path.cwd())  # so that errors are reported before anything is started
    if debug_plugins:
        refuse_exposed_debugging(config, components)
    watched = discovery.files(plugins.names) if debug_plugins else ()
    path = None if file is None else str(file)
    return trio.run(_main, config, components, command, path, settings, restart_check, debug_plugins, migrate, watched)


async def _main(
    config: Config,
    components: Components,
    command: Sequence[str],
    file: str | None,
    settings: Sequence[str],
    restart_check: RestartCheck,
    debug_plugins: bool,
    migrate: bool,
    watched: Sequence[Path],
) -> int:
    server = config.server
    if server.node is None:
        raise AssertionError("the server is named before it starts")
    # Before the workers share the ports: they could share one with another program without noticing.
    binds = [*components.binds, *admin_binds(config)]
    await refuse_misassigned(binds)
    await refuse_taken(binds)
    manager = ServiceManager.from_environment()
    async with AsyncExitStack() as stack:
        shared = [(key, bind) for key, bind in components.binds if is_unix(bind)]
        sockets = {bind: stack.enter_context(shared_unix_socket(key, bind)) for key, bind in shared}
        redis = config.redis
        embedded, alone = redis.url == "embedded", False
        if embedded:
            database = (await components.repository.inspect()).file
            if database is not None:
                stack.enter_context(locked(database))
                restart_check.require_database(database)
                alone = True
            redis = msgspec.structs.replace(redis, url=await stack.enter_async_context(embedded_valkey()))
        handover = open_handover_sockets(server.workers)
        if handover is not None:
            stack.callback(handover.close)
        workers: list[Worker] = []
        for number in range(1, server.workers + 1):
            assignment = Assignment(
                number=number,
                file=file,
                settings=settings,
                workers=server.workers,
                node=server.node,
                lame_duck_seconds=server.lame_duck_seconds,
                drain_seconds=server.drain_seconds,
                redis=redis,
                debug_plugins=debug_plugins,
                embedded=embedded,
                alone=alone,
                migrate=migrate,
                life_seconds=manager.ping_seconds,
                handover=None if handover is None else handover.descriptors(number),
                sockets={bind: opened.fileno() for bind, opened in sockets.items()},
            )
            workers.append(Worker(command, assignment, handover))
        with trio.open_signal_receiver(*SHUTDOWN_SIGNALS) as signals:
            unblock_signals()
            return await Supervisor(workers, restart_check, watched, manager, list(sockets.values())).run(signals)


class Supervisor:
    """Keep the workers running. They are restarted only with a configuration for which `restart_check` passes.

    They are also restarted when one of the files `watched` changes. `manager` is told what happens, and gets signs of
    life while no worker hangs. `sockets` are those on which the workers listen: they are closed here when the workers
    stop, so that a client that none of them will serve is refused at once.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        restart_check: RestartCheck,
        watched: Sequence[Path] = (),
        manager: ServiceManager | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self._workers = workers
        self._manager = manager or ServiceManager(None)
        self._sockets = sockets
        self._watched = watched
        self._restart_check = restart_check
        self._serving = ""
        self._stopping = False
        self._restarting = trio.CancelScope()
        # Restarts that are requested during a restart are merged into one, which follows it.
        self._request_restart, self._restart_requests = trio.open_memory_channel[None](1)

    async def run(self, signals: AsyncIterator[int]) -> int:
        """Run the workers until one of `signals` stops them, and return the exit code."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._handle_signals, signals)
            nursery.start_soon(self._manager.run, self._nobody_hangs)
            if self._watched:
                nursery.start_soon(FileWatch(self._watched).run)
            code = await self._run_workers()
            nursery.cancel_scope.cancel()
        return code

    def _nobody_hangs(self) -> bool:
        seconds = self._manager.ping_seconds or 0.0
        silent_since = trio.current_time() - _SIGNS_MISSED * seconds
        return not any(worker.current.hangs(silent_since) for worker in self._workers)

    async def _handle_signals(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP and not self._stopping:
                logger.info("%s: checking the configuration before a restart", name)
                self._manager.reloading()
                with suppress(trio.WouldBlock):
                    self._request_restart.send_nowait(None)
                continue
            logger.info("%s: forwarding it to the workers", name)
            self._manager.stopping()
            self._stopping = True
            self._restarting.cancel()
            for worker in self._workers:
                worker.stop(number)
            for opened in self._sockets:
                opened.close()

    async def _run_workers(self) -> int:
        """Run the workers until all have stopped, and return the exit code.

        The first one starts alone: it migrates the database, and reports errors that all workers would report.
        """
        first, *others = self._workers
        urls: Sequence[str] = ()
        async with trio.open_nursery() as nursery:
            for group in ([first], others):
                processes = [(worker.number, worker.current) for worker in group]
                for worker in group:
                    nursery.start_soon(worker.run)
                for number, current in processes:
                    await current.ready_or_ended.wait()
                    if self._stopping:
                        return 0
                    if current.urls is None:
                        nursery.cancel_scope.cancel()
                        return self._start_failed(number, current)
                    urls = urls or current.urls
            for url in urls:
                print(f"listening on {url}", flush=True)
            self._serving = f"serving on {', '.join(urls)} with {len(self._workers)} workers"
            self._manager.ready(self._serving)
            nursery.start_soon(self._restart_on_request)
        return 0

    def _start_failed(self, number: int, current: WorkerProcess) -> int:
        if current.code == REFUSED:
            return REFUSED
        logger.error("worker %d ended with exit code %s before it was ready", number, current.code)
        return 1

    async def _restart_on_request(self) -> None:
        with self._restarting:
            async for _ in self._restart_requests:
                try:
                    restarted = await self._restart_all()
                except trio.TooSlowError:
                    logger.error("the restart was abandoned: a worker was not ready within %g s", START_SECONDS)
                    restarted = False
                self._manager.ready(self._serving if restarted else f"{self._serving}; {_NOT_RESTARTED}")

    async def _restart_all(self) -> bool:
        """Restart one worker after the other, each while all others serve. Raises `trio.TooSlowError`.

        Return whether that was done: the new configuration may be refused.
        """
        urls = {url for worker in self._workers for url in worker.current.urls or ()}
        if not await self._restart_check.passes(sorted(urls)):
            return False
        logger.info("restarting the workers, one after the other")
        for worker in self._workers:
            await self._wait_all_serving()
            await worker.restart(signal.SIGHUP)
        await self._wait_all_serving()
        logger.info("all workers were restarted")
        return True

    async def _wait_all_serving(self) -> None:
        with trio.fail_after(START_SECONDS):
            while not all(worker.current.serving for worker in self._workers):
                for worker in self._workers:
                    await worker.wait_serving()
