"""The server: all components assembled, and the order in which they start and stop.

The nursery tree is the supervision tree: server → hub → rooms, server → transports → connections. The server stops from
the outside in: it closes the connections, ends the rooms, writes the waiting records to the database, and closes the
store.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

import trio

from evanesce import logs
from evanesce.admin.access import Access
from evanesce.admin.listener import (
    RETRY_SECONDS,
    AdminListener,
    listening_on,
    open_admin_sockets,
)
from evanesce.application import Application
from evanesce.config.model import Config, secrets_of
from evanesce.config.public import admin_bind, admin_binds
from evanesce.config.shared import shared_settings
from evanesce.context import ServerContext
from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce.inherited import inherited_sockets
from evanesce.interfaces import Finding
from evanesce.lifecycle.database import announce_migrations, locked
from evanesce.lifecycle.reload import FileWatch
from evanesce.lifecycle.restart_check import RestartCheck
from evanesce.lifecycle.service_manager import ServiceManager
from evanesce.lifecycle.shutdown import Shutdown
from evanesce.lifecycle.start_line import log_start
from evanesce.lifecycle.startup_checks import (
    check_environment,
    findings,
    refuse_exposed_debugging,
    refuse_exposed_guests,
)
from evanesce.maintenance.agreement import Agreement
from evanesce.maintenance.binding import RedisGuard
from evanesce.metrics import Metrics
from evanesce.monitoring.event_loop import measure_delay
from evanesce.monitoring.parts import watch_certificates, watch_plugins, watch_process
from evanesce.monitoring.worker_metrics import WorkerMetrics
from evanesce.plugins import Components, Plugins, discovery
from evanesce.ports import refuse_misassigned
from evanesce.process import tune_gc
from evanesce.sessions.gateway import Gateway
from evanesce.store.disk_warning import warn_of_disk
from evanesce.store.lag import ExpiryLag
from evanesce.store.redis import open_redis_store
from evanesce.store.statistics import StoreStatistics
from evanesce.transports import RunningTransports, run_transports
from evanesce.workers.channel import SupervisorChannel
from evanesce.workers.handover import RoomHandover
from evanesce.writebehind import WriteBehind

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""The least time that the last records have to reach the database when the server stops."""

RELEASE_SECONDS = 1.0
"""How long it may take to note in the database that this server does not use it any more."""

ANSWER_SECONDS = 2.0
"""How long a server whose port stays open after it still answers the requests that it has accepted."""


def run(
    config: Config,
    plugins: Plugins,
    exit_now: Callable[[Callable[[], int]], NoReturn],
    channel: SupervisorChannel | None = None,
    restart_check: RestartCheck | None = None,
    *,
    file: Path | None = None,
    migrate: bool = True,
    debug_plugins: bool = False,
) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP, and return the exit code. The server's secret and name are set.

    - `channel` connects a worker with its supervisor. A server without a supervisor has a `restart_check`: a SIGHUP
      for which it passes stops the server with `RESTART` in place of an exit code.
    - `exit_now` ends the process with the exit code of the function that it is given. It is called where a plugin's
      code ignores its cancellation.
    - `file`: the configuration file, for the log.
    - `migrate`: whether the database may be created or migrated.
    - `debug_plugins`: refuse addresses that other machines can reach; without a supervisor, restart when a file of a
      plugin changes.

    Raises `ConfigurationError` and `PluginError`, possibly wrapped in exception groups.
    """
    check_environment(config)
    handover = _inherit_handover(channel)
    sockets = None if channel is None else channel.assignment.sockets
    components = plugins.build(config, Path.cwd(), handover, sockets)
    refuse_exposed_guests(config, components)
    if debug_plugins:
        refuse_exposed_debugging(config, components)
    # Of several workers, the first one logs what is the same for all.
    is_first = channel is None or channel.assignment.number == 1
    # The supervisor of workers speaks for all of them.
    manager = ServiceManager.from_environment() if channel is None else ServiceManager(None)
    server = _Server(
        config,
        plugins,
        components,
        channel,
        handover,
        Shutdown(restart_check, manager),
        manager,
        shared=shared_settings(
            config, components.authenticators, components.database
        ),  # here, because both of these block
        found=findings(config, plugins, components, Path.cwd()) if is_first else (),
        log_start=partial(log_start, config, file, plugins.names) if is_first else None,
        migrate=migrate,
        watched=discovery.files(plugins.names) if debug_plugins and channel is None else (),
    )
    tune_gc()
    return trio.run(server.main, exit_now)


class _Server:
    """One server process. `shared` are the settings that servers on one Redis compare, `found` those to warn of.

    `log_start` is called with a description of the database, and the addresses that the server listens on. The server
    restarts when one of the files `watched` changes.
    """

    def __init__(
        self,
        config: Config,
        plugins: Plugins,
        components: Components,
        channel: SupervisorChannel | None,
        handover: RoomHandover | None,
        shutdown: Shutdown,
        manager: ServiceManager,
        *,
        shared: Mapping[str, str],
        found: Sequence[tuple[str, Finding]],
        log_start: Callable[[str, Sequence[str]], None] | None,
        migrate: bool,
        watched: Sequence[Path],
    ) -> None:
        self._config = config
        self._plugins = plugins
        self._components = components
        self._channel = channel
        self._handover = handover
        self._shutdown = shutdown
        self._manager = manager
        self._shared = shared
        self._found = found
        self._log_start = log_start
        self._migrate = migrate
        self._watched = watched
        self._database = ""
        self._flushing = trio.CancelScope(shield=True)

    async def main(self, exit_now: Callable[[Callable[[], int]], NoReturn]) -> int:
        """Serve, and return the exit code. Signals are received before anything starts."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._shutdown.watch_signals)
            nursery.start_soon(self._manager.run)
            code = await self._plugins.around(self._run, exit_now)
            nursery.cancel_scope.cancel()
        return code

    async def _run(self) -> int:
        with self._shutdown.startup:
            async with AsyncExitStack() as stack:
                context, guard = await self._open(stack)
                await self._serve(context, guard)
        return self._shutdown.code

    # The start

    async def _open(self, stack: AsyncExitStack) -> tuple[ServerContext, RedisGuard]:
        """Open the database, the sign-in providers and the store; `stack` closes them."""
        config, components = self._config, self._components
        if config.server.node is None:
            raise AssertionError("the server is named before it starts")
        embedded, alone = await self._prepare_database(stack)
        await stack.enter_async_context(components.repository)
        for authenticator in components.authenticators.values():
            await stack.enter_async_context(authenticator)
        if config.traces.url is not None:
            from evanesce.tracing.export import exported_traces  # needs the extra `traces`

            traces = exported_traces(config.traces.url, config.traces.ratio, config.server.node)
            await stack.enter_async_context(traces)
        lag, statistics = ExpiryLag(), StoreStatistics()
        store = await stack.enter_async_context(
            open_redis_store(
                config.redis,
                ttl=config.messages.ttl,
                longest_ttl=config.messages.longest_ttl,
                server_id=config.server.node,
                lag=lag,
                statistics=statistics,
                secrets=secrets_of(config.server.secret) if config.messages.encrypt_at_rest else (),
            )
        )
        metrics = Metrics()
        metrics.watch_histogram(
            "expiry_lag_seconds", "Seconds from the end of a key until Redis had erased it", lag.histogram
        )
        statistics.watch(metrics)
        components.database_calls.watch(metrics)
        watch_certificates(components.certificates, metrics)
        watch_process(metrics)
        metrics.watch_counter("log_lines_dropped", "Lines of the log that were dropped: nothing read it", logs.dropped)
        watch_plugins(self._plugins, metrics)
        records = WriteBehind(components.repository, metrics)
        stack.push_async_callback(self._flush, records)
        guard = RedisGuard(components.repository, store, metrics, embedded=embedded, alone=alone)
        stack.push_async_callback(self._release, guard)
        await guard.bind()
        return ServerContext(config, store, components.repository, records, self._plugins, metrics), guard

    async def _prepare_database(self, stack: AsyncExitStack) -> tuple[bool, bool]:
        """Log the migrations of the database, and lock its file where Redis is embedded.

        Return whether Redis is embedded, and whether no other server with an embedded Redis can use the file. A
        worker's supervisor has done this already.
        """
        inspection = await announce_migrations(self._components.repository, migrate=self._migrate)
        self._database = inspection.text if inspection.file is None else str(inspection.file)
        if self._channel is not None:
            return self._channel.assignment.embedded, self._channel.assignment.alone
        embedded = self._config.redis.url == "embedded"
        if not embedded or inspection.file is None:
            return embedded, False
        stack.enter_context(locked(inspection.file))
        return True, True

    # The service

    async def _serve(self, context: ServerContext, guard: RedisGuard) -> None:
        """Serve until the shutdown, then close all connections and rooms."""
        application = Application(context, self._components, guard)
        gateway = application.gateway
        async with trio.open_nursery() as nursery:
            await self._start_services(nursery, context, guard, application)
            if self._channel is None:
                await refuse_misassigned([*self._components.binds, *admin_binds(self._config)])
            admin_urls = await self._start_admin(nursery, application)
            async with run_transports(self._components.transports, self._plugins, gateway) as transports:
                self._shutdown.serving()
                if self._log_start is not None:
                    self._log_start(self._database, [*transports.urls, *admin_urls])
                self._log_findings()
                nursery.start_soon(transports.watch, self._shutdown)
                nursery.start_soon(self._shutdown.restart_on_request, [*transports.urls, *admin_urls])
                if self._watched:
                    await nursery.start(FileWatch(self._watched).run)
                if self._handover is not None:
                    nursery.start_soon(self._handover.run)
                await self._report(nursery, transports.urls)
                await self._shutdown.requested.wait()
                await self._wait_lame_duck(gateway)
                drained = trio.current_time() + self._config.server.drain_seconds
                with trio.CancelScope(deadline=drained) as draining:
                    nursery.start_soon(self._cancel_when_forced, draining)
                    await self._drain(application, transports)
            self._flushing.deadline = max(drained, trio.current_time() + FLUSH_SECONDS)
            await self._plugins.finish_events(FLUSH_SECONDS)
            nursery.cancel_scope.cancel()

    async def _start_services(
        self, nursery: trio.Nursery, context: ServerContext, guard: RedisGuard, application: Application
    ) -> None:
        """Start the tasks that run beside the transports."""
        nursery.start_soon(context.records.run)
        nursery.start_soon(measure_delay, context.metrics)
        nursery.start_soon(guard.run)
        nursery.start_soon(application.cleanup.run)
        nursery.start_soon(Agreement(self._shared, context.store.servers).run)
        await nursery.start(application.run)
        if self._channel is None or self._channel.assignment.number == 1:  # the same for all workers
            nursery.start_soon(warn_of_disk, context.store.health)
        if self._channel is not None:
            assignment = self._channel.assignment
            workers = WorkerMetrics(context.metrics, assignment.number, assignment.workers, self._handover)
            nursery.start_soon(workers.run)
            nursery.start_soon(self._follow_supervisor, self._channel)
        if (handover := self._handover) is not None:
            passed = "Connections that were passed to another worker, that of their room"
            context.metrics.watch_counter("connections_passed", passed, lambda: handover.passed)

    async def _start_admin(self, nursery: trio.Nursery, application: Application) -> Sequence[str]:
        """Serve operators, on the first of several workers: each of them can answer for all. Return the addresses.

        Raises `ConfigurationError` where a server without a supervisor cannot listen. A worker tries again: its
        supervisor would start it again and again, and the clients need it.
        """
        tokens, bind = secrets_of(self._config.admin.token), admin_bind(self._config)
        if not tokens or bind is None or not (self._channel is None or self._channel.assignment.number == 1):
            return ()
        access = Access(application.admin, tokens, application.gateway.admits_host, trio.current_time)
        listener = AdminListener(access)

        async def serve(*, task_status: trio.TaskStatus[Sequence[str]]) -> None:
            async with open_admin_sockets(bind) as sockets:
                urls = listening_on(bind, sockets)
                logger.info("listening for operators on %s", ", ".join(urls), extra=logs.OWN_ADDRESSES)
                task_status.started(urls)
                await listener.run(sockets)

        async def try_again() -> None:
            while True:
                try:
                    async with trio.open_nursery() as serving:
                        await serving.start(serve)
                except* ConfigurationError as errors:
                    logger.error("operators cannot be served: %s", errors.exceptions[0])
                await trio.sleep(RETRY_SECONDS)

        if self._channel is not None:
            nursery.start_soon(try_again)
            return ()
        urls: Sequence[str] = await nursery.start(serve)
        return urls

    def _log_findings(self) -> None:
        """Warn of what the deployer should change. After the start: a start that is refused logs its reason alone."""
        for subject, finding in self._found:
            logger.warning("%s: %s. %s", subject, finding.text, finding.advice)

    async def _report(self, nursery: trio.Nursery, urls: Sequence[str]) -> None:
        """Print the addresses that the server listens on, or send them to the supervisor, which prints them."""
        await trio.to_thread.run_sync(logs.flush)  # whoever waits for the addresses may read the log then
        if self._channel is not None:
            await self._channel.report(urls)
            nursery.start_soon(self._channel.send_signs_of_life)
            return
        for url in urls:
            print(f"listening on {url}", flush=True)
        self._manager.ready(f"serving on {', '.join(urls)}")

    # The end

    async def _wait_lame_duck(self, gateway: Gateway) -> None:
        """Serve on while load balancers find out that the server is shutting down.

        A restarting worker skips this: other workers accept new clients meanwhile.
        """
        if self._channel is None or not self._shutdown.restarting:
            gateway.announce_end()
            with trio.move_on_after(self._config.server.lame_duck_seconds):
                await self._shutdown.draining.wait()
        self._shutdown.draining.set()

    async def _drain(self, application: Application, transports: RunningTransports) -> None:
        """Close all connections, then all rooms."""
        if self._handover is not None:
            self._handover.leave()
        await application.gateway.drain(restarting=self._shutdown.restarting)
        await application.hub.drain()
        if self._channel is not None or inherited_sockets().descriptors:  # others accept the new clients
            with trio.move_on_after(ANSWER_SECONDS):
                await transports.left.wait()

    async def _cancel_when_forced(self, draining: trio.CancelScope) -> None:
        await self._shutdown.forced.wait()
        draining.cancel()

    async def _follow_supervisor(self, channel: SupervisorChannel) -> None:
        """Shut down when the supervisor has ended, without lame-duck time: the next supervisor needs the ports."""
        await channel.watch()
        self._shutdown.draining.set()

    async def _release(self, guard: RedisGuard) -> None:
        """Note in the database that this server does not use it any more."""
        with trio.move_on_after(RELEASE_SECONDS, shield=True):
            await guard.release(restarting=self._shutdown.restarting and self._channel is not None)

    async def _flush(self, records: WriteBehind) -> None:
        """Write the waiting records to the database."""
        if self._flushing.deadline == math.inf:  # the server stops because of a fault
            self._flushing.deadline = trio.current_time() + FLUSH_SECONDS
        with self._flushing:
            try:
                await records.flush()
            except PersistenceUnavailable as error:
                logger.error("%d records are lost, because the database did not take them: %s", records.waiting, error)
        if self._flushing.cancelled_caught:
            logger.error("%d records are lost, because the database did not take them in time", records.waiting)


def _inherit_handover(channel: SupervisorChannel | None) -> RoomHandover | None:
    """Return what passes connections to other workers; None where there are none, or the system cannot do that."""
    assignment = None if channel is None else channel.assignment
    if assignment is None or assignment.handover is None:
        return None
    return RoomHandover.inherit(assignment.number, assignment.workers, assignment.handover)
