"""Programs of a test's own, which hold a canary in their memory, in a log or in an open file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from evanesce.audit.processes import Process
from tests.patience import PATIENCE

HOLDS = """
import sys
text = sys.stdin.readline().strip()
kept = [text.encode(name) for name in sys.argv[1:]]
del text
print("ready", flush=True)
sys.stdin.read()
"""


NOBODY = 65_534
"""The user that owns nothing."""


@contextmanager
def program(
    code: str, *arguments: str, folder: Path | None = None, errors: IO[bytes] | int | None = None, told: str = ""
) -> Generator[Process]:
    """Run a program that reads a line, prints `ready`, and ends with its standard input."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=folder,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(f"{told}\n".encode())
        running.stdin.flush()
        assert running.stdout.readline() == b"ready\n"
        yield Process(running.pid, "server")
        running.stdin.close()


@contextmanager
def unprivileged() -> Generator[None]:
    """Let this process have no more rights to files than their modes give it."""
    user = os.geteuid()
    os.seteuid(NOBODY if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for what another process does, and tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
