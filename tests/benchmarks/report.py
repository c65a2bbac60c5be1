"""The report: medians with their spread, and the ratios beside their targets, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median

from tests.benchmarks.campaign import Result
from tests.benchmarks.processes import machine
from tests.benchmarks.ratios import Verdict, verdicts
from tests.benchmarks.scenarios import Scale

COLUMNS: Mapping[str, tuple[str, str]] = {
    # what a result's value is called, and how it is written
    "deliveries_per_second": ("deliveries/s", ",.0f"),
    "accepted_per_second": ("accepted/s", ",.0f"),
    "cpu_us_per_delivery": ("CPU µs per delivery", ".2f"),
    "cpu_us_per_message": ("CPU µs per message", ".0f"),
    "cpu_us_per_person": ("CPU µs per person", ",.0f"),
    "p50_ms": ("p50 ms", ".1f"),
    "p99_ms": ("p99 ms", ".1f"),
    "seconds": ("seconds", ".2f"),
    "missed": ("missed", ",.0f"),
    "retries": ("retries", ",.0f"),
    "told_per_person": ("told per person", ".1f"),
    "bytes_per_person": ("bytes per person", ",.0f"),
    "largest_inbox": ("largest inbox", ",.0f"),
    "kib_per_connection": ("KiB per connection", ".1f"),
    "tasks_per_connection": ("tasks per connection", ".2f"),
    "cpu_us_per_connection_and_second": ("CPU µs/s per connection", ".1f"),
    "server_grew_bytes": ("memory grew by bytes", ",.0f"),
    "load_share": ("load's core", ".0%"),
    "others_share": ("others", ".0%"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of several measurements, and the least and the largest of them."""

    median: float
    least: float
    largest: float


Figures = dict[str, dict[str, dict[str, Figure]]]
"""By scenario, contender and value."""


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures, what they reach, what failed, and why contenders were left out, by their names."""

    figures: Figures
    verdicts: Sequence[Verdict]
    failures: Sequence[Result]
    left_out: Mapping[str, str]


def line(result: Result) -> str:
    """Return the result of one measurement as a line."""
    said = [
        f"{COLUMNS[name][0]} {value:{COLUMNS[name][1]}}" for name, value in result.values.items() if name in COLUMNS
    ]
    return f"{result.scenario} | {result.contender} | {result.failure or ', '.join(said)}"


def summarise(results: Sequence[Result], scale: Scale, own: str, left_out: Mapping[str, str]) -> Summary:
    """Take medians; the ratios are those of the contender `own`."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for result in results:
        for name, value in result.values.items():
            contenders = values.setdefault(result.scenario, {})
            contenders.setdefault(result.contender, {}).setdefault(name, []).append(value)
    figures: Figures = {
        scenario: {
            contender: {name: Figure(median(many), min(many), max(many)) for name, many in named.items()}
            for contender, named in contenders.items()
        }
        for scenario, contenders in values.items()
    }

    def median_of(scenario: str, contender: str, name: str) -> float | None:
        figure = figures.get(scenario, {}).get(contender, {}).get(name)
        return None if figure is None else figure.median

    failures = [result for result in results if result.failure]
    return Summary(figures, verdicts(median_of, scale, own), failures, left_out)


def table(summary: Summary) -> str:
    """Write everything as Markdown."""
    lines = [f"Measured on {machine()}. Medians, and in brackets the least and the largest."]
    for scenario, contenders in summary.figures.items():
        named = {name for of_one in contenders.values() for name in of_one}
        shown = [name for name in COLUMNS if name in named]
        lines += ["", f"### {scenario}", ""]
        lines.append("| | " + " | ".join(COLUMNS[name][0] for name in shown) + " |")
        lines.append("| --- |" + " --- |" * len(shown))
        for contender, of_one in contenders.items():
            lines.append(f"| {contender} | " + " | ".join(_cell(of_one, name) for name in shown) + " |")
    lines += ["", "### To reach", "", "| | is | to reach | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {verdict.what} | {verdict.value:.2f} | {verdict.wanted} | {verdict.word} |" for verdict in summary.verdicts
    ]
    lines += ["", *(f"left out: {contender}: {reason}" for contender, reason in summary.left_out.items())]
    lines += [f"not measured: {one.scenario} | {one.contender}: {one.failure}" for one in summary.failures]
    return "\n".join(lines)


def as_json(summary: Summary, results: Sequence[Result]) -> str:
    """Write everything, each single measurement too."""
    whole = {
        "machine": machine(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "figures": {
            scenario: {
                contender: {name: asdict(figure) for name, figure in named.items()}
                for contender, named in contenders.items()
            }
            for scenario, contenders in summary.figures.items()
        },
        "to_reach": [asdict(verdict) | {"word": verdict.word} for verdict in summary.verdicts],
        "left_out": dict(summary.left_out),
        "measurements": [asdict(result) for result in results],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(of_one: Mapping[str, Figure], name: str) -> str:
    figure = of_one.get(name)
    if figure is None:
        return ""
    written = COLUMNS[name][1]
    if figure.least == figure.largest:
        return f"{figure.median:{written}}"
    return f"{figure.median:{written}} ({figure.least:{written}} to {figure.largest:{written}})"
