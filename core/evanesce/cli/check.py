"""`evanesce check`: tries the configuration, the plugins and each outside part; a line each says how it is."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import trio

from evanesce import logs
from evanesce.cli.faults import told
from evanesce.config import secret
from evanesce.config.model import Config
from evanesce.errors import StoreUnavailable
from evanesce.plugins import Parts, Plugins
from evanesce.ports import probe
from evanesce.server import refuse_exposed_guests
from evanesce.store.base import MessageStore
from evanesce.store.redis import open_redis_store

SECONDS = 10.0
"""How long one part may take."""


class Report:
    """Prints a line for each part. `failed`: at least one cannot be used."""

    def __init__(self) -> None:
        self.failed = False

    def ok(self, part: str, text: str) -> None:
        """Say that a part is fine."""
        self._line("ok", part, text)

    def warn(self, part: str, text: str) -> None:
        """Say what somebody should look at."""
        self._line("warn", part, text)

    def fail(self, part: str, text: str) -> None:
        """Say that a part cannot be used."""
        self.failed = True
        self._line("FAIL", part, text)

    def _line(self, status: str, part: str, text: str) -> None:
        print(logs.escaped(f"{status:<4} {part}: {text}"), flush=True)


def run(file: Path | None, config: Config, plugins: Plugins) -> int:
    """Check everything; 1 where something cannot be used. Raises `ConfigurationError`, `PluginError`."""
    parts = plugins.build(config, Path.cwd())
    refuse_exposed_guests(config, parts)
    report = Report()
    report.ok("configuration", "the defaults: there is no config.toml here" if file is None else str(file))
    _secret(report, config, Path.cwd())
    report.ok("plugins", ", ".join(plugins.names))
    trio.run(_outside, report, config, parts)
    return 1 if report.failed else 0


def _secret(report: Report, config: Config, folder: Path) -> None:
    if config.server.secret is not None:
        report.ok("secret", "configured")
    elif (folder / secret.NAME).exists():
        secret.keep(folder)
        report.ok("secret", f"kept in {secret.NAME}")
    else:
        report.ok("secret", f"will be made at the first start and kept in {secret.NAME}")


async def _outside(report: Report, config: Config, parts: Parts) -> None:
    async with _tried(report, "redis"):
        name = f"check-{os.getpid()}"
        async with open_redis_store(config.redis, ttl=config.messages.ttl, server_id=name) as store:
            await _redis(report, store, config.redis.url)
    async with _tried(report, "database"), parts.repository:
        report.ok("database", await parts.repository.check())
    for provider, authenticator in parts.authenticators.items():
        async with _tried(report, f"sign-in {provider}"), authenticator:
            report.ok(f"sign-in {provider}", await authenticator.check())
    for name, transport in parts.transports.items():
        for bind in transport.binds:
            async with _tried(report, f"transport {name}"):
                await _bind(report, f"transport {name}", bind)


@asynccontextmanager
async def _tried(report: Report, part: str) -> AsyncGenerator[None, None]:
    """Give what is inside its time, and tell what it raises."""
    try:
        with trio.fail_after(SECONDS):
            yield
    except trio.TooSlowError:
        report.fail(part, f"no answer within {SECONDS:g} s")
    except Exception as error:  # the border around drivers and plugins: the other parts are looked at all the same
        known = told(error)
        report.fail(part, str(known) if known is not None else logs.folded(error))


async def _redis(report: Report, store: MessageStore, url: str) -> None:
    try:
        state, *cautions = await store.check()
    except StoreUnavailable as error:
        parts = urlsplit(url)
        where = url if url == "embedded" else parts.netloc.rpartition("@")[2] + parts.path
        hint = "Is it running, and are the address and the password in redis.url right?"
        if parts.scheme.startswith("rediss"):
            hint += " For a certificate that is not publicly trusted add ?ssl_ca_certs=FILE, of who has signed it."
        report.fail("redis", f"{where}: {error} {hint}")
        return
    report.ok("redis", state)
    for caution in cautions:
        report.warn("redis", caution)


async def _bind(report: Report, part: str, bind: str) -> None:
    try:
        await probe(bind)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            report.warn(part, f"{bind} is in use: by this server, if it runs already; else choose another one")
        else:
            report.fail(part, f"{bind} cannot be listened on ({error.strerror}): correct it, or choose another one")
    else:
        report.ok(part, f"{bind} is free")
