"""Every way to sign in that comes with Evanesce, or with its documentation, holds the contract of authenticators."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from evanesce.errors import AuthFailed
from evanesce.interfaces import Answered, Authenticator, Caller, Challenge
from evanesce.model import Identity
from evanesce.testing.contracts import (
    PEOPLE,
    AuthenticatorContract,
    ChallengeContract,
)
from evanesce_plugins.guest import GuestAuthenticator
from tests.plugins.oidc.contract import OidcCodes, OidcTokens
from tests.plugins.passkey.contract import Passkeys
from tests.plugins.worldid.contract import WorldIdSignUps

pytestmark = pytest.mark.slow


class TestGuests(AuthenticatorContract):
    lasting = False

    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        return GuestAuthenticator(allow_public=True)

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"displayName": person}


class TestWorldId(WorldIdSignUps):
    """World ID, with a simulated World."""


class TestPasskeys(Passkeys):
    """Passkeys, with keys in software."""


class TestOidcTokens(OidcTokens):
    """OpenID Connect, with ID tokens of a local issuer."""


class TestOidcCodes(OidcCodes):
    """OpenID Connect, with codes of a local issuer."""


class Kept(msgspec.Struct):
    """What the server keeps of a challenge."""

    word: str


class PasswordAuthenticator:
    """Signs in with a password and a word that the challenge names: the least that can answer a challenge."""

    provider = "passwords"
    loopback_only = False

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self.passwords = passwords

    async def __aenter__(self) -> PasswordAuthenticator:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        word = secrets.token_hex(8)
        return Challenge({"word": word}, kept=msgspec.json.encode(Kept(word)))

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        given = msgspec.convert(credential, Credential)
        await trio.lowlevel.checkpoint()
        if answered is None or msgspec.json.decode(answered.kept, type=Kept).word != given.word:
            raise AuthFailed("Start again.")
        if not secrets.compare_digest(self.passwords.get(given.name, "").encode(), given.password.encode()):
            raise AuthFailed("The name or the password is wrong.")
        return Identity(subject=given.name, display_name=given.name)

    async def check(self) -> str:
        return f"{len(self.passwords)} accounts"


class Credential(msgspec.Struct):
    """The fields of a credential."""

    name: str
    password: str
    word: str


class TestPasswords(ChallengeContract):
    proofs = ("password", "word")

    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        return PasswordAuthenticator({person: f"secret of {person}" for person in PEOPLE})

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"name": person, "password": f"secret of {person}", "word": challenge["word"]}
