"""Simulate a day of many clients and faults in minutes, and check every promise of the protocol.

`python -m tests.simulation [--seed N] [--hours N] [--clients N] [--tally] [--short]`

The same seed gives the same run, with the same trace. The exit status is 1 if a promise was broken or a task was left.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time

from tests.simulation.deterministic import HASH_SEED, run
from tests.simulation.simulation import simulation


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="the seed of a run to be repeated")
    parser.add_argument("--hours", type=float, default=24.0, help="how long, in virtual time (24)")
    parser.add_argument("--clients", type=int, default=200, help="how many people (200)")
    parser.add_argument("--tally", action="store_true", help="print how often each reply and fault was")
    parser.add_argument("--short", action="store_true", help="2 hours of 40 people")
    options = parser.parse_args()
    if options.short:
        options.hours, options.clients = 2.0, 40
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        words = ["--seed", str(options.seed), "--hours", str(options.hours), "--clients", str(options.clients)]
        words += ["--tally"] if options.tally else []
        environment = os.environ | {"PYTHONHASHSEED": HASH_SEED}
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *words], environment)
    logging.disable()
    print(f"python -m tests.simulation --seed {options.seed} --hours {options.hours:g} --clients {options.clients}")
    began, used = time.monotonic(), time.process_time()
    result = run(options.seed, simulation(options.seed, hours=options.hours, clients=options.clients))
    for what, number in sorted(result.tally.items()) if options.tally else ():
        print(f"{number:9,} {what}")
    for broken in result.broken[:20]:
        print(f"BROKEN {broken}")
    print(
        f"{result.messages:,} messages, {result.deliveries:,} deliveries, {len(result.broken)} broken promises, "
        f"{result.leaked} leaked tasks; {time.monotonic() - began:.0f} s, {time.process_time() - used:.0f} s of CPU; "
        f"trace {result.trace[:16]}"
    )
    sys.exit(1 if result.broken or result.leaked else 0)


if __name__ == "__main__":
    main()
