"""Signing in through the authenticators of the enabled plugins: challenges, credentials, and whose account it is."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from evanesce.errors import AuthFailed, AuthUnavailable, BadRequest, CommandError, ErrorCode, RateLimited
from evanesce.interfaces import Authenticator, Caller, Repository
from evanesce.model import Identity, KnownUser, User, UserSeen, timestamp
from evanesce.protocol import codec, fields
from evanesce.sessions.challenges import Challenges
from evanesce.sessions.sharedlimit import SharedLimit
from evanesce.store.base import MessageStore

logger = logging.getLogger(__name__)


class Providers:
    """The ways to sign in, by the provider's name. `sign_ins` is how often one address may try."""

    def __init__(
        self,
        authenticators: Mapping[str, Authenticator],
        repository: Repository,
        store: MessageStore,
        sign_ins: SharedLimit,
    ) -> None:
        self._authenticators = authenticators
        self._repository = repository
        self._store = store
        self._challenges = Challenges(store)
        self._sign_ins = sign_ins

    async def challenge(
        self, provider: str, request: Mapping[str, Any], user: User | None, address: str
    ) -> dict[str, Any]:
        """Ask a provider for what its credential must answer. Raises `CommandError`."""
        authenticator = self._find(provider)
        await self._count(address)
        with _Reported(provider, ""):
            challenge = await authenticator.challenge(request, self._caller(provider, user, address))
        return await self._challenges.issue(provider, challenge)

    async def sign_in(self, credential: Mapping[str, Any], user: User | None, address: str) -> tuple[User, bool]:
        """Find out whose credential it is, and give the account, with whether it is new. Raises `CommandError`.

        `user` is who is signed in already: somebody else's credential is refused.
        """
        provider = credential.get("provider")
        if not isinstance(provider, str):
            raise BadRequest("credential.provider", "`provider` names how to sign in.")
        authenticator = self._find(provider)
        await self._count(address)
        async with self._challenges.answer(provider, credential) as answered:
            with _Reported(provider, "credential"):
                found = await authenticator.authenticate(credential, self._caller(provider, user, address), answered)
            if isinstance(found, KnownUser):
                return await self._known(found, user), False
            return await self._identified(found, provider, user)

    async def _known(self, found: KnownUser, user: User | None) -> User:
        if user is not None and user.user_id != found.user_id:
            raise _somebody_else()
        await self._repository.record([UserSeen(user_id=found.user_id, last_active=timestamp(self._store.now()))])
        account = await self._repository.user(found.user_id)
        if account is None:
            raise AuthFailed("This account was erased.")
        return account

    async def _identified(self, found: Identity, provider: str, user: User | None) -> tuple[User, bool]:
        world_id = _world_id(found, provider)
        if user is not None and user.world_id != world_id:
            raise _somebody_else()
        now = timestamp(self._store.now())
        return await self._repository.sign_in(
            User(
                user_id=str(uuid.uuid4()),
                world_id=world_id,
                display_name=fields.display_name(found.display_name, "credential.displayName"),
                email=None if found.email is None else fields.email_address(found.email, "credential.email"),
                created_at=now,
                last_active=now,
                guest=found.guest,
            )
        )

    def _find(self, provider: str) -> Authenticator:
        authenticator = self._authenticators.get(provider)
        if authenticator is None:
            names = ", ".join(sorted(self._authenticators))
            raise CommandError(ErrorCode.UNKNOWN_PROVIDER, f"Here one signs in with: {names}.")
        return authenticator

    async def _count(self, address: str) -> None:
        wait = await self._sign_ins.take(address)
        if wait:
            message = "Too many sign-ins from this address. Wait a moment."
            raise RateLimited(message, wait)

    def _caller(self, provider: str, user: User | None, address: str) -> Caller:
        return Caller(user, address, ProviderAccounts(provider, self._repository))


class ProviderAccounts:
    """What one provider may ask and keep of accounts (`evanesce.interfaces.Accounts`)."""

    def __init__(self, provider: str, repository: Repository) -> None:
        self._provider = provider
        self._repository = repository

    async def exists(self, identity: Identity) -> bool:
        """Whether somebody has an account."""
        return await self._repository.has_account(_world_id(identity, self._provider))

    async def registration(self, user_id: str) -> str | None:
        """Give what is registered with an account."""
        return await self._repository.registration(self._provider, user_id)

    async def register(self, user_id: str, value: str) -> str | None:
        """Register something with an account."""
        return await self._repository.register(self._provider, user_id, value)

    async def spend(self, user_id: str, proof: str, attempt: str) -> bool:
        """Note that a proof was used."""
        return await self._repository.spend(self._provider, user_id, proof, attempt)


class _Reported:
    """Around an authenticator's call: what it raises becomes an error of the protocol, and a fault is contained."""

    def __init__(self, provider: str, path: str) -> None:
        self._provider = provider
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, msgspec.ValidationError):
            raise BadRequest(codec.field_of(error, self._path) or "credential", codec.wording(error)) from None
        if isinstance(error, Exception) and not isinstance(error, CommandError):
            # The exception's text may hold the credential: its kind alone is logged.
            logger.error("the authenticator of %r failed: %s", self._provider, type(error).__name__)
            raise AuthUnavailable from None


def _world_id(identity: Identity, provider: str) -> str:
    return identity.subject if identity.is_world_id else f"{provider}:{identity.subject}"


def _somebody_else() -> CommandError:
    return CommandError(ErrorCode.FORBIDDEN, "Somebody else is signed in here. Sign out first.")
