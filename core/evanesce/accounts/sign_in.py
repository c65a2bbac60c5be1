"""Signing in with the authenticators of the enabled plugins: challenges, credentials, and the account that is found."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from evanesce.accounts.bans import UserBans
from evanesce.accounts.challenges import Challenges
from evanesce.accounts.purge import Purge
from evanesce.accounts.revocation import Revocation
from evanesce.accounts.tokens import Claims
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
from evanesce.metrics import OTHER, Metrics
from evanesce.model import Identity, KnownUser, RegisteredAccount, User, UserSeen, timestamp
from evanesce.protocol import codec, fields
from evanesce.store import Store

OK = "ok"
"""The outcome of a sign-in that succeeded, in the metrics."""

VALUE_CHARACTERS = 65_536
"""The longest `Registration.value`, in characters."""


@dataclass(frozen=True, slots=True)
class Client:
    """The client of a challenge or a sign-in: its address, whether it is on this machine, and who has signed in."""

    address: str
    local: bool
    user: User | None = None
    claims: Claims | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The account of a credential, whether it is new, and the id that the provider has chosen for the sign-in."""

    user: User
    created: bool
    sign_in_id: str | None


class Providers:
    """The identity providers by their names. `sign_ins` limits the attempts of one address, `metrics` counts them.

    The authenticators are contained (`evanesce.plugins.containment`): their calls end in time, and raise nothing but
    errors of the protocol and `msgspec.ValidationError`.
    """

    def __init__(
        self,
        authenticators: Mapping[str, Authenticator],
        repository: Repository,
        store: Store,
        sign_ins: DistributedRateLimit,
        revocation: Revocation,
        purge: Purge,
        bans: UserBans,
        metrics: Metrics,
    ) -> None:
        self._authenticators = authenticators
        self._outcomes = metrics.counter(
            "sign_ins",
            "Credentials that were tried, by provider and outcome: `ok`, or the code of the error",
            provider=list(authenticators),
            outcome=[OK, *(code.value for code in ErrorCode)],
        )
        self._repository = repository
        self._clock = store.clock
        self._challenges = Challenges(store.one_time_values, store.clock)
        self._sign_ins = sign_ins
        self._revocation = revocation
        self._purge = purge
        self._bans = bans

    async def challenge(self, provider: str, request: Mapping[str, Any], client: Client) -> dict[str, Any]:
        """Ask a provider for a challenge. Raises `CommandError`."""
        authenticator = self._find(provider, local=client.local)
        await self._count(client.address)
        with _Reported(""):
            challenge = await authenticator.challenge(request, self.caller(provider, client))
        return await self._challenges.issue(provider, challenge)

    async def sign_in(self, credential: Mapping[str, Any], client: Client) -> Found:
        """Return the account that a credential belongs to. Raises `CommandError`.

        Where somebody has signed in already, a credential of another user is refused.
        """
        provider, outcome = credential.get("provider"), ErrorCode.INTERNAL.value
        try:
            found = await self._sign_in(provider, credential, client)
            outcome = OK
            return found
        except CommandError as error:
            outcome = error.code.value
            raise
        finally:
            self._outcomes.labels(provider if isinstance(provider, str) else OTHER, outcome).inc()

    async def _sign_in(self, provider: object, credential: Mapping[str, Any], client: Client) -> Found:
        if not isinstance(provider, str):
            raise BadRequest("credential.provider", "Set `provider` to the name of a way to sign in.")
        authenticator = self._find(provider, local=client.local)
        await self._count(client.address)
        async with self._challenges.answer(provider, credential) as answered:
            with _Reported("credential"):
                found = await authenticator.authenticate(credential, self.caller(provider, client), answered)
            if isinstance(found, KnownUser):
                user, created = await self._known(found, client.user), False
            else:
                user, created = await self._identified(found, provider, client.user)
            return Found(user, created, found.sign_in_id)

    async def _known(self, found: KnownUser, user: User | None) -> User:
        if user is not None and user.user_id != found.user_id:
            raise _other_user()
        await self._repository.record([UserSeen(user_id=found.user_id, last_active=timestamp(self._clock.now()))])
        account = await self._repository.user(found.user_id)
        if account is None:
            raise AuthFailed("This account was erased.")
        await self._bans.check(account.world_id)
        return account

    async def _identified(self, found: Identity, provider: str, user: User | None) -> tuple[User, bool]:
        world_id = _world_id(found, provider)
        if user is not None and user.world_id != world_id:
            raise _other_user()
        await self._bans.check(world_id)
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
            user, created = await self._repository.sign_in(account, provider, found.registration)
        except RegistrationTaken:
            raise AuthFailed("This sign-in is registered with another account. Start again.") from None
        if created:  # a ban that was stored meanwhile does not name this account
            await self._bans.check(world_id)
        return user, created

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

    def caller(self, provider: str, client: Client) -> Caller:
        """Return a client as a provider sees it."""
        accounts = ProviderAccounts(provider, self._repository, self._revocation.end, self._purge.request)
        if client.claims is None:
            return Caller(client.user, client.address, accounts, client.local)
        age = max(0.0, self._clock.now() / 1000 - client.claims.auth_time)
        return Caller(client.user, client.address, accounts, client.local, client.claims.sid, age)


class ProviderAccounts:
    """The accounts as one provider may see and change them (`evanesce.interfaces.Accounts`).

    `end_sign_in` ends a sign-in. `replaced` is called after a value was replaced: it may still be in a file.
    """

    def __init__(
        self,
        provider: str,
        repository: Repository,
        end_sign_in: Callable[[str], Awaitable[None]],
        replaced: Callable[[], None],
    ) -> None:
        self._provider = provider
        self._repository = repository
        self._end_sign_in = end_sign_in
        self._replaced = replaced

    async def exists(self, identity: Identity) -> bool:
        """Return whether an identity has an account."""
        return await self._repository.has_account(_world_id(identity, self._provider))

    async def find(self, account_code: str) -> RegisteredAccount | None:
        """Return the account with a code, as this provider has registered it."""
        return await self._repository.find_registration(self._provider, account_code)

    async def spend(self, user_id: str, proof: str, attempt: str) -> bool:
        """Note that a proof was used; return whether it was new."""
        return await self._repository.spend(self._provider, user_id, proof, attempt)

    async def change(self, user_id: str, value: str, replaces: str) -> bool:
        """Replace what the provider registered with an account."""
        if len(value) > VALUE_CHARACTERS:
            raise ValueError(f"what a provider registers has at most {VALUE_CHARACTERS} characters")
        changed = await self._repository.change_registration(self._provider, user_id, value, replaces)
        if changed:
            self._replaced()
        return changed

    async def end_sign_in(self, sign_in_id: str) -> None:
        """End a sign-in, on all servers."""
        await self._end_sign_in(sign_in_id)


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
