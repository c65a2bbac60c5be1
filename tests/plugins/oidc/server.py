"""One server's sign-in with OpenID Connect, asked as the server asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from evanesce.interfaces import Answered
from evanesce.model import Identity
from evanesce.testing.caller import caller
from evanesce_plugins.oidc.authenticator import OidcAuthenticator
from evanesce_plugins.oidc.settings import OidcSettings
from tests.patience import PATIENCE

CALLER = caller("oidc")


class Clock:
    """Seconds, as many as a test wants."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """An authenticator, of which a client asks challenges, and answers them."""

    def __init__(self, authenticator: OidcAuthenticator) -> None:
        self.authenticator = authenticator

    async def challenge(self) -> tuple[str, Answered]:
        """Return the nonce of a new challenge, and the challenge as it is answered."""
        asked = await self.authenticator.challenge({}, CALLER)
        return asked.fields["nonce"], Answered("c", asked.kept or b"")

    async def send(self, answered: Answered | None, **credential: Any) -> Identity:
        """Answer a challenge. Raises what the authenticator raises."""
        with trio.fail_after(PATIENCE):
            return await self.authenticator.authenticate(credential, CALLER, answered)

    async def sign_in(self, token: Callable[[str], str]) -> Identity:
        """Answer a new challenge by the token that `token` makes for its nonce."""
        nonce, answered = await self.challenge()
        return await self.send(answered, idToken=token(nonce))


@asynccontextmanager
async def server_of(settings: OidcSettings, clock: Clock | None = None) -> AsyncIterator[Server]:
    async with OidcAuthenticator(settings, "https://chat.example", clock=clock or Clock()) as authenticator:
        yield Server(authenticator)
