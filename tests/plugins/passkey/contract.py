"""The contract of authenticators for passkeys: everybody has a key, and signs in by it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from evanesce.interfaces import Authenticator, SharedLimits
from evanesce.testing.contracts import PEOPLE, ChallengeContract
from evanesce.testing.contracts.authenticator import SignInDesk
from evanesce_plugins.passkey.authenticator import PasskeyAuthenticator
from evanesce_plugins.passkey.settings import PasskeySettings, relying_party
from tests.plugins.passkey.software_key import ORIGIN, SoftwareKey


class Unlimited:
    """Limits that never refuse."""

    async def take(self, key: str, rate: float, burst: int) -> float:
        await trio.lowlevel.checkpoint()
        return 0.0


def unlimited() -> SharedLimits:
    return Unlimited()


class Passkeys(ChallengeContract):
    """Passkeys, in software."""

    proofs = ("passkey",)

    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        return PasskeyAuthenticator(relying_party(PasskeySettings(), ORIGIN), unlimited)

    @asynccontextmanager
    async def open_desk(self, folder: Path) -> AsyncGenerator[SignInDesk]:
        """Let everybody create an account first."""
        self.keys = {person: SoftwareKey() for person in PEOPLE}
        async with super().open_desk(folder) as desk:
            for person, key in self.keys.items():
                challenge = await desk.ask(purpose="sign_up", displayName=person)
                passkey = key.create(challenge["publicKey"])
                named = {"provider": "passkey", "challengeId": challenge["challengeId"]}
                await desk.send(named | {"passkey": passkey})
            yield desk

    async def request(self, person: str) -> Mapping[str, Any]:
        return {"purpose": "sign_in"}

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"passkey": self.keys[person].get(challenge["publicKey"])}
