"""Attack a real server, and measure how that affects other clients: one table in Markdown for each stage.

`python -m tests.chaos [--only STAGE]… [--short]`
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from tests.chaos import attack_impact, expiry, expiry_versions, memory, memory_flat, operator_acts, outages
from tests.chaos.report import Stage

STAGES: Mapping[str, Stage] = {
    "expiry": expiry.measure,
    "expiry_versions": expiry_versions.measure,
    "memory": memory.measure,
    "attacks": attack_impact.measure,
    "outages": outages.measure,
    "memory_flat": memory_flat.measure,
    "operator": operator_acts.measure,
}
"""All stages by name, in the order of a run."""


def main() -> None:
    """Run the chosen stages, and print the table of each as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(STAGES), help="run only this stage; may be repeated")
    parser.add_argument("--short", action="store_true", help="make a run of some seconds, to test the program")
    options = parser.parse_args()
    for name in options.only or STAGES:
        print(STAGES[name](options.short).markdown(), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
