"""The load program as a child process, on a CPU core of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.contenders import LOAD_CORE
from tests.benchmarks.processes import on_core

LOAD_SECONDS = 400
ROOT = Path(__file__).parents[2]


def begin(job: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start a job."""
    with on_core(LOAD_CORE):
        load = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert load.stdin is not None
    load.stdin.write(json.dumps(job))
    load.stdin.close()
    load.stdin = None
    return load


def finish(load: subprocess.Popen[str]) -> dict[str, dict[str, float]]:
    """Wait for its end, and return its results by name. Raises `RuntimeError` if it failed."""
    try:
        output, errors = load.communicate(timeout=LOAD_SECONDS)
    except subprocess.TimeoutExpired:
        load.kill()
        load.communicate()
        raise RuntimeError(f"the load took more than {LOAD_SECONDS} s") from None
    if load.returncode:
        raise RuntimeError(f"the load failed: {errors.strip().splitlines()[-1]}")
    results: dict[str, dict[str, float]] = json.loads(output)
    return results
