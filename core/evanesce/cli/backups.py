"""The commands `evanesce db backup`, `evanesce db restore` and `evanesce db check`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import trio

from evanesce import logs
from evanesce.cli.report import Report
from evanesce.config.load import Source
from evanesce.errors import PluginError
from evanesce.interfaces import Backups, Inspection, Repository
from evanesce.maintenance.binding import SILENT_SECONDS
from evanesce.plugins import Plugins

# evanesce db backup


def back_up(source: Source, file: Path, *, replace: bool) -> int:
    """Write a backup of the configured database to `file`, and say what is in it. Return the exit code."""
    repository, backups = _configured(source)
    trio.run(_back_up, repository, backups, Path.cwd() / file, replace)
    return 0


async def _back_up(repository: Repository, backups: Backups, file: Path, replace: bool) -> None:
    backup = await backups.back_up(file, replace=replace)
    _print(f"{file}: {backup.size} bytes, schema version {backup.version}, {_counted(backup.rows)}")
    newest = (await repository.inspect()).newest
    if backup.version < newest:
        _print(f"this version of Evanesce has schema version {newest}, and can restore the backup")
    _print(
        "it has no messages, but the names, e-mail addresses and sign-in identifiers of people:"
        " keep it as safe as the database, and delete it when it is no longer needed"
    )


# evanesce db restore


def restore(source: Source, file: Path, *, replace: bool) -> int:
    """Replace the rows of the configured database by those of a backup, and check it. Return the exit code."""
    repository, backups = _configured(source)
    return trio.run(_restore, repository, backups, Path.cwd() / file, replace)


async def _restore(repository: Repository, backups: Backups, file: Path, replace: bool) -> int:
    restored = await backups.restore(file, replace=replace, quiet=SILENT_SECONDS)
    _print(f"{file}: restored schema version {restored.version}, {_counted(restored.rows)}")
    _print(
        f"of what the database knew before: {restored.erased} accounts were erased again,"
        f" {restored.revoked} sign-ins stay revoked"
    )
    for line in (
        "accounts that were erased after the backup, and are not counted above, are back: erase them again",
        "sign-ins that were ended after the backup, and are not counted above, are valid again until they expire:"
        " set a new server.secret to end all of them",
        "bans, invites and rules of rooms are those of the backup; rooms that were closed after it are open again",
    ):
        _print(f"warn {line}")
    report = Report()
    await _check(report, repository, backups)
    return int(report.failed)


# evanesce db check


def check(source: Source, report: Report) -> int:
    """Examine the configured database, and report what is found. Return the exit code."""
    trio.run(_check, report, *_configured(source))
    report.finish()
    return int(report.failed)


async def _check(report: Report, repository: Repository, backups: Backups) -> None:
    inspection = await repository.inspect()
    examination = await backups.examine()
    report.ok("database", inspection.text)
    _report_schema(report, inspection)
    _report_binding(report, inspection)
    if examination.damage:
        report.fail("integrity", "; ".join(examination.damage), "Stop all servers, and restore a backup")
    else:
        report.ok("integrity", "no damage found")
    if examination.orphans:
        report.fail("references", "; ".join(examination.orphans), "Restore a backup, or report it with these lines")
    else:
        report.ok("references", "every row refers to rows that exist")
    report.ok("rows", _counted(examination.rows))


def _report_schema(report: Report, inspection: Inspection) -> None:
    if inspection.found == inspection.newest:
        report.ok("schema", f"version {inspection.found}, up to date")
        return
    text = f"version {inspection.found}; migrations to version {inspection.newest} are pending: "
    report.warn("schema", text + "; ".join(inspection.steps), "Make a backup, then run evanesce db")


def _report_binding(report: Report, inspection: Inspection) -> None:
    bound = inspection.bound
    if bound is None:
        report.ok("Redis", "the database is bound to none yet: the next server binds it")
    elif bound.silent == math.inf:
        report.ok("Redis", "the database is bound to one, and its last server ended in order")
    else:
        state = "servers run" if bound.silent < SILENT_SECONDS else "no server runs"
        report.ok("Redis", f"the database is bound to one, last used {max(0, bound.silent):.0f} s ago: {state}")


def _configured(source: Source) -> tuple[Repository, Backups]:
    plugins = Plugins.load(source.enabled)
    repository = plugins.repository(source.config(plugins.settings()), Path.cwd())
    if not isinstance(repository, Backups):
        raise PluginError(
            type(repository).__module__.partition(".")[0],
            "its database has no backups and no examination: its repository does not implement"
            " evanesce.interfaces.Backups. Use the tools of its database",
        )
    return repository, repository


def _counted(rows: Mapping[str, int]) -> str:
    return f"{sum(rows.values())} rows (" + ", ".join(f"{name} {count}" for name, count in rows.items()) + ")"


def _print(text: str) -> None:
    print(logs.escaped(text), flush=True)
