"""The issuer of `tests/javascript/issuer.js`, which is `oidc-provider` from npm, as a process."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.patience import PATIENCE

CHECKS = Path(__file__).parents[1] / "javascript"
SECRET = "secret-of:the/client+100%"
INSTALL_SECONDS = 240


def install() -> None:
    """Install `oidc-provider`, if it is missing. Skips the test if npm cannot, but fails in CI."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _missing("there is no Node on this machine")
    if (CHECKS / "node_modules/oidc-provider").exists():
        return
    command = ["npm", "ci", "--prefix", str(CHECKS), "--ignore-scripts", "--prefer-offline", "--silent"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode != 0:
        _missing(f"npm could not install oidc-provider: {done.stderr.strip()}")


@contextmanager
def running(port: int, public_url: str) -> Iterator[None]:
    """Run the issuer on a port, for the server at `public_url`."""
    command = ["node", str(CHECKS / "issuer.js"), str(port), public_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
            assert readable, "the issuer did not start"
            assert process.stdout.readline() == f"http://127.0.0.1:{port}\n".encode()
            yield
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


def _missing(why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{why}, and in CI this is not skipped")
    pytest.skip(why)
