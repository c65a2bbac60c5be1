"""The report of an audit: a table of places and times, with what was found and not looked at; or a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from evanesce import logs
from evanesce.audit.canaries import Kind
from evanesce.audit.places import Verdict
from evanesce.audit.schedule import Record, Result

VERSION = 1
"""The version of the JSON object. It grows when a field changes its meaning or disappears."""

_SEPARATOR = " | "


def as_json(result: Result, *, ttl: float, strict: bool) -> str:
    """Return the JSON object: docs/reference/audit.md describes it."""
    report: dict[str, Any] = {
        "version": VERSION,
        "ok": not result.failed(strict=strict),
        "strict": strict,
        "ttl": ttl,
        "kinds": [str(kind) for kind in Kind],
        "copies": result.copies,
        "skipped": result.skipped,
        "looks": [_look(record) for record in result.records],
    }
    return json.dumps(report)


def failure_as_json(problem: str) -> str:
    """Return the JSON object of an audit that could not be made."""
    return json.dumps({"version": VERSION, "ok": False, "error": problem})


def as_table(result: Result, *, ttl: float, strict: bool) -> Iterator[str]:
    """Return the lines of the table, and of the lists below it."""
    phases = list(dict.fromkeys(record.phase for record in result.records))
    places = list(dict.fromkeys(record.place for record in result.records))
    cells = {(record.place, record.phase): _cell(record) for record in result.records}
    rows = [["place", *(phase.words for phase in phases)]]
    rows += [[place, *(cells.get((place, phase), "") for phase in phases)] for place in places]
    yield from _aligned(rows)
    for title, lines in (
        ("not looked at", _unseen(result)),
        ("not tried", result.skipped),
        ("found where nothing may be", _found(result)),
    ):
        if lines:
            yield ""
            yield f"{title}:"
            yield from (logs.escaped(f"  {line}") for line in lines)
    yield ""
    yield _summary(result, ttl=ttl, strict=strict)


def _look(record: Record) -> dict[str, Any]:
    return {
        "phase": str(record.phase),
        "at": round(record.at, 3),
        "place": record.place,
        "result": _result(record),
        "note": record.look.note,
        "unseen": list(record.look.unseen),
        "findings": [
            {"what": one.what, "where": one.where, "count": one.count, "verdict": str(one.verdict)}
            for one in record.look.findings
        ],
    }


def _result(record: Record) -> str:
    """Return the worst that a look has found; `unseen` where nothing could be looked at."""
    verdicts = {finding.verdict for finding in record.look.findings}
    for verdict in (Verdict.LEAK, Verdict.COUNTED, Verdict.EXPECTED):
        if verdict in verdicts:
            return str(verdict)
    return "unseen" if record.look.unseen and not record.look.note else "clean"


def _cell(record: Record) -> str:
    result = _result(record)
    count = sum(one.count for one in record.look.findings if str(one.verdict) == result)
    shown = {"leak": f"FOUND {count}", "counted": f"{count} copies", "unseen": "not looked at"}.get(result, result)
    return shown + ("*" if record.look.unseen and result != "unseen" else "")


def _unseen(result: Result) -> list[str]:
    return list(dict.fromkeys(f"{record.place}: {one}" for record in result.records for one in record.look.unseen))


def _found(result: Result) -> list[str]:
    return [
        f"{record.place}, {record.phase.words}: {finding.what}, {finding.count} times, {finding.where}"
        for record in result.records
        for finding in record.leaks
    ]


def _summary(result: Result, *, ttl: float, strict: bool) -> str:
    copies = f"{result.copies} copies are left in freed memory, which no server can promise to wipe"
    if result.leaked:
        return f"FAIL content or names were found where they must not be; {copies}"
    if result.failed(strict=strict):
        return f"FAIL {copies}: --strict"
    return f"ok   nothing was found outside the message's own key, or later than 0.5 s after {ttl:g} s; {copies}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (logs.escaped(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield _SEPARATOR.join(cells).rstrip()
