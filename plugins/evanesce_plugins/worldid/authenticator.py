"""Sign-in with World ID: a proof of uniqueness makes the account, a World ID session signs in to it again.

A World ID 4.0 nullifier is made once, so nobody can prove the same action again to sign in. Signing up takes that one
proof; right after it the page makes a session, whose id is registered with the account; signing in proves the session.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from evanesce.errors import AuthFailed, BadRequest, CommandError, ErrorCode
from evanesce.interfaces import Answered, Caller, Challenge
from evanesce.model import Identity, KnownUser, User
from evanesce.protocol.commands import UUID
from evanesce.protocol.fields import display_name
from evanesce_plugins.worldid.health import Health
from evanesce_plugins.worldid.portal import Portal
from evanesce_plugins.worldid.proof import Asked, Proof, Purpose, Result, check
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.settings import WorldIdSettings

CHALLENGE_SECONDS = 300
"""How long a challenge lives: World's nodes take a request for up to 30 minutes, a person with a phone needs one."""

NAMELESS = "Anonymous"
"""The name of a new account that was given none: its proof could not be made a second time."""

_WORLD_ID = re.compile(r"[0-9a-f]{64}")


class ChallengeRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a client asks a challenge for: `userId` names the account to sign in to."""

    purpose: Purpose
    user_id: UUID | None = None


class Credential(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a client answers: `result` is what IDKit returned.

    `new_account` is what a person has said who signs up while proofs of World ID 3.0 are taken: that there is no
    account of theirs here yet. World gives one person another nullifier by 3.0 than by 4.0, and nobody can see that
    they belong together.
    """

    purpose: Purpose
    challenge_id: Annotated[str, Meta(max_length=64)]
    result: Result
    display_name: str | None = None
    user_id: UUID | None = None
    new_account: bool = False


class WorldIdAuthenticator:
    """Keeps `evanesce.interfaces.Authenticator` for World ID. `clock` gives seconds since 1970."""

    provider = "worldid"
    loopback_only = False

    def __init__(
        self,
        settings: WorldIdSettings,
        *,
        challenge_seconds: int = CHALLENGE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._signer = Signer(settings.signing_key)
        self._portal = Portal(settings.portal, settings.rp_id, settings.timeout)
        self._health = Health(settings, self._signer.address, self._portal, clock)
        self._challenge_seconds = challenge_seconds
        self._clock = clock

    async def __aenter__(self) -> WorldIdAuthenticator:
        await self._portal.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._portal.__aexit__(*error)

    async def check(self) -> str:
        """See `Authenticator.check`."""
        return await self._health.check()

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Give all that IDKit takes, for one of the three purposes."""
        wanted = msgspec.convert(request, ChallengeRequest)
        user_id, session_id = None, None
        if wanted.purpose == "create_session":
            user_id = _of_world_id(caller.user).user_id
        elif wanted.purpose == "sign_in":
            if wanted.user_id is None:
                raise BadRequest("userId", "Signing in needs the account's code.")
            user_id = wanted.user_id
            session_id = await caller.accounts.registration(user_id)
            if session_id is None:
                raise AuthFailed("No World ID sign-in is set up for this account code. Look at the code again.")
        action = self._settings.action if wanted.purpose == "sign_up" else None
        context = self._signer.context(
            self._settings.rp_id, now=int(self._clock()), seconds=self._challenge_seconds, action=action
        )
        asked = Asked(
            purpose=wanted.purpose,
            nonce=context.nonce,
            signal=f"0x{secrets.token_hex(32)}",
            user_id=user_id,
            session_id=session_id,
        )
        fields: dict[str, Any] = {
            "appId": self._settings.app_id,
            "rpId": self._settings.rp_id,
            "environment": self._settings.environment,
            "signal": asked.signal,
            "rpContext": msgspec.to_builtins(context),
        }
        if action is not None:
            fields |= {"action": action, "legacyProofs": self._settings.legacy_proofs}
        if session_id is not None:
            fields["sessionId"] = session_id
        return Challenge(fields, kept=msgspec.json.encode(asked), seconds=self._challenge_seconds)

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        """Check a proof against its challenge, have World verify it, and say whose account it opens."""
        given = msgspec.convert(credential, Credential)
        name = NAMELESS if given.display_name is None else display_name(given.display_name, "credential.displayName")
        if answered is None:
            raise AuthFailed("This request for a proof has run out, or was answered already. Start again.")
        asked = msgspec.json.decode(answered.kept, type=Asked)
        if given.purpose != asked.purpose:
            raise AuthFailed("This proof was asked for another purpose. Start again.")
        proof = check(given.result, asked, self._settings)
        if asked.purpose == "sign_up":
            return await self._sign_up(proof, given, name, caller)
        if asked.purpose == "create_session":
            return await self._create_session(proof, asked, caller)
        return await self._sign_in(proof, asked, given, caller, answered.challenge_id)

    async def _sign_up(self, proof: Proof, given: Credential, name: str, caller: Caller) -> Identity:
        identity = Identity(subject=proof.nullifier, display_name=name, is_world_id=True)
        await self._portal.verify(proof)
        if self._settings.legacy_proofs and not given.new_account and not await caller.accounts.exists(identity):
            raise AuthFailed(
                "No account is known for this proof. If you signed up here before, with an older or a newer World "
                "App, sign in to that account. If not, say that you are new here."
            )
        return identity

    async def _create_session(self, proof: Proof, asked: Asked, caller: Caller) -> KnownUser:
        user = _of_world_id(caller.user)
        if user.user_id != asked.user_id:
            raise AuthFailed("This proof was asked for by another account. Start again.")
        await self._portal.verify(proof)
        registered = await caller.accounts.register(user.user_id, proof.session_id or "")
        if registered is None:
            raise AuthFailed("This World ID session is another account's.")
        if registered != proof.session_id:
            raise CommandError(
                ErrorCode.CONFLICT, "This account has a World ID session already, and it stays. Sign in with that one."
            )
        return KnownUser(user_id=user.user_id)

    async def _sign_in(self, proof: Proof, asked: Asked, given: Credential, caller: Caller, attempt: str) -> KnownUser:
        if given.user_id is None:
            raise BadRequest("credential.userId", "Signing in needs the account's code.")
        if given.user_id != asked.user_id:
            raise AuthFailed("This proof was asked for another account. Start again.")
        await self._portal.verify(proof)
        if await caller.accounts.registration(given.user_id) != proof.session_id:
            raise AuthFailed("This is the World ID session of another account.")
        if not await caller.accounts.spend(given.user_id, proof.nullifier, attempt):
            raise AuthFailed("This proof was used before. Start again.")
        return KnownUser(user_id=given.user_id)


def _of_world_id(user: User | None) -> User:
    """Give who is signed in, with an account that World ID made. Raises `CommandError`."""
    if user is None:
        raise CommandError(ErrorCode.UNAUTHENTICATED, "Sign in first: a session belongs to an account.")
    if not _WORLD_ID.fullmatch(user.world_id):
        # A session says that it is the same person as before, not that they have one account.
        raise AuthFailed("This account was not made with World ID.")
    return user
