"""Somebody with a World App, at a server process: asks for challenges over HTTP, and has the simulated World answer."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.running import Server
from tests.worldid.process import SimulatorProcess

Fields = dict[str, Any]


def configuration(world: SimulatorProcess, *beside: str, **changes: str) -> list[str]:
    """Give the settings with which a server signs in with this World, and with the plugins `beside`."""
    plugins = json.dumps([*beside, "worldid", "sqlite", "quart"])
    settings = world.settings | changes
    return [f"plugins.enabled={plugins}", *(f"plugins.worldid.{name}={value}" for name, value in settings.items())]


class Human:
    """A person. `results` are the proofs that they made."""

    def __init__(self, world: SimulatorProcess, server: Server, name: str) -> None:
        self.world = world
        self.server = server
        self.name = name
        self.token: str | None = None
        self.results: list[Fields] = []

    def credential(self, purpose: str, **fields: Any) -> Fields:
        """Ask for a challenge and have it proved."""
        asked = {"provider": "worldid", "purpose": purpose}
        asked |= {name: fields[name] for name in ("userId",) if name in fields}
        status, challenge = self.server.ask("POST", "/api/v1/challenge", asked, token=self.token)
        assert status == 200, challenge
        self.results.append(self.world.prove(self.name, purpose, challenge))
        given = {"challengeId": challenge["challengeId"], "result": self.results[-1]}
        return {"provider": "worldid", "purpose": purpose, **given, **fields}

    def send(self, credential: Fields) -> tuple[int, Fields]:
        """Answer the challenge; gives the status and what the server says."""
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
