"""The command `evanesce`: its arguments and its subcommands. An error is one line and exit code 2, no traceback."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import NoReturn

import msgspec

from evanesce import logs
from evanesce.cli import (
    admin,
    admin_client,
    chat,
    client_conformance,
    configuration,
    database_arguments,
    new_plugin,
    plugins,
    schema,
)
from evanesce.cli.exit_status import error_line, exit_code, exit_now, run_plugin_command
from evanesce.config import load, secret
from evanesce.config.model import Config
from evanesce.errors import PluginError
from evanesce.lifecycle.log_settings import apply_log_settings
from evanesce.lifecycle.restart_check import RestartCheck, RestartCheckRequest
from evanesce.lifecycle.signals import RESTART, restart_program
from evanesce.plugins import Plugins, discovery
from evanesce.plugins.faults import call_sync, debug
from evanesce.process import fills_memory, forbid_core_files, raise_descriptor_limit, with_memory_filled

log = logging.getLogger(__name__)


class _Parser(argparse.ArgumentParser):
    """A parser that reports wrong arguments on one line, as any other error that the deployer can correct."""

    def error(self, message: str) -> NoReturn:
        """Exit with exit code 2."""
        self.exit(2, error_line(f"{message}. See {self.prog} --help"))


def main(arguments: Sequence[str] | None = None, *, log_everything: bool = False) -> int:
    """Run the command with `arguments` (None: those of the process), and return its exit code, as `exit_code` does.

    `evanesce audit --faults` starts servers that log everything.
    """
    logs.setup(everything=log_everything)
    forbid_core_files()
    code = exit_code(lambda: _run(arguments))
    if code == RESTART:
        restart_program()
    return code


def _run(arguments: Sequence[str] | None) -> int:
    options = command_parser().parse_args(arguments)
    code: int = options._run(options)
    return code


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command, with the commands of the installed plugins."""
    parser = _Parser(prog="evanesce", description="Chat that leaves nothing behind.")
    parser.add_argument("--version", action="version", version=f"evanesce {version('evanesce')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    configured = _configured()
    command = commands.add_parser("serve", parents=[configured], help="run the server")
    command.add_argument("--workers", type=int, metavar="N", help="the same as --set server.workers=N")
    command.add_argument(
        "--debug-plugins",
        action="store_true",
        help="for developing plugins, on this machine only: log whole tracebacks, which may contain messages and"
        " secrets, warn of calls that block, and restart when a file of a plugin changes",
    )
    command.add_argument(
        "--no-migrate",
        action="store_true",
        help="do not start if the database has to be created or migrated first; evanesce db migrates it",
    )
    command.set_defaults(_run=_serve)

    command = commands.add_parser(
        "check", parents=[configured], help="check the configuration, Redis, the database and the other parts"
    )
    command.add_argument("--json", action="store_true", help="print a JSON object instead of a table")
    command.set_defaults(_run=_check)

    command = commands.add_parser(
        "audit", parents=[configured], help="send texts through the running server, and look for what is left of them"
    )
    command.add_argument("--json", action="store_true", help="print a JSON object instead of a table")
    command.add_argument("--strict", action="store_true", help="fail for copies in memory too, 10 s after the end")
    command.add_argument(
        "--faults",
        action="store_true",
        help="start servers with faults instead, and fail if the audit does not find one of them",
    )
    command.set_defaults(_run=_audit)

    command = commands.add_parser("admin", help="look after the rooms, people and servers of a running deployment")
    admin.arguments(command, _configured)
    command.set_defaults(_run=_admin)

    command = commands.add_parser("top", parents=[configured], help="watch all servers in this terminal")
    admin.address(command)
    command.add_argument("--interval", type=_interval, default=2.0, metavar="S", help="seconds between two looks (2)")
    command.add_argument("--count", type=int, metavar="N", help="end after so many looks (default: when interrupted)")
    command.set_defaults(_run=_top)

    command = commands.add_parser("plugins", parents=[configured], help="list the plugins and their hooks")
    command.set_defaults(_run=_plugins)

    command = commands.add_parser(
        "db", parents=[configured], help="show the database, and migrate it to the schema of this version"
    )
    database_arguments.arguments(command, _configured, _source)

    command = commands.add_parser("config", help="write a sample configuration, or show every value and its origin")
    configuration.arguments(command, _configured, _source)

    command = commands.add_parser("schema", parents=[configured], help="print a description of the protocol as JSON")
    command.add_argument("format", choices=list(schema.FORMATS), help="the format of the description")
    command.set_defaults(_run=_schema)

    command = commands.add_parser("chat", help="chat in a room from this terminal")
    chat.arguments(command)
    command.set_defaults(_run=chat.run)

    command = commands.add_parser("client-conformance", help="run transcripts of the protocol against a client")
    client_conformance.arguments(command)
    command.set_defaults(_run=client_conformance.run)

    command = commands.add_parser("new-plugin", help="write a new plugin: a small package with working examples")
    new_plugin.arguments(command)
    command.set_defaults(_run=new_plugin.run)

    for plugin, added in plugins.added_commands(commands.choices.keys()):
        own = _Parser(add_help=False)
        try:
            call_sync(plugin, f"the arguments of its command {added.name} failed", partial(added.arguments, own))
        except PluginError as error:  # Evanesce's own commands have to work all the same
            log.warning("the command %s is left out: %s", added.name, error)
            continue
        commands.add_parser(added.name, help=added.help.replace("%", "%%"), parents=[own]).set_defaults(
            _run=partial(run_plugin_command, plugin, added)
        )
    return parser


def _configured(default: str | None = None) -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=default,
        help="the configuration file (default: ./config.toml, if it exists)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=default,
        dest="settings",
        metavar="TABLE.KEY=VALUE",
        help="override a setting; may be repeated",
    )
    return parser


def _source(options: argparse.Namespace) -> load.Source:
    return load.read(options.config, _settings(options), default_plugins=discovery.defaults())


def _settings(options: argparse.Namespace) -> list[str]:
    settings: list[str] = list(options.settings or ())
    workers: int | None = getattr(options, "workers", None)
    if workers is not None:
        settings.append(f"server.workers={workers}")
    return settings


def _prepare(source: load.Source) -> tuple[Config, Plugins]:
    enabled = Plugins.load(source.enabled)
    return source.config(enabled.settings()), enabled


def _serve(options: argparse.Namespace) -> int:
    raise_descriptor_limit()
    if options.debug_plugins:
        debug()
    source = _source(options)
    config, enabled = _prepare(source)
    apply_log_settings(config, enabled)
    if config.messages.encrypt_at_rest and not fills_memory():
        restart_program(with_memory_filled(python=True))
    for finding in discovery.unknown(source.plugin_tables):
        log.warning("%s. %s", finding.text, finding.advice)
    own = msgspec.structs.replace(
        config.server,
        secret=config.server.secret or secret.keep(Path.cwd()),
        node=config.server.node or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
    )
    config = msgspec.structs.replace(config, server=own)
    restart_check = _restart_check(options, config)
    # Imported here, because the other commands start faster without these modules.
    if own.workers > 1:
        from evanesce.cli.worker import COMMAND
        from evanesce.workers import supervisor

        return supervisor.run(
            config,
            enabled,
            COMMAND,
            options.config,
            _settings(options),
            restart_check,
            debug_plugins=options.debug_plugins,
            migrate=not options.no_migrate,
        )
    from evanesce import server

    return server.run(
        config,
        enabled,
        exit_now,
        restart_check=restart_check,
        file=source.file,
        migrate=not options.no_migrate,
        debug_plugins=options.debug_plugins,
    )


def _restart_check(options: argparse.Namespace, config: Config) -> RestartCheck:
    """Return the check before a restart. A supervisor is not restarted itself, so some settings stay as they are."""
    from evanesce.cli.preflight import COMMAND

    kept = (
        *("server.workers", "server.node", "server.lame_duck_seconds", "server.drain_seconds"),
        *("redis.url", "redis.prefix", "redis.cluster"),
    )
    request = RestartCheckRequest(
        file=None if options.config is None else str(options.config),
        settings=_settings(options),
        kept={key: attrgetter(key)(config) for key in kept} if config.server.workers > 1 else {},
        debug_plugins=options.debug_plugins,
        migrate=not options.no_migrate,
    )
    return RestartCheck(COMMAND, request)


def _check(options: argparse.Namespace) -> int:
    from evanesce.cli import check  # here, as in `_serve`
    from evanesce.cli.report import Report

    raise_descriptor_limit()  # as a server does, so that the report shows the limit of a server
    report = Report(as_json=options.json)
    try:
        source = _source(options)
        return check.run(source, *_prepare(source), report)
    except Exception as error:
        report.refuse(error)
        raise


def _audit(options: argparse.Namespace) -> int:
    from evanesce.cli import audit  # here, as in `_serve`

    try:
        if options.faults:
            return audit.run_faults(as_json=options.json)
        return audit.run(*_prepare(_source(options)), as_json=options.json, strict=options.strict)
    except Exception as error:
        if options.json:
            audit.print_failure(error)
        raise


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("it is from 0.5 to 3600 seconds")
    return seconds


def _operator_address(options: argparse.Namespace) -> admin_client.Address:
    if options.url is not None:
        return admin_client.elsewhere(options.url)
    return admin_client.configured(_prepare(_source(options))[0])


def _admin(options: argparse.Namespace) -> int:
    return admin.run(_operator_address(options), options)


def _top(options: argparse.Namespace) -> int:
    from evanesce.cli import top  # here, as in `_serve`

    try:
        return top.run(_operator_address(options), interval=options.interval, count=options.count)
    except admin_client.Failed as error:
        sys.stderr.write(error_line(str(error)))
        return 1


def _schema(options: argparse.Namespace) -> int:
    config, _ = _prepare(_source(options))
    return schema.run(config, options.format)


def _plugins(options: argparse.Namespace) -> int:
    enabled = _source(options).enabled
    code = plugins.run(enabled)
    return code if set(enabled) <= set(discovery.names()) else 1
