"""The child process that checks the configuration before a restart. Only a running server starts it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

import msgspec
import trio

from evanesce import logs
from evanesce.cli.exit_status import exit_code
from evanesce.config import load
from evanesce.config.model import Config
from evanesce.config.public import admin_binds
from evanesce.errors import ConfigurationError, StoreUnavailable
from evanesce.lifecycle.database import inspect
from evanesce.lifecycle.log_settings import apply_log_settings
from evanesce.lifecycle.restart_check import RestartCheckRequest
from evanesce.lifecycle.signals import PYTHON
from evanesce.lifecycle.startup_checks import check_environment, refuse_exposed_debugging, refuse_exposed_guests
from evanesce.maintenance.binding import HINT, PROBLEM, is_bound
from evanesce.plugins import Components, Plugins, discovery
from evanesce.plugins.faults import debug
from evanesce.ports import refuse_misassigned, refuse_taken
from evanesce.process import forbid_core_files
from evanesce.store.redis import open_redis_store
from evanesce.webaddress import is_unix

logger = logging.getLogger(__name__)

COMMAND = (*PYTHON, "evanesce.cli.preflight")
"""Starts the child process."""

REDIS_SECONDS = 10.0
"""How long Redis may take to tell which database it belongs to."""


def main() -> int:
    """Check the configuration, and return the exit code: 2 where a server could not start with it."""
    logs.setup()
    forbid_core_files()
    return exit_code(_check)


def _check() -> int:
    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(), type=RestartCheckRequest)
    except msgspec.DecodeError:
        raise ConfigurationError(
            "evanesce.cli.preflight", "only a running server may start this program", "Use evanesce check"
        ) from None
    if request.debug_plugins:
        debug()
    file = None if request.file is None else Path(request.file)
    source = load.read(file, request.settings, default_plugins=discovery.defaults())
    enabled = Plugins.load(source.enabled)
    config = source.config(enabled.settings())
    apply_log_settings(config, enabled)
    check_environment(config)
    components = enabled.build(config, Path.cwd())
    refuse_exposed_guests(config, components)
    if request.debug_plugins:
        refuse_exposed_debugging(config, components)
    trio.run(_check_outside, config, components, request)
    for key in _changed(config, request.kept):
        logger.warning("%s has changed, but a restart by SIGHUP does not change it: stop and start the server", key)
    return 0


async def _check_outside(config: Config, components: Components, request: RestartCheckRequest) -> None:
    """Raise what a start would raise about its ports, its database, or the Redis that the database is bound to."""
    await refuse_misassigned([*components.binds, *admin_binds(config)])
    await refuse_taken(_binds(components.binds, config, request))
    inspection = await inspect(components.repository, migrate=request.migrate)
    if request.locked_database is not None and request.locked_database != str(inspection.file):
        raise ConfigurationError(
            "the database",
            "is another one now, but the supervisor of the workers has locked only the present one",
            "Stop and start the server",
        )
    bound = inspection.bound
    kept = {key.removeprefix("redis."): value for key, value in request.kept.items() if key.startswith("redis.")}
    redis = msgspec.structs.replace(config.redis, **kept)
    if bound is None or redis.url == "embedded":
        return
    # A server also starts while Redis does not answer.
    with trio.move_on_after(REDIS_SECONDS), suppress(StoreUnavailable):
        name = f"preflight-{os.getpid()}"
        async with open_redis_store(redis, ttl=config.messages.ttl, server_id=name, passing=True) as store:
            if await is_bound(bound, store.servers) is False:
                raise ConfigurationError("redis.url", PROBLEM, HINT)


def _binds(binds: list[tuple[str, str]], config: Config, request: RestartCheckRequest) -> list[tuple[str, str]]:
    """Return the setting and the address of each bind, with port 0 in place of a port of the running server.

    Its Unix sockets are left out. The first of several workers tries again where it cannot listen for operators: that
    address is not checked. Raises `ConfigurationError` for a Unix socket that the supervisor has not opened, and where
    nothing would serve one that it has.
    """
    ports = {url.rpartition(":")[2].partition("/")[0] for url in request.urls}
    served = {bind for _, bind in (*binds, *admin_binds(config))}
    if request.kept and (left := next((url for url in request.urls if is_unix(url) and url not in served), None)):
        raise ConfigurationError(
            "server.workers",
            f"nothing would serve {left}, which the supervisor of the workers keeps open until it stops",
            "Stop and start the server",
        )
    if not request.kept:
        binds = [*binds, *admin_binds(config)]
    binds = [(key, bind) for key, bind in binds if not (is_unix(bind) and bind in request.urls)]
    if request.kept and (opened := next((each for each in binds if is_unix(each[1])), None)) is not None:
        raise ConfigurationError(
            opened[0],
            "is another Unix socket now, but the supervisor of the workers opens them only when it starts",
            "Stop and start the server",
        )
    return [
        (key, f"{bind.rpartition(':')[0]}:0" if not is_unix(bind) and bind.rpartition(":")[2] in ports else bind)
        for key, bind in binds
    ]


def _changed(config: Config, kept: Mapping[str, str | float | bool]) -> list[str]:
    """Return the keys of `kept` that have another value in `config`. A key without a value there has not changed."""
    return [key for key, value in kept.items() if attrgetter(key)(config) not in (None, value)]


if __name__ == "__main__":
    sys.exit(main())
