"""Fuzz a server from its own schema: `python -m tests.schema_fuzz [--frames N] [--examples N] [--seed N]`.

It starts servers of its own. The seed that is printed repeats a run. What Schemathesis needs is fetched into a folder.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import trio

from tests.e2e.running import TRANSPORTS, Server
from tests.schema_fuzz import schemathesis_run, websocket_run
from tests.schemas import DEFAULT_LIMITS, schema_of


def fuzz_websocket(seed: int, frames: int) -> None:
    """Send so many frames over each transport. Raises `Finding`, alone or in a group."""
    for transport in TRANSPORTS:
        with tempfile.TemporaryDirectory() as name:
            with Server(Path(name), *websocket_run.SETTINGS, transports=[transport]) as server:
                run = websocket_run.WebSocketRun(server.port, schema_of(DEFAULT_LIMITS), seed)
                report = trio.run(run.play, frames)
            websocket_run.check_log(server.errors, report.secrets)
        print(f"{transport}: {sum(report.frames.values())} frames, all answered as the schema says", flush=True)


def fuzz_http(seed: int, examples: int, fetched: Path) -> int:
    """Run Schemathesis, print its report, and return its exit code."""
    program = schemathesis_run.fetch(fetched)
    with tempfile.TemporaryDirectory() as name, Server(Path(name), *schemathesis_run.SETTINGS) as server:
        code, report = schemathesis_run.run(program, server.url, Path(name), seed=seed, examples=examples)
    print(report)
    return code


def main() -> int:
    """Run as the arguments say, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.schema_fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=50_000, help="how many frames over each transport (50000)")
    parser.add_argument("--examples", type=int, default=500, help="how many requests of each operation (500); 0: none")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="the seed that a failed run printed")
    parser.add_argument("--fetched", type=Path, default=Path("build/schemathesis"), help="where Schemathesis is kept")
    options = parser.parse_args()
    print(
        f"python -m tests.schema_fuzz --frames {options.frames} --examples {options.examples} --seed {options.seed}",
        flush=True,
    )
    fuzz_websocket(options.seed, options.frames)
    return fuzz_http(options.seed, options.examples, options.fetched.absolute()) if options.examples else 0


if __name__ == "__main__":
    sys.exit(main())
