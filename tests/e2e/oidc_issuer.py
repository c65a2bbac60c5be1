"""The issuer of `tests/javascript/issuer.js`, which is `oidc-provider` from npm, as a process."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests import node_packages
from tests.patience import PATIENCE

SECRET = "secret-of:the/client+100%"


def install() -> None:
    """Install `oidc-provider`, if it is missing. Skips the test if npm cannot, but fails in CI."""
    node_packages.install("oidc-provider")


@contextmanager
def running(port: int, public_url: str) -> Iterator[None]:
    """Run the issuer on a port, for the server at `public_url`."""
    command = ["node", str(node_packages.CHECKS / "issuer.js"), str(port), public_url]
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
