"""The log of a real server: what it says at the start, and that a reader which hangs does not stop the server."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from evanesce.logs.handler import FLUSH_SECONDS
from tests.e2e.running import END_SECONDS, Server
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "read-the-log.md"

Serve = Callable[..., Server]


def test_one_line_of_the_start_says_what_runs_and_no_secret(serve: Serve) -> None:
    server = serve("logs.format=json", f"server.secret={'S3CR3T' * 6}")
    server.stop()
    lines = [json.loads(line) for line in server.errors.splitlines()]
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in lines)
    [start] = [line for line in lines if line["event"] == "the server has started"]
    assert start["plugins"].split(",") == ["guest", "quart", "sqlite"]
    assert start["listening"] == f"http://127.0.0.1:{server.port}"
    assert start["redis"] == "embedded"
    assert start["database"] == str(server.database)
    assert start["configuration"] == "none"
    assert start["version"] == version("evanesce")
    assert "S3CR3T" not in server.errors


def test_the_line_of_the_start_names_the_configuration_and_is_as_the_guide_shows_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[logs]\nformat = "json"\n')
    with Server(tmp_path, options=["--config", str(file)]) as server:
        server.stop()
        [start] = [json.loads(line) for line in server.errors.splitlines() if "the server has started" in line]
    assert start["configuration"] == str(file)
    [sample] = re.findall(r"the server has started (.*)$", GUIDE.read_text(), re.MULTILINE)
    shown = dict(field.split("=") for field in sample.split())
    assert shown.keys() == start.keys() - {"timestamp", "level", "logger", "event"}
    assert shown["version"] == start["version"]


def test_a_server_whose_log_nobody_reads_serves_and_ends(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 4_096)
    os.set_blocking(writing, True)
    port = free_port()
    command = [sys.executable, "-m", "evanesce", "serve", "--set", f"plugins.quart.bind=127.0.0.1:{port}"]
    with (
        os.fdopen(reading, "rb"),
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=writing) as server,
    ):
        os.close(writing)
        assert server.stdout is not None
        assert server.stdout.readline() == f"listening on http://127.0.0.1:{port}\n".encode()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        server.send_signal(signal.SIGTERM)
        assert server.wait(FLUSH_SECONDS + END_SECONDS) == 0
