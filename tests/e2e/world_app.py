"""World App, as the page's library sees it: a test says what the person does, a simulated World makes the proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.visitors import Visitor
from tests.worldid.humans import Fields
from tests.worldid.process import SimulatorProcess

IDKIT = Path(__file__).parent / "data" / "idkit"
"""The folder of a library that stands in for IDKit, and asks `WorldApp`."""

WAITING = {"type": "waiting_for_connection"}
ASKING = {"type": "awaiting_confirmation"}


def failed(code: str) -> Fields:
    return {"type": "failed", "error": code}


class WorldApp:
    """The app of a visitor who is `person`. Approves everything, until the test says otherwise.

    `script` is what the next looks find, each once; `always` what they find after it, where the app does not approve.
    `throws` is a text with which IDKit makes no request. `asked` has what the page asked IDKit for.
    """

    def __init__(self, visitor: Visitor, world: SimulatorProcess, person: str, *, inside: bool = False) -> None:
        self.script: list[Fields] = []
        self.always: Fields | None = None
        self.throws: str | None = None
        self.asked: list[Fields] = []
        self.completions: list[Fields] = []
        self._world = world
        self._person = person
        self._inside = inside
        visitor.page.expose_function("worldApp", self._called)

    def address(self, number: int = -1) -> str:
        """Give the address with which World App gets at a request, the last one's."""
        return str(self.asked[number]["address"])

    def approval(self) -> Fields:
        """Give what a look finds once the last request is approved."""
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
        return self.always or {"type": "confirmed", "result": self._proved(self.asked[int(what["id"])])}

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
        wanted = {**challenge, "person": self._person, "purpose": asked["kind"]}
        status, answer = self._world.ask("POST", "/simulator/prove", wanted)
        assert (status, answer["success"]) == (200, True), answer
        result: Fields = answer["result"]
        return result
