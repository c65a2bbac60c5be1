"""The command `evanesce`: its arguments, and how its errors are told (one line, exit code 2, no traceback)."""

from __future__ import annotations

import argparse
import logging
import socket
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import msgspec

from evanesce import logs
from evanesce.cli import chat, database, plugins
from evanesce.cli.faults import exit_code, line
from evanesce.config import load, secret
from evanesce.config.model import Config
from evanesce.plugins import Plugins, catalogue, installed

log = logging.getLogger(__name__)


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong with the arguments on one line, as all that a deployer has to correct is told."""

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2."""
        self.exit(2, line(f"{message}. See {self.prog} --help"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (None: the process's own) and give its exit code; see `exit_code`."""
    logs.setup()
    return exit_code(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    code: int = options._run(options)
    return code


def _parser() -> _Parser:
    parser = _Parser(prog="evanesce", description="Chat that leaves nothing behind.")
    parser.add_argument("--version", action="version", version=f"evanesce {version('evanesce')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    configured = _configured()
    command = commands.add_parser("serve", parents=[configured], help="run the server")
    command.add_argument("--workers", type=int, metavar="N", help="the same as --set server.workers=N")
    command.set_defaults(_run=_serve)

    command = commands.add_parser("check", parents=[configured], help="try the configuration and all outside parts")
    command.set_defaults(_run=_check)

    command = commands.add_parser("plugins", parents=[configured], help="list the plugins and their hooks")
    command.set_defaults(_run=_plugins)

    command = commands.add_parser("db", parents=[configured], help="show the database, and migrate it to this version")
    command.set_defaults(_run=_show_database)
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    # Without defaults, which would take the place of what was given before `copy`.
    command = actions.add_parser(
        "copy", parents=[_configured(argparse.SUPPRESS)], help="copy everything into the database of another plugin"
    )
    database.arguments(command)
    command.set_defaults(_run=_copy_database)

    command = commands.add_parser("chat", help="talk in a room from this terminal")
    chat.arguments(command)
    command.set_defaults(_run=chat.run)

    for added in catalogue.cli_commands(commands.choices.keys()):
        own = _Parser(add_help=False)
        try:
            added.arguments(own)
        except Exception as error:  # the border around foreign code: Evanesce's own commands have to work
            log.warning("the command %s of a plugin is left out: its arguments failed", added.name, exc_info=error)
            continue
        commands.add_parser(added.name, help=added.help, parents=[own]).set_defaults(_run=added.run)
    return parser


def _configured(default: str | None = None) -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=default,
        help="the configuration; without it ./config.toml, if there is one",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=default,
        dest="settings",
        metavar="TABLE.KEY=VALUE",
        help="override a setting; may be given again",
    )
    return parser


def _source(options: argparse.Namespace) -> load.Source:
    return load.read(options.config, _settings(options), default_plugins=installed.defaults())


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
    config, enabled = _prepare(_source(options))
    own = msgspec.structs.replace(
        config.server,
        secret=config.server.secret or secret.keep(Path.cwd()),
        node=config.server.node or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
    )
    config = msgspec.structs.replace(config, server=own)
    # Here, because the other commands start faster without these parts.
    if own.workers > 1:
        from evanesce.cli.worker import COMMAND
        from evanesce.workers import supervisor

        return supervisor.run(config, enabled, COMMAND, options.config, _settings(options))
    from evanesce import server

    return server.run(config, enabled)


def _check(options: argparse.Namespace) -> int:
    from evanesce.cli import check  # here, as in `_serve`

    source = _source(options)
    return check.run(source.file, *_prepare(source))


def _show_database(options: argparse.Namespace) -> int:
    return database.show(_source(options))


def _copy_database(options: argparse.Namespace) -> int:
    return database.copy(_source(options), options.origin, options.target)


def _plugins(options: argparse.Namespace) -> int:
    enabled = _source(options).enabled
    code = plugins.run(enabled)
    return code if set(enabled) <= set(installed.names()) else 1
