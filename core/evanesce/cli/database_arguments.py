"""The arguments of `evanesce db` and of its actions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from evanesce.config.load import Source


class ConfiguredParser(Protocol):
    """Makes a parser with the options that name the configuration, with a default of their own."""

    def __call__(self, default: str | None = None, /) -> argparse.ArgumentParser:
        """Return the parser."""
        ...


ReadSource = Callable[[argparse.Namespace], Source]
"""Reads the configuration that the options name."""


def arguments(command: argparse.ArgumentParser, configured: ConfiguredParser, read: ReadSource) -> None:
    """Add the actions to the parser of `evanesce db`."""
    command.set_defaults(_run=partial(_show, read))
    actions = command.add_subparsers(title="actions", metavar="ACTION")

    def add(name: str, run: Callable[[ReadSource, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        # Without defaults, because they would replace the options before the name of the action.
        action: argparse.ArgumentParser = actions.add_parser(name, parents=[configured(argparse.SUPPRESS)], help=text)
        action.set_defaults(_run=partial(run, read))
        return action

    action = add("copy", _copy, "copy all rows into the database of another plugin")
    action.add_argument("origin", metavar="FROM", help="the plugin of the database to read")
    action.add_argument("target", metavar="TO", help="the plugin of the database to write")
    add("adopt", _adopt, "bind the database to the configured Redis")
    action = add("backup", _backup, "write all rows into a file, while servers run")
    action.add_argument("file", type=Path, metavar="FILE", help="the file to write: an SQLite database")
    action.add_argument("--force", action="store_true", help="replace a file of this name")
    action = add("restore", _restore, "read all rows from a backup, while no server runs")
    action.add_argument("file", type=Path, metavar="FILE", help="a file that evanesce db backup wrote")
    action.add_argument("--force", action="store_true", help="replace the rows that the database has")
    action = add("check", _check, "look for damage in the database, and count its rows")
    action.add_argument("--json", action="store_true", help="print a JSON object instead of a table")


# The modules of the actions are imported when one runs, because other commands start faster without them.


def _show(read: ReadSource, options: argparse.Namespace) -> int:
    from evanesce.cli import database

    return database.show(read(options))


def _copy(read: ReadSource, options: argparse.Namespace) -> int:
    from evanesce.cli import database

    return database.copy(read(options), options.origin, options.target)


def _adopt(read: ReadSource, options: argparse.Namespace) -> int:
    from evanesce.cli import database

    return database.adopt(read(options))


def _backup(read: ReadSource, options: argparse.Namespace) -> int:
    from evanesce.cli import backups

    return backups.back_up(read(options), options.file, replace=options.force)


def _restore(read: ReadSource, options: argparse.Namespace) -> int:
    from evanesce.cli import backups

    return backups.restore(read(options), options.file, replace=options.force)


def _check(read: ReadSource, options: argparse.Namespace) -> int:
    from evanesce.cli import backups
    from evanesce.cli.report import Report

    report = Report(as_json=options.json)
    try:
        return backups.check(read(options), report)
    except Exception as error:
        report.refuse(error)
        raise
