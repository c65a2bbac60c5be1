"""No two processes are handed the same port, whichever run of the tests they are of."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
PORTS = 300
"""More than a block has, so that all of it is seen."""

PROGRAM = f"from tests.ports import free_port; print(*(free_port() for _ in range({PORTS})), flush=True); input()"


def test_processes_are_handed_ports_of_their_own() -> None:
    handed = {free_port() for _ in range(PORTS)}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(4)
        ]
        for process in processes:  # all of them still live: each ends when its input does
            assert process.stdout is not None
            theirs = {int(port) for port in process.stdout.readline().split()}
            assert len(theirs) > PORTS // 2
            assert not theirs & handed
            handed |= theirs
