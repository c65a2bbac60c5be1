"""The packages of npm in `tests/javascript`, installed when a test needs one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

CHECKS = Path(__file__).parent / "javascript"
INSTALL_SECONDS = 240


def install(package: str) -> Path:
    """Return the folder of a package, installed if it is missing. Skips the test if npm cannot, but fails in CI."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _missing("there is no Node on this machine")
    folder = CHECKS / "node_modules" / package
    if not folder.exists():
        command = ["npm", "ci", "--prefix", str(CHECKS), "--ignore-scripts", "--prefer-offline", "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            _missing(f"npm could not install {package}: {done.stderr.strip()}")
    return folder


def _missing(why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{why}, and in CI this is not skipped")
    pytest.skip(why)
