"""Measure some attacks of the stage `attacks` of `tests.chaos`, and say whether other people noticed little enough.

`python -m tests.withstand.attacks ATTACK… [--short]` prints one line and ends with 1 if a bound was not met. Where the
machine is too busy to tell, nothing is claimed. In a short run nothing but the end of it is judged.
"""

from __future__ import annotations

import argparse
import sys

import trio

from tests.chaos.attack_impact import FULL, P99_MS, P99_RATIO, SHORT, STAGES, Stage, measure_stage
from tests.withstand.checks import NOT_RUN

ATTEMPTS = 3
"""How often an attack is measured at most until it holds: what else the machine does comes and goes."""


def measured(stage: Stage, short: bool) -> tuple[str, bool | None]:
    """Measure an attack; return its figures, and whether its bounds were met, or None if the machine was too busy."""
    figures, met = "", None
    for _ in range(1 if short else ATTEMPTS):
        name, without, under, holds, lost, notes = trio.run(measure_stage, stage, SHORT if short else FULL)
        usual, disturbed = (float(delays.partition(", ")[2]) for delays in (without, under))
        figures = f"{name}: p50, p99 {without} ms without, {under} ms under, lost {lost}" + f", {notes}" * bool(notes)
        if holds == "yes" or short:
            return figures, True
        late = disturbed >= max(P99_MS, P99_RATIO * usual)
        met = None if late and usual > P99_MS and lost == "0" else False
    return figures + ": the machine is too busy" * (met is None), met


def main() -> int:
    """Measure the named attacks, and print their figures on one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.withstand.attacks", description=__doc__)
    parser.add_argument("attacks", nargs="+", choices=[stage.attack for stage in STAGES])
    parser.add_argument("--short", action="store_true", help="measure for seconds, with few attackers")
    options = parser.parse_args()
    found = [measured(stage, options.short) for stage in STAGES if stage.attack in options.attacks]
    print("; ".join(figures for figures, _ in found))
    verdicts = [met for _, met in found]
    return 1 if False in verdicts else NOT_RUN if None in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
