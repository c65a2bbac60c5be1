"""The command `evanesce check`: check the configuration, the plugins, Redis, the database and the transports."""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from evanesce.cli.exit_status import exit_now
from evanesce.cli.report import Report
from evanesce.config import secret
from evanesce.config.load import Source
from evanesce.config.model import Config, secrets_of
from evanesce.config.public import admin_binds
from evanesce.config.shared import FINGERPRINTS, shared_settings
from evanesce.errors import EvanesceError
from evanesce.hookspecs import API
from evanesce.interfaces import Finding, Inspection, Repository
from evanesce.lifecycle.log_settings import check_levels
from evanesce.lifecycle.startup_checks import check_environment, findings, refuse_exposed_guests
from evanesce.maintenance.agreement import ADVICE, described, disagreements
from evanesce.maintenance.binding import EMBEDDED, HINT, PROBLEM, SILENT_SECONDS, is_bound
from evanesce.plugins import Components, Plugins, discovery
from evanesce.ports import probe
from evanesce.process import client_descriptors, descriptor_limit
from evanesce.store import Store
from evanesce.store.health import ExpiryReport, Severity
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.connection import split_url

SECONDS = 10.0
"""How long the check of one part may take."""

EXPIRY_SECONDS = 0.25
"""How long after its expiry a key may stay in Redis before the check warns."""


def run(source: Source, config: Config, plugins: Plugins, report: Report) -> int:
    """Check everything, and return the exit code: 1 if a part cannot be used, 2 if a setting has to be corrected.

    Raises `ConfigurationError` and `PluginError`.
    """
    check_environment(config)
    check_levels(config, plugins)
    components = plugins.build(config, Path.cwd())
    refuse_exposed_guests(config, components)
    report.ok(
        "configuration",
        "the defaults, because there is no config.toml here" if source.file is None else str(source.file),
    )
    _check_secret(report, secrets_of(config.server.secret), Path.cwd())
    idle = [name for name in source.plugin_tables if name in discovery.names() and name not in plugins.names]
    seeing = [name for name in plugins.names if plugins.declarations(name).sees_content]
    report.ok(
        "plugins",
        f"{', '.join(plugins.names)}; content is seen by {', '.join(seeing)}; version {API} of the plugin API"
        + (f"; configured, but not enabled: {', '.join(idle)}" if idle else ""),
    )
    _report_findings(report, [("plugins", finding) for finding in discovery.unknown(source.plugin_tables)])
    _report_findings(report, findings(config, plugins, components, Path.cwd()))
    _check_descriptors(report, config, descriptor_limit())
    shared = shared_settings(config, components.authenticators, components.database)

    async def check_outside() -> int:
        with _quiet_store():
            await _check_outside(report, config, components, shared)
        report.finish()
        return 2 if report.refused else int(report.failed)

    return trio.run(plugins.around, check_outside, exit_now)


@contextmanager
def _quiet_store() -> Generator[None]:
    """Hide the store's warnings about its connections: the report says the same."""
    store = logging.getLogger("evanesce.store")
    level = store.level
    store.setLevel(logging.ERROR)
    try:
        yield
    finally:
        store.setLevel(level)


def _check_secret(report: Report, configured: Sequence[str], folder: Path) -> None:
    if configured:
        others = len(configured) - 1
        report.ok("secret", "configured" + (f"; tokens of {others} more are accepted" if others else ""))
    elif (folder / secret.NAME).exists():
        secret.keep(folder)
        report.ok("secret", f"kept in {secret.NAME}")
    elif not os.access(folder, os.W_OK | os.X_OK):
        text = f"{secret.NAME} cannot be created in {folder}, because this user may not write there"
        report.fail("secret", text, secret.FOLDER_HINT, setting=True)
    else:
        report.ok("secret", f"will be generated at the first start and kept in {secret.NAME}")


def _report_findings(report: Report, found: Sequence[tuple[str, Finding]]) -> None:
    for part, finding in found:
        add = report.fail if finding.fails else report.warn
        add(part, finding.text, finding.advice)


def _check_descriptors(report: Report, config: Config, limit: int) -> None:
    """Check whether one process may open enough descriptors for its share of a full room's connections."""
    clients = client_descriptors(limit)
    needed = math.ceil(config.rooms.capacity / config.server.workers)
    if clients >= needed:
        report.ok("descriptors", f"{limit} for each process")
    else:
        report.warn(
            "descriptors",
            f"each process may open {limit}, of which clients get {clients};"
            f" a full room (rooms.capacity) may need {needed}",
            "Raise the hard limit of open files (ulimit -Hn, LimitNOFILE=), or server.workers.",
        )


async def _check_outside(report: Report, config: Config, components: Components, shared: Mapping[str, str]) -> None:
    async with _checking(report, "redis"):
        name = f"check-{os.getpid()}"
        async with open_redis_store(config.redis, ttl=config.messages.ttl, server_id=name, passing=True) as store:
            await _check_redis(report, store, config.redis.url, shared)
            await _check_binding(report, components.repository, store, embedded=config.redis.url == "embedded")
    async with _checking(report, "database"):
        report_database(report, await components.repository.inspect())
    for provider, authenticator in components.authenticators.items():
        async with _checking(report, f"sign-in {provider}"), authenticator:
            report.ok(f"sign-in {provider}", await authenticator.check())
    for name, transport in components.transports.items():
        for bind in transport.binds:
            async with _checking(report, f"transport {name}"):
                await _check_bind(report, f"transport {name}", bind)
    for _, bind in admin_binds(config):
        async with _checking(report, "admin"):
            await _check_bind(report, "admin", bind)


@asynccontextmanager
async def _checking(report: Report, part: str) -> AsyncGenerator[None, None]:
    """Limit the time of the check inside, and report what it raises."""
    try:
        with trio.fail_after(SECONDS):
            yield
    except trio.TooSlowError:
        report.fail(
            part, f"no answer within {SECONDS:g} s", "Make sure that it runs, and that this machine can reach it."
        )
    except Exception as error:  # the boundary to drivers and plugins: the other components are still checked
        report.fault(part, error)


async def _check_redis(report: Report, store: Store, url: str, shared: Mapping[str, str]) -> None:
    address = split_url(url)
    where = url if url == "embedded" else address.netloc.rpartition("@")[2] + address.path
    usable = True
    for finding in await store.health.check():
        match finding.severity:
            case Severity.OK:
                report.ok(finding.part, finding.text)
            case Severity.WARN:
                report.warn(finding.part, finding.text, finding.advice)
            case Severity.FAIL:
                usable = False
                report.fail(finding.part, f"{where}: {finding.text}", finding.advice)
    if usable:
        report_expiry(report, await store.health.expiry_report())
        if url != "embedded":
            compare_settings(report, shared, await store.servers.other_settings())


async def _check_binding(report: Report, repository: Repository, store: Store, *, embedded: bool) -> None:
    """Check whether the database is bound to this Redis. Other checks report errors of the two themselves."""
    try:
        bound = (await repository.inspect()).bound
        ours = await is_bound(bound, store.servers)
    except EvanesceError:
        return
    if ours:
        report.ok("redis", "the database is bound to it")
    elif ours is False:
        report.fail("redis", f"redis.url: {PROBLEM}", f"{HINT}.", setting=True)
    elif bound is not None and bound.silent < SILENT_SECONDS and not (embedded and bound.identity.startswith(EMBEDDED)):
        # Each start has a new embedded Valkey: the other one may be that of this server before.
        report.warn(
            "redis",
            f"this Redis is empty, but a server with a Redis used the database within the last {SILENT_SECONDS:g} s:"
            " a new server waits, and does not start if that server still runs with another Redis",
            f"{HINT}.",
        )


def compare_settings(report: Report, own: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> None:
    """Compare the settings of this server with those of the other servers on the same Redis.

    Another secret or another database is a failure: clients that change between such servers are signed out, signed in
    to another account, or no longer banned.
    """
    found = disagreements(own, others)
    for differing, servers in found.items():
        add = report.fail if set(FINGERPRINTS) & set(differing) else report.warn
        add("servers", described(differing, servers), f"{ADVICE}.")
    if not found:
        count = "no other server runs" if not others else f"{len(others)} on this Redis, with the same settings"
        report.ok("servers", count)


def report_database(report: Report, database: Inspection) -> None:
    """Report the state of the database, and what the next start will do with it."""
    if database.found == database.newest:
        report.ok("database", database.text)
    elif database.found == 0:
        report.ok(
            "database",
            f"{database.text}; it will be created at the first start, with schema version {database.newest}",
        )
    else:
        migrations = "; ".join(database.steps)
        report.warn(
            "database",
            f"{database.text}; the next start migrates it to {database.newest}: {migrations}",
            "Copy it first (evanesce db copy). With serve --no-migrate, the server does not start instead.",
        )


def report_expiry(report: Report, expiry: ExpiryReport | None) -> None:
    """Report how late the running servers erase expired keys."""
    if expiry is None:
        report.ok("expiry", "no server has erased anything in the last minute")
        return
    keys = "1 key" if expiry.keys == 1 else f"{expiry.keys} keys"
    servers = "1 server" if expiry.servers == 1 else f"{expiry.servers} servers"
    line = (
        f"99 % of the expired keys were erased within {expiry.p99 * 1000:.0f} ms, the slowest after"
        f" {expiry.worst * 1000:.0f} ms: {keys} in the last minute, by {servers}"
    )
    if expiry.worst <= EXPIRY_SECONDS:
        report.ok("expiry", line)
    else:
        most = f"{EXPIRY_SECONDS * 1000:.0f} ms"
        report.warn(
            "expiry",
            f"{line}. More than {most} means that Redis or a server was unavailable or slow",
            "See the logs of both.",
        )


async def _check_bind(report: Report, part: str, bind: str) -> None:
    try:
        await probe(bind)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            report.warn(part, f"{bind} is in use", "Ignore this if this server is running; else choose another one.")
        else:
            report.fail(part, f"cannot listen on {bind} ({error.strerror})", "Correct it, or choose another address.")
    else:
        report.ok(part, f"{bind} is free")
