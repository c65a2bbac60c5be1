"""The server: all parts put together, and the order in which they start and end.

The nursery tree is the supervision tree: server → hub → rooms, server → transports → connections. It ends from the
outside in: clients are sent away, rooms end, what waits for the database is written, the store is let go.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import trio

from evanesce.collector import calm
from evanesce.config.model import Config
from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce.interfaces import Transport
from evanesce.logs import folded
from evanesce.metrics import Metrics
from evanesce.plugins import Parts, Plugins
from evanesce.sessions.gateway import Gateway
from evanesce.sessions.services import assemble
from evanesce.store.redis import open_redis_store
from evanesce.workers.line import Line
from evanesce.writebehind import WriteBehind

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""How long the last records may take to reach the database when the server ends, or longer: what is left to drain."""

ANSWER_SECONDS = 2.0
"""How long a worker that sends its clients away goes on answering requests that it has taken in already."""


def run(config: Config, plugins: Plugins, line: Line | None = None) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP; gives the exit code. The server's secret and its name are set.

    `line` leads to the supervisor of a worker. Raises `ConfigurationError`, `PluginError`, which nurseries may have
    wrapped in groups.
    """
    parts = plugins.build(config, Path.cwd())
    refuse_exposed_guests(config, parts)
    calm()
    trio.run(_main, config, plugins, parts, line)
    return 0


def refuse_exposed_guests(config: Config, parts: Parts) -> None:
    """Raise `ConfigurationError` where a way to sign in that proves nothing would be reachable from elsewhere."""
    open_doors = [provider for provider, authenticator in parts.authenticators.items() if authenticator.loopback_only]
    if not open_doors:
        return
    public = urlsplit(config.server.public_url).hostname or ""
    binds = [bind for transport in parts.transports.values() for bind in transport.binds]
    exposed = [bind for bind in binds if not _is_loopback(bind.rpartition(":")[0])]
    if not _is_loopback(public):
        exposed.append(config.server.public_url)
    if exposed:
        provider = open_doors[0]
        raise ConfigurationError(
            f"plugins.{provider}.allow_public",
            f"{provider!r} signs anybody in, and {exposed[0]} is not this machine alone",
            "Set it to true to allow that, or enable another way to sign in",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _main(config: Config, plugins: Plugins, parts: Parts, line: Line | None) -> None:
    if config.server.node is None:
        raise AssertionError("the server is named before it starts")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(parts.repository)
        for authenticator in parts.authenticators.values():
            await stack.enter_async_context(authenticator)
        store = await stack.enter_async_context(
            open_redis_store(config.redis, ttl=config.messages.ttl, server_id=config.server.node)
        )
        metrics = Metrics()
        records = WriteBehind(parts.repository, metrics)
        flushing = trio.CancelScope(shield=True)
        stack.push_async_callback(_flush, records, flushing)
        _watch(plugins, metrics)
        services = assemble(config, plugins, parts, store, records, metrics)
        gateway = Gateway(services, parts)
        async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
            await outer.start(plugins.run_observers)
            nursery.start_soon(records.run)
            nursery.start_soon(services.upkeep.run)
            await nursery.start(services.hub.run)
            nursery.start_soon(gateway.watch)
            if line is not None:
                number = line.assignment.number
                metrics.watch("worker", "The number of the worker that answers", lambda: number)
                nursery.start_soon(line.watch)
            left = trio.Event()
            urls: Sequence[str] = await nursery.start(_carry, parts.transports.values(), gateway, left)
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                if line is not None:
                    await line.report(urls)
                else:
                    for url in urls:
                        print(f"listening on {url}", flush=True)
                received = await anext(aiter(signals))
                logger.info("%s: sending everyone away", signal.Signals(received).name)
                drained = trio.current_time() + config.server.drain_seconds
                async with trio.open_nursery() as draining:
                    draining.cancel_scope.deadline = drained
                    draining.start_soon(_hurry, signals, draining)
                    await gateway.drain(restarting=received == signal.SIGHUP)
                    await services.hub.drain()
                    if line is not None:
                        with trio.move_on_after(ANSWER_SECONDS):
                            await left.wait()
                    draining.cancel_scope.cancel()
            flushing.deadline = max(drained, trio.current_time() + FLUSH_SECONDS)
            outer.cancel_scope.deadline = trio.current_time() + FLUSH_SECONDS
            plugins.close_observers()  # they are told what waits for them, and end
            nursery.cancel_scope.cancel()


async def _carry(
    transports: Iterable[Transport],
    gateway: Gateway,
    left: trio.Event,
    *,
    task_status: trio.TaskStatus[Sequence[str]],
) -> None:
    """Run the transports. `left` is set when all have ended: on a shared port, when the last client is gone."""
    async with trio.open_nursery() as nursery:
        urls: list[str] = []
        for transport in transports:
            urls.extend(await nursery.start(transport.serve, gateway))
        task_status.started(urls)
    left.set()


def _watch(plugins: Plugins, metrics: Metrics) -> None:
    def failed() -> int:
        return sum(statistics.failed for statistics in plugins.statistics().values())

    def dropped() -> int:
        return sum(statistics.dropped for statistics in plugins.statistics().values())

    metrics.watch("plugin_failures", "Calls of plugins' hooks that failed", failed)
    metrics.watch("plugin_events_dropped", "Events that a plugin was too slow for", dropped)


async def _hurry(signals: AsyncIterator[int], draining: trio.Nursery) -> None:
    """Wait no longer for those who are slow to go when a second signal says so."""
    number = await anext(aiter(signals))
    logger.info("%s again: waiting for nobody", signal.Signals(number).name)
    draining.cancel_scope.cancel()


async def _flush(records: WriteBehind, patience: trio.CancelScope) -> None:
    if patience.deadline == math.inf:  # it ends by a fault
        patience.deadline = trio.current_time() + FLUSH_SECONDS
    with patience:
        try:
            await records.flush()
        except PersistenceUnavailable as error:
            logger.error("%d records did not reach the database: %s", records.waiting, error)
        except Exception as error:  # the border around a plugin: the rest of the server has to end in order
            logger.error("%d records are lost: the repository failed: %s", records.waiting, folded(error))
    if patience.cancelled_caught:
        logger.error("%d records did not reach the database in time", records.waiting)
