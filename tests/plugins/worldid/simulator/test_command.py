"""`evanesce worldid-simulator` as a process: what it prints is what a deployer pastes, and it ends cleanly."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evanesce_plugins.worldid.rp_signature import Signer

SECONDS = 20

RUN = """
import argparse, sys
from evanesce_plugins.worldid.simulator.command import command
parser = argparse.ArgumentParser()
command().arguments(parser)
sys.exit(command().run(parser.parse_args()))
"""


class Process:
    """The command, started; `settings` are those of the TOML that it printed."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder
        assert process.stdout is not None
        self.first_line = process.stdout.readline().strip()
        self.text = ""
        while "Anybody who reaches" not in self.text:
            line = process.stdout.readline()
            assert line, (self.text, self.errors)
            self.text += line
        table = self.text[self.text.index("[plugins.worldid]") : self.text.index("Anybody who reaches")]
        self.settings: dict[str, Any] = tomllib.loads(table)["plugins"]["worldid"]

    @property
    def errors(self) -> str:
        return (self._folder / "errors").read_text()

    def status_of(self, rp_id: str) -> int:
        where = urlsplit(self.settings["api_url"])
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=SECONDS)
        try:
            connection.request("GET", f"/api/v4/rp-status/{rp_id}", headers={"User-Agent": "test"})
            response = connection.getresponse()
            json.loads(response.read())
            return response.status
        finally:
            connection.close()


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    with (folder / "errors").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder
        )


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Process]:
    with start(folder, *arguments) as process:
        hung = threading.Timer(SECONDS, process.kill)  # else nothing would end the wait for its lines
        hung.start()
        try:
            yield Process(process, folder)
        finally:
            hung.cancel()
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_what_to_paste_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    with running(tmp_path, "--bind", "127.0.0.1:0") as simulator:
        url = simulator.settings["api_url"]
        assert simulator.first_line == f"listening on {url}"
        assert url.startswith("http://127.0.0.1:")
        assert simulator.settings == {
            "app_id": "app_staging_0123456789abcdef",
            "rp_id": "rp_0123456789abcdef",
            "action": "sign-up",
            "environment": "staging",
            "api_url": url,
            "bridge_url": url,
            "connect_url": f"{url}/verify",
            "signing_key": "ab" * 32,
        }
        assert "PUBLIC" in simulator.text
        assert simulator.status_of("rp_0123456789abcdef") == 200
        simulator.process.send_signal(number)
        assert simulator.process.wait(SECONDS) == 0
        assert simulator.errors == ""


def test_an_rp_of_the_deployers_own(tmp_path: Path) -> None:
    key = "cd" * 32
    arguments = ["--bind", "127.0.0.1:0", "--rp-id", "rp_00000000000000ff", "--app-id", "app_staging_ours"]
    arguments += ["--action", 'say "hi"', "--environment", "production", "--signer", Signer(key).address]
    with running(tmp_path, *arguments) as simulator:
        settings = simulator.settings
        assert (settings["rp_id"], settings["app_id"]) == ("rp_00000000000000ff", "app_staging_ours")
        assert (settings["action"], settings["environment"]) == ('say "hi"', "production")
        assert "signing_key" not in settings
        assert "PUBLIC" not in simulator.text
        assert simulator.status_of("rp_00000000000000ff") == 200
        assert simulator.status_of("rp_0123456789abcdef") == 404


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rp-id", "rp_test"],
        ["--app-id", "ours"],
        ["--signer", "ab" * 32],
        ["--environment", "sandbox"],
        ["--bind", "8100"],
        ["--bind", "127.0.0.1:port"],
        ["--bind", "127.0.0.1:70000"],
    ],
)
def test_arguments_that_are_none(tmp_path: Path, arguments: list[str]) -> None:
    with start(tmp_path, *arguments) as process:
        assert process.wait(SECONDS) != 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert arguments[0] in (tmp_path / "errors").read_text()


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with running(tmp_path, "--bind", "127.0.0.1:0") as simulator:
        taken = urlsplit(simulator.settings["api_url"]).netloc
        folder = tmp_path / "second"
        folder.mkdir()
        with start(folder, "--bind", taken) as second:
            assert second.wait(SECONDS) != 0
        assert f"cannot listen on {taken}" in (folder / "errors").read_text()
