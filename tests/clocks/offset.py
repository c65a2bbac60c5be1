"""A wrong clock for other processes: a test can change their time of day while they run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("offset.c")

STEPS = [-3600, -60, -5, 5, 60, 3600, 86_400]
"""The offset of a clock, in seconds."""


def library(folder: Path) -> Path:
    """Compile the library that changes a clock. Skips the test without a compiler, but fails in CI."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("there is no C compiler, and in CI this is not skipped")
        pytest.skip("there is no C compiler")
    built = folder / "offset.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", built, SOURCE], check=True)
    return built


class OffsetClock:
    """The clock of the processes that are started with `environment`."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "clock"
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._file)}
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set the offset in seconds, for all of these processes at once."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))
