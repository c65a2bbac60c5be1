"""Check everything that Evanesce is to withstand, and print one table with what was measured.

`python -m tests.withstand [--only NUMBER]… [--quick]`. It ends with 1 if a bound was not met.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence

from tests.chaos.report import Table
from tests.withstand.checks import Outcome
from tests.withstand.rows import ROWS, Row

COLUMNS = ("#", "property", "bound", "measured", "met")


def result(row: Row, quick: bool) -> Outcome:
    """Run all checks of a row. It passes if all do, and makes no claim if one of them cannot be run."""
    if not row.how:
        return Outcome(None, "there is no check yet")
    outcomes = [check.run(quick) for check in row.how]
    verdicts = [outcome.passed for outcome in outcomes]
    passed = False if False in verdicts else None if None in verdicts else True
    return Outcome(passed, "; ".join(outcome.measured for outcome in outcomes))


def results(rows: Iterable[Row], quick: bool) -> Iterator[tuple[Row, Outcome]]:
    """Run the rows one after the other, and print each to standard error at once, as a sign of progress."""
    for row in rows:
        outcome = result(row, quick)
        print(" | ".join(line(row, outcome)), file=sys.stderr, flush=True)
        yield row, outcome


def line(row: Row, outcome: Outcome) -> Sequence[str]:
    """Return the cells of a row."""
    met = {True: "yes", False: "no", None: "not run"}[outcome.passed]
    return [str(row.number), row.property, row.bound, outcome.measured.replace("|", "/"), met]


def run(rows: Sequence[Row], quick: bool) -> int:
    """Run the rows, print the table, and return the exit code."""
    found = list(results(rows, quick))
    title = "What Evanesce withstands" + (", in a short run: its figures are not meaningful" if quick else "")
    print(Table(title, COLUMNS, [line(row, outcome) for row, outcome in found]).markdown())
    return 1 if any(outcome.passed is False for _, outcome in found) else 0


def main() -> int:
    """Run the chosen rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.withstand", description=__doc__)
    numbers = [row.number for row in ROWS]
    parser.add_argument(
        "--only",
        action="append",
        type=int,
        choices=numbers,
        metavar="NUMBER",
        help="run only this row; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="make a short run of each, to check that it works")
    options = parser.parse_args()
    return run([row for row in ROWS if options.only is None or row.number in options.only], options.quick)


if __name__ == "__main__":
    sys.exit(main())
