"""The contract of authenticators for OpenID Connect, with a local issuer over real HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from evanesce.interfaces import Authenticator
from evanesce.testing.contracts import ChallengeContract, OutsideProviderContract
from evanesce_plugins.oidc.authenticator import OidcAuthenticator
from tests.plugins.oidc.local_issuer import LocalIssuer, start

VERIFIER = "v" * 43


class OidcTokens(ChallengeContract, OutsideProviderContract):
    """Sign-ins with an ID token."""

    proofs = ("idToken",)

    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        self.issuer = LocalIssuer()
        await start(self.issuer, nursery)
        return OidcAuthenticator(self.issuer.settings(), "https://chat.example")

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"idToken": self.issuer.token(challenge["nonce"], person)}

    async def stop_provider(self) -> None:
        self.issuer.down = True

    async def start_provider(self) -> None:
        self.issuer.down = False


class OidcCodes(OidcTokens):
    """Sign-ins with an authorisation code."""

    proofs = ("code", "codeVerifier")

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        code = self.issuer.code(self.issuer.token(challenge["nonce"], person), VERIFIER)
        return {"code": code, "codeVerifier": VERIFIER}
