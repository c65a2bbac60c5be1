"""How somebody signs in: what an authenticator is, what it is asked, and what it may keep of accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evanesce.model import Identity, KnownUser, User


class Accounts(Protocol):
    """What one provider may ask, and keep, of accounts. Every method raises `PersistenceUnavailable`.

    What is kept goes with the account.
    """

    async def exists(self, identity: Identity) -> bool:
        """Whether somebody has an account."""
        ...

    async def registration(self, user_id: str) -> str | None:
        """Give what this provider has registered with an account: a public key, a session; None where nothing is."""
        ...

    async def register(self, user_id: str, value: str) -> str | None:
        """Register `value` with an account that has nothing registered yet; give what is registered with it now.

        None where there is no such account, or `value` is registered with another one.
        """
        ...

    async def spend(self, user_id: str, proof: str, attempt: str) -> bool:
        """Note that an account has used `proof`, which no account may use twice; False where it was used before.

        The same `attempt` (the challenge's id) may spend it again: its first answer may have been lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the user, where somebody is signed in, and the address that the request came from.

    `accounts` is what the asked provider may know and keep of accounts.
    """

    user: User | None
    address: str
    accounts: Accounts


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a credential must answer.

    `fields` go to the client. `kept`, where it is not None, stays with the server for `seconds`: then the client is
    given a `challengeId` and `expiresAt` too, and the one credential that names that id gets it, on whichever server.
    """

    fields: Mapping[str, Any]
    kept: bytes | None = None
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A challenge that a credential answers: its id, and what was kept with it."""

    challenge_id: str
    kept: bytes


class Authenticator(Protocol):
    """Finds out who somebody is. Opened (`async with`) before the server listens, closed after it has ended.

    `provider` is what clients name in `challenge` and `credential`. With `loopback_only` the server refuses to start
    on any other address: for a provider that proves nothing.
    """

    @property
    def provider(self) -> str:
        """The name that clients use."""
        ...

    @property
    def loopback_only(self) -> bool:
        """Whether this provider may serve this machine alone."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *error: object) -> bool | None: ...

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Give what a credential must answer.

        Raises `AuthFailed`, `AuthUnavailable`, `BadRequest`; a `msgspec.ValidationError` is told as a `bad_request`.
        """
        ...

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        """Find out who sent `credential`: somebody with or without an account, or an account that is known.

        `answered` is the challenge that its `challengeId` names; None where it names none that is live. It is used up
        then: nobody else gets it. Only where this, or the sign-in behind it, decides nothing (a fault, a cancellation,
        a malformed credential) the client may answer it again. Raises as `challenge` does.
        """
        ...

    async def check(self) -> str:
        """Say in a few words how the provider is; raises `AuthUnavailable` where it cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class SignInPage:
    """How the web page signs in with `provider`, an authenticator's: by a JavaScript module.

    `module` is its absolute path on this origin, normally a route of the same plugin; docs/plugins.md says what it
    exports. `sources` is what the page's Content-Security-Policy must allow beside `'self'`, by directive, such as
    `{"connect-src": ["https://bridge.example"]}`.
    """

    provider: str
    module: str
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
