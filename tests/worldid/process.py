"""A process of `evanesce worldid-simulator`, for tests that block, with the settings that it prints."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS = 60

_LAST_LINE = "can sign in as any person"


class SimulatorProcess:
    """The running command. `settings` are those of `[plugins.worldid]`, `text` is its output."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder
        assert process.stdout is not None
        self.first_line = process.stdout.readline().strip()
        self.text = ""
        while _LAST_LINE not in self.text:
            line = process.stdout.readline()
            assert line, f"it said {self.text!r} and wrote:\n{self.errors}"
            self.text += line
        table = self.text[self.text.index("[plugins.worldid]") :].partition("\n\n")[0]
        self.settings: dict[str, Any] = tomllib.loads(table)["plugins"]["worldid"]
        self.url: str = self.settings["api_url"]

    @property
    def errors(self) -> str:
        """Its standard error so far."""
        return (self._folder / "errors").read_text()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send an HTTP request, and return the status and the answer."""
        where = urlsplit(self.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=SECONDS)
        headers = {"User-Agent": "test", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def prove(self, person: str, purpose: str, challenge: Mapping[str, Any]) -> dict[str, Any]:
        """Return what IDKit returns for a challenge when `person` has approved."""
        status, answer = self.ask("POST", "/simulator/prove", {**challenge, "person": person, "purpose": purpose})
        assert (status, answer["success"]) == (200, True), answer
        result: dict[str, Any] = answer["result"]
        return result

    def fail(self, fault: str | None, *, skew: float = 0.0) -> None:
        """Set in which way the portal fails from now on; None: it works again."""
        assert self.ask("POST", "/simulator/fault", {"fault": fault, "skew": skew})[0] == 200

    def scan(self, person: str, uri: str, **more: bool) -> dict[str, Any]:
        """Answer one of IDKit's links by the phone of a person."""
        status, answer = self.ask("POST", "/simulator/scan", {"person": person, "uri": uri, **more})
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command; its standard error goes to the file `errors` in `folder`."""
    with (folder / "errors").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "evanesce", "worldid-simulator", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
        )


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[SimulatorProcess]:
    """Run the command while the context lasts."""
    with start(folder, *arguments) as process:
        hung = threading.Timer(SECONDS, process.kill)  # else nothing would end the wait for its lines
        hung.start()
        try:
            simulator = SimulatorProcess(process, folder)
            hung.cancel()
            yield simulator
        finally:
            hung.cancel()
            process.kill()
