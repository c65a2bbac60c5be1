"""Hold thousands of idle connections to a real server, and see what each takes and what is left of them.

`python -m tests.chaos.idle [--short]` prints one line and ends with 1 if a bound was not met.
"""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.idle import TRANSPORTS, measure
from tests.chaos.report import Judgement, conclude

CONNECTIONS, SHORT_CONNECTIONS = 5000, 100
SECONDS, SHORT_SECONDS = 50.0, 2.0
"""How long they are idle: two heartbeats."""


def main() -> int:
    """Measure both transports."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.idle", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"with {SHORT_CONNECTIONS} connections")
    short = parser.parse_args().short
    figures: list[str] = []
    judgement = Judgement()
    for transport in TRANSPORTS:
        found = measure(
            transport, SHORT_CONNECTIONS if short else CONNECTIONS, seconds=SHORT_SECONDS if short else SECONDS
        )
        tasks, descriptors = round(found["left_tasks"]), round(found["left_descriptors"])
        left = f"{tasks:+} tasks, {descriptors:+} descriptors afterwards"
        figures.append(f"{transport}: {found['kib_per_connection']} KiB each, {left}")
        if max(tasks, descriptors) > 0:
            judgement.problems.append(f"{transport}: something is left")
    return conclude(figures, judgement)


if __name__ == "__main__":
    sys.exit(main())
