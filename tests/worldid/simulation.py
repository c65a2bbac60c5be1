"""A simulated World in this process with a clock of the test, as servers and pages use it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec
import trio

from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.simulator.server import Simulator
from evanesce_plugins.worldid.simulator.world import RelyingParty, World

KEY = "ab" * 32
RP_ID = "rp_0123456789abcdef"
APP_ID = "app_staging_0123456789abcdef"
ACTION = "sign-up"
START = 1_795_500_000.0


@dataclass
class Clock:
    """A clock that the test sets, in seconds since 1970."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Simulation:
    """A running simulator. `client` sends a User-Agent, as httpx2 does by itself."""

    url: str
    simulator: Simulator
    clock: Clock
    client: httpx2.AsyncClient
    signer: Signer = field(default_factory=lambda: Signer(KEY))
    nonces: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def challenge(self, purpose: str, *, environment: str = "staging", **changes: Any) -> dict[str, Any]:
        """Make a request as Evanesce's server does, with a new nonce each time."""
        action = ACTION if purpose == "sign_up" else None
        context = self.signer.context(
            RP_ID,
            now=int(self.clock.now),
            seconds=300,
            action=changes.get("action", action),
            random=next(self.nonces).to_bytes(32, "big"),
        )
        challenge: dict[str, Any] = {
            "purpose": purpose,
            "appId": APP_ID,
            "rpId": RP_ID,
            "environment": environment,
            "signal": "0x" + "5a" * 32,
            "rpContext": msgspec.to_builtins(context),
        }
        if action is not None:
            challenge["action"] = action
        return challenge | changes

    async def prove(self, person: str, challenge: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Answer as `person`, and return what IDKit's `pollUntilCompletion` returns."""
        response = await self.client.post("/simulator/prove", json={"person": person, **challenge, **more})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def proved(self, person: str, challenge: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Approve as `person`, and return the result."""
        answer = await self.prove(person, challenge, **more)
        assert answer["success"] is True, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def refused(self, person: str, challenge: dict[str, Any], **more: Any) -> str:
        """Refuse as `person`, and return the error."""
        answer = await self.prove(person, challenge, **more)
        assert answer["success"] is False, answer
        error: str = answer["error"]
        return error

    async def verify(self, result: Any, rp_id: str = RP_ID) -> tuple[int, dict[str, Any]]:
        """Send a request to the portal as a server does, and return the status and the answer."""
        response = await self.client.post(f"/api/v4/verify/{rp_id}", json=result)
        return response.status_code, response.json()


@asynccontextmanager
async def simulation(**world: Any) -> AsyncIterator[Simulation]:
    """Run a simulator on a free port, with one RP registered. `world` are arguments of `World`."""
    clock = Clock()
    simulator = Simulator(World(clock=clock, **world))
    simulator.world.register(RelyingParty(rp_id=RP_ID, app_id=APP_ID, signer=Signer(KEY).address))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(simulator.serve)
        async with httpx2.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
            yield Simulation(url, simulator, clock, client)
        nursery.cancel_scope.cancel()
