"""Programs of the system that some tests need: a test without its program is skipped, and fails in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def find_program(name: str, package: str) -> Path:
    """Return the path of a program, which is in Debian's `package`. Skips the test without it, but fails in CI."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"there is no {name} on this machine (Debian: {package}), and in CI this is not skipped")
    if found is None:
        pytest.skip(f"there is no {name} on this machine (Debian: {package})")
    return Path(found)
