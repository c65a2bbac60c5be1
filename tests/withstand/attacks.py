"""Measure some attacks of the stage `attacks` of `tests.chaos`, and say whether other people noticed little enough.

`python -m tests.withstand.attacks ATTACK… [--short]`. In a short run nothing but the end of it is judged.
"""

from __future__ import annotations

import argparse
import sys

import trio

from tests.chaos.attack_impact import FULL, SHORT, STAGES, measure_stage


def main() -> int:
    """Measure the named attacks, and print their figures on one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.withstand.attacks", description=__doc__)
    parser.add_argument("attacks", nargs="+", choices=[stage.attack for stage in STAGES])
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    figures: list[str] = []
    held = True
    for stage in STAGES:
        if stage.attack in options.attacks:
            name, without, under, holds, lost, notes = trio.run(measure_stage, stage, SHORT if options.short else FULL)
            held = held and (holds == "yes" or options.short)
            figures.append(
                f"{name}: p50, p99 {without} ms without, {under} ms under, lost {lost}" + f", {notes}" * bool(notes)
            )
    print("; ".join(figures))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
