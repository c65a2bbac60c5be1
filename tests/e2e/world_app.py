"""World App, as the library of the page sees it: the test decides for the person, and a simulated World proves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.browsers import BrowserClient
from tests.worldid.humans import Fields
from tests.worldid.process import SimulatorProcess

IDKIT = Path(__file__).parent / "data" / "idkit"
"""The folder of a library that replaces IDKit, and calls `WorldApp`."""

WAITING = {"type": "waiting_for_connection"}
ASKING = {"type": "awaiting_confirmation"}


def failed(code: str) -> Fields:
    return {"type": "failed", "error": code}


class WorldApp:
    """The app of `person`, who uses the browser `client`. It approves everything, unless the test says otherwise.

    - `script`: the results of the next polls, one each; `always`: the result after them, in place of an approval.
    - `throws`: a text with which IDKit fails to make a request.
    - `asked`: what the page requested from IDKit.
    - `legacy`: whether the app knows only World ID 3.0.
    """

    def __init__(self, client: BrowserClient, world: SimulatorProcess, person: str, *, inside: bool = False) -> None:
        self.script: list[Fields] = []
        self.always: Fields | None = None
        self.throws: str | None = None
        self.legacy = False
        self.asked: list[Fields] = []
        self.completions: list[Fields] = []
        self._world = world
        self._person = person
        self._inside = inside
        client.page.expose_function("worldApp", self._called)

    def address(self, number: int = -1) -> str:
        """Return the address with which World App opens a request, by default the last one."""
        return str(self.asked[number]["address"])

    def approval(self) -> Fields:
        """Return the result of a poll after the approval of the last request."""
        return {"type": "confirmed", "result": self._proved(self.asked[-1])}

    def _called(self, what: Fields) -> Fields:
        if what["call"] == "make":
            if self.throws is not None:
                return {"throws": self.throws}
            number = len(self.asked)
            address = "" if self._inside else f"https://world.example/verify?t=wld&i={number}&k=%2B{'k' * 40}%3D"
            self.asked.append(what | {"address": address})
            return {"id": number, "connectorURI": address}
        if what["call"] == "completion":
            self.completions.append(what)
        if self.script:
            return self.script.pop(0)
        asked = self.asked[int(what["id"])]
        if self.legacy and asked["kind"] != "sign_up":
            return failed("world_id_4_not_available")
        return self.always or {"type": "confirmed", "result": self._proved(asked)}

    def _proved(self, asked: Fields) -> Fields:
        config: dict[str, Any] = asked["config"]
        challenge = {
            "appId": config["app_id"],
            "rpId": config["rp_context"]["rp_id"],
            "environment": config["environment"],
            "rpContext": config["rp_context"],
            "signal": asked["human"]["signal"],
        }
        challenge |= {name: config[name] for name in ("action", "sessionId") if name in config}
        if self.legacy or asked["human"]["type"] == "OrbLegacy":
            challenge |= {"legacy": True, "legacyProofs": config["allow_legacy_proofs"]}
        wanted = {**challenge, "person": self._person, "purpose": asked["kind"]}
        status, answer = self._world.ask("POST", "/simulator/prove", wanted)
        assert (status, answer["success"]) == (200, True), answer
        result: Fields = answer["result"]
        return result
