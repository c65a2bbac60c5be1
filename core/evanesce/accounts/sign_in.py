"""Signing in with the authenticators of the enabled plugins: challenges, credentials, and the account that is found."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from evanesce.accounts.challenges import Challenges
from evanesce.addresses import address_block
from evanesce.errors import (
    AuthFailed,
    BadRequest,
    CommandError,
    ErrorCode,
    RateLimited,
    RegistrationTaken,
)
from evanesce.interfaces import Authenticator, Caller, Repository
from evanesce.limits.distributed import DistributedRateLimit
from evanesce.model import Identity, KnownUser, RegisteredAccount, User, UserSeen, timestamp
from evanesce.protocol import codec, fields
from evanesce.store import Store


class Providers:
    """The identity providers by their names. `sign_ins` limits the attempts of one address.

    The authenticators are contained (`evanesce.plugins.containment`): their calls end in time, and raise nothing but
    errors of the protocol and `msgspec.ValidationError`.
    """

    def __init__(
        self,
        authenticators: Mapping[str, Authenticator],
        repository: Repository,
        store: Store,
        sign_ins: DistributedRateLimit,
    ) -> None:
        self._authenticators = authenticators
        self._repository = repository
        self._clock = store.clock
        self._challenges = Challenges(store.one_time_values, store.clock)
        self._sign_ins = sign_ins

    async def challenge(
        self, provider: str, request: Mapping[str, Any], user: User | None, address: str, *, local: bool
    ) -> dict[str, Any]:
        """Ask a provider for a challenge. Raises `CommandError`.

        `local` is whether the client is on this machine.
        """
        authenticator = self._find(provider, local=local)
        await self._count(address)
        with _Reported(""):
            challenge = await authenticator.challenge(request, self._caller(provider, user, address, local=local))
        return await self._challenges.issue(provider, challenge)

    async def sign_in(
        self, credential: Mapping[str, Any], user: User | None, address: str, *, local: bool
    ) -> tuple[User, bool]:
        """Return the account that a credential belongs to, and whether it is new. Raises `CommandError`.

        `user` has signed in already: a credential of another user is refused. `local` is whether the client is on
        this machine.
        """
        provider = credential.get("provider")
        if not isinstance(provider, str):
            raise BadRequest("credential.provider", "Set `provider` to the name of a way to sign in.")
        authenticator = self._find(provider, local=local)
        await self._count(address)
        async with self._challenges.answer(provider, credential) as answered:
            with _Reported("credential"):
                caller = self._caller(provider, user, address, local=local)
                found = await authenticator.authenticate(credential, caller, answered)
            if isinstance(found, KnownUser):
                return await self._known(found, user), False
            return await self._identified(found, provider, user)

    async def _known(self, found: KnownUser, user: User | None) -> User:
        if user is not None and user.user_id != found.user_id:
            raise _other_user()
        await self._repository.record([UserSeen(user_id=found.user_id, last_active=timestamp(self._clock.now()))])
        account = await self._repository.user(found.user_id)
        if account is None:
            raise AuthFailed("This account was erased.")
        return account

    async def _identified(self, found: Identity, provider: str, user: User | None) -> tuple[User, bool]:
        world_id = _world_id(found, provider)
        if user is not None and user.world_id != world_id:
            raise _other_user()
        now = timestamp(self._clock.now())
        account = User(
            user_id=str(uuid.uuid4()),
            world_id=world_id,
            display_name=fields.display_name(found.display_name, "credential.displayName"),
            email=None if found.email is None else fields.email_address(found.email, "credential.email"),
            created_at=now,
            last_active=now,
            guest=found.guest,
        )
        try:
            return await self._repository.sign_in(account, provider, found.registration)
        except RegistrationTaken:
            raise AuthFailed("This sign-in is registered with another account. Start again.") from None

    def _find(self, provider: str, *, local: bool) -> Authenticator:
        authenticator = self._authenticators.get(provider)
        if authenticator is None:
            names = ", ".join(sorted(self._authenticators))
            raise CommandError(ErrorCode.UNKNOWN_PROVIDER, f"You can sign in with: {names}.")
        if authenticator.loopback_only and not local:
            message = f"Only clients on the server's own machine sign in with {provider!r}: see plugins.{provider}."
            raise CommandError(ErrorCode.FORBIDDEN, message)
        return authenticator

    async def _count(self, address: str) -> None:
        wait = await self._sign_ins.take(address_block(address))
        if wait:
            message = "Too many sign-ins from this address. Wait a moment."
            raise RateLimited(message, wait)

    def _caller(self, provider: str, user: User | None, address: str, *, local: bool) -> Caller:
        return Caller(user, address, ProviderAccounts(provider, self._repository), local)


class ProviderAccounts:
    """The accounts as one provider may see and change them (`evanesce.interfaces.Accounts`)."""

    def __init__(self, provider: str, repository: Repository) -> None:
        self._provider = provider
        self._repository = repository

    async def exists(self, identity: Identity) -> bool:
        """Return whether an identity has an account."""
        return await self._repository.has_account(_world_id(identity, self._provider))

    async def find(self, account_code: str) -> RegisteredAccount | None:
        """Return the account with a code, as this provider has registered it."""
        return await self._repository.find_registration(self._provider, account_code)

    async def spend(self, user_id: str, proof: str, attempt: str) -> bool:
        """Note that a proof was used; return whether it was new."""
        return await self._repository.spend(self._provider, user_id, proof, attempt)


class _Reported:
    """Turns a `msgspec.ValidationError` of an authenticator into an error of the protocol, below the field `path`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, msgspec.ValidationError):
            raise BadRequest(codec.field_of(error, self._path) or "credential", codec.wording(error)) from None


def _world_id(identity: Identity, provider: str) -> str:
    return identity.subject if identity.is_world_id else f"{provider}:{identity.subject}"


def _other_user() -> CommandError:
    return CommandError(ErrorCode.FORBIDDEN, "Another user is signed in here. Sign out first.")
