"""A person with World App, who signs in to a server process over HTTP with proofs of the simulated World."""

from __future__ import annotations

import json
from typing import Any

from evanesce_plugins.worldid.proof import bound_signal
from tests.e2e.running import Server
from tests.worldid.process import SimulatorProcess

Fields = dict[str, Any]


def configuration(world: SimulatorProcess, *beside: str, **changes: str) -> list[str]:
    """Return the settings of a server that signs in with this World, and with the plugins `beside`."""
    plugins = json.dumps([*beside, "worldid", "sqlite", "quart"])
    settings = world.settings | changes
    return [f"plugins.enabled={plugins}", *(f"plugins.worldid.{name}={value}" for name, value in settings.items())]


class Human:
    """A person. `results` are the proofs that they have made."""

    def __init__(self, world: SimulatorProcess, server: Server, name: str) -> None:
        self.world = world
        self.server = server
        self.name = name
        self.token: str | None = None
        self.results: list[Fields] = []

    def credential(self, purpose: str, **fields: Any) -> Fields:
        """Request a challenge, and return its proof."""
        asked = {"provider": "worldid", "purpose": purpose}
        asked |= {name: fields[name] for name in ("accountCode",) if name in fields}
        status, challenge = self.server.ask("POST", "/api/v1/challenge", asked, token=self.token)
        assert status == 200, challenge
        given = {"challengeId": challenge["challengeId"]}
        if purpose == "sign_up":
            made = self.world.prove(
                self.name, "create_session", {**challenge, "rpContext": challenge["sessionContext"]}
            )
            self.results.append(made)
            challenge |= {"signal": bound_signal(challenge["signal"], made["session_id"])}
            given["session"] = made
        self.results.append(self.world.prove(self.name, purpose, challenge))
        given["result"] = self.results[-1]
        return {"provider": "worldid", "purpose": purpose, **given, **fields}

    def send(self, credential: Fields) -> tuple[int, Fields]:
        """Send a credential, and return the status and the answer of the server."""
        status, answer = self.server.ask("POST", "/api/v1/session", credential, token=self.token)
        if status in (200, 201):
            self.token = str(answer["token"])
        return status, answer

    def sign_up(self) -> tuple[int, Fields]:
        return self.send(self.credential("sign_up", displayName=self.name))

    def account_code(self) -> str:
        """Return the account code of this person."""
        return str(self.server.ask("GET", "/api/v1/me", token=self.token)[1]["accountCode"])

    def sign_in(self, code: str) -> tuple[int, Fields]:
        return self.send(self.credential("sign_in", accountCode=code))
