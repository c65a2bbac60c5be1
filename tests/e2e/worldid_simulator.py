"""A real `evanesce worldid-simulator` process, what a deployer configures of it, and people with a World App."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tests.e2e.running import Server

Fields = dict[str, Any]

END_SECONDS = 15.0


class SimulatedWorld:
    """Started by `with`. It blocks: from Trio, call it in a thread."""

    def __init__(self) -> None:
        self.url = ""
        self._process: subprocess.Popen[str]

    def __enter__(self) -> SimulatedWorld:
        command = [sys.executable, "-m", "evanesce", "worldid-simulator", "--bind", "127.0.0.1:0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        self.url = line.removeprefix("listening on ").strip()
        lines = iter(self._process.stdout.readline, "")
        self.settings: dict[str, str] = {}
        for line in lines:
            if line.startswith("[plugins.worldid]"):
                break
        for line in lines:
            name, equals, value = line.partition(" = ")
            if not equals:
                break
            self.settings[name] = json.loads(value.partition("  #")[0])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            assert self._process.wait(END_SECONDS) == 0
        finally:
            self._process.kill()
            self._process.communicate()

    def configuration(self, *enabled: str, **changes: str) -> list[str]:
        """Give the settings with which a server signs in with this World."""
        plugins = json.dumps([*enabled, "worldid", "sqlite", "quart"])
        settings = self.settings | changes
        return [f"plugins.enabled={plugins}", *(f"plugins.worldid.{name}={value}" for name, value in settings.items())]

    def prove(self, person: str, purpose: str, challenge: Mapping[str, Any]) -> Fields:
        """Give what IDKit returns when `person` has approved."""
        answer = self._post("/simulator/prove", {**challenge, "person": person, "purpose": purpose})
        assert answer["success"], answer
        result: Fields = answer["result"]
        return result

    def fault(self, fault: str | None, *, skew: float = 0.0) -> None:
        self._post("/simulator/fault", {"fault": fault, "skew": skew})

    def _post(self, path: str, body: Fields) -> Fields:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
            answer: Fields = json.loads(text)
            return answer
        finally:
            connection.close()


class Human:
    """Somebody with a World App, at a server."""

    def __init__(self, world: SimulatedWorld, server: Server, name: str) -> None:
        self.world = world
        self.server = server
        self.name = name
        self.token: str | None = None
        self.results: list[Fields] = []

    def credential(self, purpose: str, **fields: Any) -> Fields:
        """Ask for a challenge and have it proved."""
        asked = {"provider": "worldid", "purpose": purpose} | {key: fields[key] for key in ("userId",) if key in fields}
        status, challenge = self.server.ask("POST", "/api/v1/challenge", asked, token=self.token)
        assert status == 200, challenge
        result = self.world.prove(self.name, purpose, challenge)
        self.results.append(result)
        return {
            "provider": "worldid",
            "purpose": purpose,
            "challengeId": challenge["challengeId"],
            "result": result,
            **fields,
        }

    def send(self, credential: Fields) -> tuple[int, Fields]:
        status, answer = self.server.ask("POST", "/api/v1/session", credential, token=self.token)
        if status in (200, 201):
            self.token = str(answer["token"])
        return status, answer

    def sign_up(self) -> tuple[int, Fields]:
        return self.send(self.credential("sign_up", displayName=self.name))

    def create_session(self) -> tuple[int, Fields]:
        return self.send(self.credential("create_session"))

    def sign_in(self, user_id: str) -> tuple[int, Fields]:
        return self.send(self.credential("sign_in", userId=user_id))
