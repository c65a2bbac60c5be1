"""Sign-in with World ID: a proof of uniqueness creates the account, a World ID session signs in to it again.

A nullifier of World ID 4.0 can be made only once, so a user cannot prove the same action again to sign in. Signing up
therefore takes two proofs at once: one of a new session, and one of uniqueness, whose signal names that session. The
session is registered with the account when the account is created, and only with a proof of the account's own
nullifier. Signing in proves the session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import AuthFailed, BadRequest
from evanesce.interfaces import Answered, Caller, Challenge
from evanesce.model import Identity, KnownUser, Registration
from evanesce.protocol.fields import display_name
from evanesce_plugins.worldid import account_code
from evanesce_plugins.worldid.challenges import CHALLENGE_SECONDS, Challenges, KeptChallenge, Purpose
from evanesce_plugins.worldid.health import Health
from evanesce_plugins.worldid.portal import Portal
from evanesce_plugins.worldid.proof import Result, Wanted, bound_signal, check
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.settings import WorldIdSettings

NAMELESS = "Anonymous"
"""The name of a new account without one. The sign-up is not refused, because its proof could not be made again."""

_INSTEAD = "Name the account by its code, `accountCode`, in place of `userId`: `profile` shows it to its owner."

AccountCode = Annotated[str, Meta(max_length=128)]
"""An account code as a user typed it."""


class ChallengeRequest(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A request for a challenge. `account_code` names the account to sign in to."""

    purpose: Purpose
    account_code: AccountCode | None = None
    user_id: Any = None


class Credential(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a challenge. `result` and, for the new session of a sign-up, `session` are results of IDKit.

    `new_account` is the user's statement, while proofs of World ID 3.0 are accepted, that they have no account here
    yet. A person has different nullifiers in World ID 3.0 and 4.0, and the server cannot see that they are the same.
    """

    purpose: Purpose
    challenge_id: Annotated[str, Meta(max_length=64)]
    result: Result
    session: Result | None = None
    display_name: str | None = None
    account_code: AccountCode | None = None
    user_id: Any = None
    new_account: bool = False


DATABASE_SECONDS = 5.0
"""How long the database may take in one call, in seconds: two queries of 2.5 s."""


class WorldIdAuthenticator:
    """Implements `evanesce.interfaces.Authenticator` for World ID. `clock` returns seconds since 1970."""

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
        signer, *_ = map(Signer, settings.signing_keys)  # each of them is a key
        self._portal = Portal(settings.portal, settings.rp_id, settings.timeout)
        self._health = Health(settings, signer.address, self._portal, clock)
        self._challenges = Challenges(settings, signer, seconds=challenge_seconds, clock=clock)

    @property
    def timeout(self) -> float:
        """How long a call may take, in seconds: the time-outs of the portal and the database together."""
        return self._settings.timeout + DATABASE_SECONDS

    async def __aenter__(self) -> WorldIdAuthenticator:
        await self._portal.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._portal.__aexit__(*error)

    async def check(self) -> str:
        """See `Authenticator.check`."""
        return await self._health.check()

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Return all input of IDKit for one of the two purposes."""
        wanted = msgspec.convert(request, ChallengeRequest)
        if wanted.purpose == "sign_up":
            return self._challenges.sign_up()
        code = _code(wanted, "")
        return self._challenges.sign_in(code, await caller.accounts.find(code))

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        """Check a proof against its challenge, have World verify it, and return the identity or the account."""
        given = msgspec.convert(credential, Credential)
        name = NAMELESS if given.display_name is None else display_name(given.display_name, "credential.displayName")
        if answered is None:
            raise AuthFailed("This request for a proof has expired, or was answered already. Start again.")
        asked = msgspec.json.decode(answered.kept, type=KeptChallenge)
        if given.purpose != asked.purpose:
            raise AuthFailed("This proof was asked for another purpose. Start again.")
        if asked.purpose == "sign_up":
            return await self._sign_up(asked, given, name, caller)
        return await self._sign_in(asked, given, caller, answered.challenge_id)

    async def _sign_up(self, asked: KeptChallenge, given: Credential, name: str, caller: Caller) -> Identity:
        session, signal = None, asked.signal
        if given.session is not None:
            nonce = asked.session_nonce or ""
            new = Wanted(kind="new_session", nonce=nonce, signal=asked.signal, field="credential.session")
            session = check(given.session, new, self._settings)
            signal = bound_signal(asked.signal, session.session_id or "")
        proof = check(given.result, Wanted(kind="uniqueness", nonce=asked.nonce, signal=signal), self._settings)
        identity = Identity(subject=proof.nullifier, display_name=name, is_world_id=True)
        if session is None:
            if not proof.legacy:
                # No user could sign in to its account again: a proof of 4.0 can be made only once.
                problem = "Signing up needs a new World ID session, which `sessionContext` is for, beside the proof."
                raise BadRequest("credential.session", problem)
            await self._portal.verify(proof)
        else:
            await self._portal.verify(session, proof)
            kept = Registration(value=session.session_id or "", account_code=account_code.new())
            identity = msgspec.structs.replace(identity, registration=kept)
        if self._settings.legacy_proofs and not given.new_account and not await caller.accounts.exists(identity):
            raise AuthFailed(
                "No account is known for this proof. If you signed up here before, with an older or a newer World "
                "App, sign in to that account. If not, say that you are new here."
            )
        return identity

    async def _sign_in(self, asked: KeptChallenge, given: Credential, caller: Caller, attempt: str) -> KnownUser:
        code = _code(given, "credential.")
        if not account_code.matches(code, asked.code or ""):
            raise AuthFailed("This proof was asked for another account. Start again.")
        wanted = Wanted(kind="session", nonce=asked.nonce, signal=asked.signal, session_id=asked.session_id)
        proof = check(given.result, wanted, self._settings)
        await self._portal.verify(proof)
        account = await caller.accounts.find(code)
        if account is None or account.user_id != asked.user_id or account.value != proof.session_id:
            raise AuthFailed("This is the World ID session of another account.")
        if not await caller.accounts.spend(account.user_id, proof.nullifier, attempt):
            raise AuthFailed("This proof was used before. Start again.")
        return KnownUser(user_id=account.user_id)


def _code(given: ChallengeRequest | Credential, path: str) -> str:
    """Return the account code of a request in its stored form. Raises `BadRequest`."""
    if given.user_id is not None:
        raise BadRequest(f"{path}userId", _INSTEAD)
    if given.account_code is None:
        raise BadRequest(f"{path}accountCode", "Signing in needs the account's code.")
    try:
        return account_code.parse(given.account_code)
    except ValueError as error:
        raise BadRequest(f"{path}accountCode", f"This is not an account code: {error}.") from None
