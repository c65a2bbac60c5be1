"""The client in JavaScript behaves as every transcript of the protocol demands."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_javascript import PAGE, missing

pytestmark = pytest.mark.slow

DRIVER = PAGE / "client/driver.js"
EVANESCE = Path(sys.executable).with_name("evanesce")


@pytest.mark.skipif(importlib.util.find_spec("evanesce.conformance") is None, reason="there is no runner yet")
def test_the_client_passes_every_transcript() -> None:
    if shutil.which("node") is None:
        missing("there is no Node on this machine")
    command = f"node --no-warnings --experimental-websocket {DRIVER}"  # Node 20 has no WebSocket without it
    done = subprocess.run(
        [EVANESCE, "client-conformance", "--json", "--jobs", "4", "--command", command],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)) > 30
