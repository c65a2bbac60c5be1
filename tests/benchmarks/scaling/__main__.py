"""Measure several servers on one Valkey: `python -m tests.benchmarks.scaling`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks.processes import machine
from tests.benchmarks.scaling import capacity, failover, flood, traffic, workers
from tests.benchmarks.scaling.sizes import FULL, TINY

PARTS = {"capacity": capacity, "workers": workers, "traffic": traffic, "failover": failover, "flood": flood}


def main() -> int:
    """Measure, print the tables, and write all of it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling", description=main.__doc__)
    parser.add_argument("--tiny", action="store_true", help="a few seconds: does it run?")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where scaling.json goes")
    parser.add_argument("--only", choices=list(PARTS), help="only this part")
    arguments = parser.parse_args()
    sizes = TINY if arguments.tiny else FULL
    results = {}
    print(f"Measured on {machine()}.")
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            results[name] = part.measure(sizes)
            print("\n" + part.table(results[name]), flush=True)
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        written = json.dumps({"machine": machine()} | results, indent=1, ensure_ascii=False)
        (arguments.output / "scaling.json").write_text(written + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
