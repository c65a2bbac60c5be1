"""Run the protocol's state machine: `python -m tests.fuzz [--runs N] [--steps N] [--seed N] [--short]`.

A run that breaks a promise is made as short as possible and printed. The seed that is printed repeats it.
"""

from __future__ import annotations

import argparse
import logging
import random
import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.protocol_machine import ProtocolMachine


def fuzz(number: int, *, runs: int, steps: int, shortens: bool = True) -> None:
    """Make so many runs of at most `steps` steps, from the seed `number`.

    `shortens` is whether a run that fails is made as short as possible, which takes up to five minutes.
    """
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shortens else [Phase.generate],
    )

    @seed(number)
    class Machine(ProtocolMachine):
        pass

    print(f"python -m tests.fuzz --runs {runs} --steps {steps} --seed {number}", flush=True)
    run_state_machine_as_test(Machine, settings=chosen)


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000, help="how many runs (2000)")
    parser.add_argument("--steps", type=int, default=40, help="how many steps a run has at most (40)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="the seed that a failed run printed")
    parser.add_argument("--short", action="store_true", help="100 runs of 20 steps")
    options = parser.parse_args()
    if options.short:
        options.runs, options.steps = 100, 20
    logging.disable()
    began = time.monotonic()
    fuzz(options.seed, runs=options.runs, steps=options.steps)
    print(f"{options.runs} runs in {time.monotonic() - began:.0f} s: no promise was broken")


if __name__ == "__main__":
    main()
