"""A server with plugins under test, in the test's own nursery and without a socket."""

from __future__ import annotations

import argparse
import functools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import trio

from evanesce.cli.exit_status import exit_code, run_plugin_command
from evanesce.config import load
from evanesce.config.model import Config
from evanesce.errors import CommandError, ConfigurationError, ErrorCode
from evanesce.interfaces import CliCommand, Finding, Gateway, HttpRequest, HttpResponse, Repository
from evanesce.lifecycle.startup_checks import exposed_addresses, refuse_exposed_guests
from evanesce.plugins import Plugins, discovery
from evanesce.protocol import codec
from evanesce.store.memory import MemoryServer, memory_store
from evanesce.testing.client import MemoryClient
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.plugin_log import PluginLog
from evanesce.testing.running import running_application, without_groups
from evanesce.testing.stand_ins import GUESTS, stand_ins
from evanesce.transports import run_transports

_SECRET = "a secret for tests, of 32 characters"

_ADDRESS = "127.0.0.1"


class PluginServer:
    """A running server with the plugins under test. Made by `plugin_server`.

    `log` has the faults of the plugins, `findings` what they say about their settings, each with the name of its
    plugin. `gateway` is what transports are given; `urls` are the addresses where transports of the plugins listen.
    `repository` is the database that the server uses. `shared` is what a server `beside` this one has too.
    """

    def __init__(
        self,
        plugins: Plugins,
        gateway: Gateway,
        repository: Repository,
        log: PluginLog,
        *,
        urls: Sequence[str],
        findings: Sequence[tuple[str, Finding]],
        shared: tuple[MemoryServer, MemoryRepository],
        nursery: trio.Nursery,
    ) -> None:
        self.gateway = gateway
        self.repository = repository
        self.log = log
        self.urls = urls
        self.findings = findings
        self._plugins = plugins
        self.shared = shared
        self._nursery = nursery

    def connect(self, *, bearer: str | None = None, **options: Any) -> MemoryClient:
        """Return a client that has not signed in. `options` are those of `MemoryConnection`."""
        connection = MemoryConnection(**options)
        self._nursery.start_soon(functools.partial(self.gateway.serve, connection, bearer=bearer))
        return MemoryClient(connection, self.log)

    async def guest(self, name: str, **options: Any) -> MemoryClient:
        """Return a client that has signed in under a name. The same name is the same person on another device."""
        client = self.connect(**options)
        await client.sign_in({"provider": GUESTS, "name": name})
        return client

    async def http(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        by: MemoryClient | None = None,
    ) -> HttpResponse:
        """Send a request to a route of a plugin, signed in as the client `by`, and return the response.

        An error has the status and the JSON that a real transport answers with.
        """
        try:
            user = await self.gateway.identify(None if by is None else by.token)
            request = HttpRequest(
                method=method.upper(),
                path=path,
                query=query or {},
                headers=headers or {},
                body=body,
                user=user,
                address="127.0.0.1",
                token=None if by is None else by.token,
            )
            routes = {route.method: route for route in self.gateway.routes if route.path == path}
            if not routes:
                return _refusal(CommandError(ErrorCode.UNKNOWN_TYPE, "There is nothing at this address."), 404)
            if request.method not in routes:
                text = "This address does not support this method."
                return _refusal(CommandError(ErrorCode.UNKNOWN_TYPE, text), 405)
            return await routes[request.method].handle(request)
        except CommandError as error:
            return _refusal(error)

    async def command(self, name: str, *arguments: str) -> int:
        """Run a subcommand that a plugin adds to `evanesce`, in a thread, and return its exit code.

        Raises `LookupError` where no plugin has such a command.
        """
        for plugin in self._plugins.names:
            if "evanesce_cli_commands" in self._plugins.hooks(plugin):
                for command in self._plugins.cli_commands(plugin):
                    if command.name == name:
                        return await trio.to_thread.run_sync(self._run_command, plugin, command, arguments)
        raise LookupError(f"no plugin has a command {name}")

    def _run_command(self, plugin: str, command: CliCommand, arguments: Sequence[str]) -> int:
        def run(options: argparse.Namespace) -> int:
            try:
                return command.run(options)
            except Exception as error:
                self.log.record(plugin, f"the command {command.name}", error)
                raise

        def main() -> int:
            parser = argparse.ArgumentParser(prog=f"evanesce {command.name}", description=command.help)
            command.arguments(parser)
            watched = CliCommand(command.name, command.help, command.arguments, run)
            return run_plugin_command(plugin, watched, parser.parse_args(arguments))

        return exit_code(main)


def _refusal(error: CommandError, status: int | None = None) -> HttpResponse:
    body = msgspec.json.encode(codec.bare(codec.error_reply(error)))
    return HttpResponse(body, status=status or error.code.http_status)


@asynccontextmanager
async def plugin_server(
    plugins: Mapping[str, object],
    *,
    config: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    beside: PluginServer | None = None,
) -> AsyncGenerator[PluginServer, None]:
    """Run a server with the plugins under test in this context.

    - `plugins` are the plugins by name: each a text as in an entry point, `module` or `module:attribute`, or an object.
    - `config` is what `config.toml` would contain, as nested mappings. `plugins.enabled` may be left out: then the
      plugins run in their order. It may also name installed plugins, such as `quart`, and must name each of `plugins`.
    - `folder` is the working folder, where relative paths start (None: the present one).
    - `environ` are the environment variables that the configuration may refer to.
    - `beside` is another server, which shares its Redis and its database in memory with this one.

    What the plugins do not have is there in memory: Redis, the database, and a transport without a socket. Guests can
    always sign in. Run it on a clock that tests control (the fixture `plugin_server` does), or on a real clock if a
    plugin has a transport or talks to others over sockets.

    Raises as a real start does: `ConfigurationError` for a wrong setting, `PluginError` for a plugin that does not keep
    its contract.
    """
    folder = folder or Path.cwd()
    memory, repository = (MemoryServer(), MemoryRepository()) if beside is None else beside.shared
    given = {name: _plugin(name, value) for name, value in plugins.items()}
    source = load.from_tree(config or {}, environ=environ or {}, default_plugins=list(given))
    if left_out := [name for name in given if name not in source.enabled]:
        hint = "Name every plugin under test there too, or leave the setting out"
        raise ConfigurationError("plugins.enabled", f"does not contain {left_out[0]!r}, which is under test", hint)
    added = stand_ins(Plugins.load(source.enabled, given), repository)
    source = source.with_plugins([*source.enabled, *added])
    loaded = Plugins.load(source.enabled, given | added)
    whole = _with_secret(source.config(loaded.settings()))
    log = PluginLog()
    components = loaded.build(whole, folder)
    refuse_exposed_guests(whole, components)
    findings = loaded.findings(whole, folder, exposed_addresses(whole, components))
    log.watch(loaded)
    store = memory_store(ttl=whole.messages.ttl, server=memory)
    with without_groups():
        async with (
            running_application(whole, loaded, components, store, opened=True) as application,
            run_transports(components.transports, loaded, application.gateway) as transports,
            trio.open_nursery() as connections,
        ):
            yield PluginServer(
                loaded,
                application.gateway,
                components.repository,
                log,
                urls=transports.urls,
                findings=findings,
                shared=(memory, repository),
                nursery=connections,
            )
            await application.gateway.drain()


def _plugin(name: str, value: object) -> object:
    """Return a plugin that is given as an object or as the text of an entry point."""
    return discovery.load_point(EntryPoint(name, value, discovery.GROUP)) if isinstance(value, str) else value


def _with_secret(config: Config) -> Config:
    server = msgspec.structs.replace(config.server, secret=config.server.secret or _SECRET)
    return msgspec.structs.replace(config, server=server)
