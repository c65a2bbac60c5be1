"""The contract of authenticators for World ID, with a simulated World over real HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from evanesce.interfaces import Authenticator
from evanesce.testing.contracts import ChallengeContract, OutsideProviderContract
from evanesce_plugins.worldid.authenticator import WorldIdAuthenticator
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.simulator.portal import Fault
from evanesce_plugins.worldid.simulator.server import Simulator
from evanesce_plugins.worldid.simulator.world import RelyingParty, World
from tests.plugins.worldid.deployment import PORTAL_SECONDS, Clock, Deployment
from tests.plugins.worldid.results import KEY, settings


class WorldIdSignUps(ChallengeContract, OutsideProviderContract):
    """Sign-ups: who proves that they are the same person again is the same user."""

    proofs = ("result", "session")
    authenticator: Callable[..., Authenticator] = WorldIdAuthenticator

    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        clock = Clock()
        self.simulator = Simulator(World(seed=secrets.token_bytes(16), clock=clock))
        url = await nursery.start(self.simulator.serve)
        configured = settings(api_url=url, timeout=PORTAL_SECONDS)
        party = RelyingParty(rp_id=configured.rp_id, app_id=configured.app_id, signer=Signer(KEY).address)
        self.simulator.world.register(party)
        self.deployment = Deployment(self.simulator, clock, configured)
        return self.authenticator(configured, clock=clock)

    async def request(self, person: str) -> Mapping[str, Any]:
        return {"purpose": "sign_up"}

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"purpose": "sign_up", "displayName": person} | self.deployment.sign_up(person, challenge)

    async def stop_provider(self) -> None:
        self.simulator.faults.fault = Fault.DOWN

    async def start_provider(self) -> None:
        self.simulator.faults.fault = None
