"""Run Schemathesis against a server, with the server's own OpenAPI document.

Schemathesis has an environment of its own, fetched at run time: what it needs differs from what Evanesce is tested
with.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER / "requirements.txt"

FETCH_SECONDS = 600.0
RUN_SECONDS = 3600.0

SETTINGS = (
    "limits.commands_per_second=100000",
    "limits.connections_per_address=100000",
    "limits.handshakes_per_second=100000",
    "limits.renames_per_minute=100000",
    "limits.rooms_per_hour=100000",
    "limits.rooms_per_user=100000",
)
"""Settings of a server under test: without them most answers would be `rate_limited`."""


class Unavailable(Exception):
    """Schemathesis cannot be fetched on this machine."""


def fetch(cache: Path) -> Path:
    """Return the program, in an environment below `cache`. Raises `Unavailable`."""
    folder = cache / "environment"
    complete = folder / "complete"
    pinned = REQUIREMENTS.read_text()
    if not complete.exists() or complete.read_text() != pinned:
        venv.create(folder, with_pip=True, clear=True)
        command = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
        if done.returncode:
            raise Unavailable(f"Schemathesis cannot be fetched:\n{done.stderr[-2000:]}")
        complete.write_text(pinned)
    return folder / "bin" / "st"


def fetch_for_tests(cache: Path) -> Path:
    """Return the program. Skips the test if it cannot be fetched, but fails in CI."""
    try:
        return fetch(cache)
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}\nand in CI this is not skipped", pytrace=False)
        pytest.skip(str(error))


def run(
    program: Path, url: str, folder: Path, *, seed: int, examples: int, operation: str | None = None
) -> tuple[int, str]:
    """Test the server at `url`, and return the exit code and the report. The code is 1 if a check failed, or 0.

    `examples` is how many requests of each operation are made in each phase, or of `operation` alone. `folder` is where
    it may write.
    """
    command = [str(program), "--config-file", str(FOLDER / "schemathesis.toml"), "run", f"{url}/api/v1/openapi.json"]
    command += ["--seed", str(seed), "--max-examples", str(examples), "--workers", "1", "--no-color"]
    if operation is not None:
        command += ["--include-operation-id", operation]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(FOLDER / "hooks.py")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout
