"""Sign-in: the contract of an authenticator, and what it may read and store of accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evanesce.model import Identity, KnownUser, RegisteredAccount, User


class Accounts(Protocol):
    """What one provider may read and store of accounts. Every method raises `PersistenceUnavailable`.

    What a provider stores is deleted with the account. It is registered by `Identity.registration`, together with a
    proof of identity, and never by a token alone: `Caller.sign_in_age` says how old the proof of a token is.
    """

    async def exists(self, identity: Identity) -> bool:
        """Return whether there is an account with this identity."""
        ...

    async def find(self, account_code: str) -> RegisteredAccount | None:
        """Return the account with this code, and what this provider registered with it; None where there is none.

        Makes one query in either case. The code is compared exactly: the caller has to normalize it.
        """
        ...

    async def spend(self, user_id: str, proof: str, attempt: str) -> bool:
        """Store that an account has used `proof`, which must not be used twice; return False where it was used before.

        The same `attempt` (the challenge's id) may use it again, because its first response may have been lost.
        """
        ...

    async def change(self, user_id: str, value: str, replaces: str) -> bool:
        """Store `value` in place of what this provider registered with an account, if that is still `replaces`.

        Returns False, and stores nothing, where it is another value, or the account was erased: of several callers that
        replace one value, on any servers, one succeeds. Calling it again with the same arguments returns True, unless
        the value has changed since. Raises `RegistrationTaken` where `value` belongs to another account, and
        `ValueError` where it is longer than `Registration` allows.
        """
        ...

    async def end_sign_in(self, sign_in_id: str) -> None:
        """End a sign-in, and close its connections on all servers. Its tokens are worthless from then on.

        `sign_in_id` is one that this provider has chosen, in `Identity` or `KnownUser`. Ending it again is lawful.
        """
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """The origin of a request: the signed-in user, if there is one, and the client's address.

    `accounts` is what the provider may read and store of accounts. `local` is whether the client is on this machine,
    as far as the transport can tell. `sign_in_id` is the id of the sign-in of `user`, and `sign_in_age` is how many
    seconds ago it was: a token may be as old as `server.refresh_days`, and may have been stolen since. Both are None
    where nobody is signed in.
    """

    user: User | None
    address: str
    accounts: Accounts
    local: bool = False
    sign_in_id: str | None = None
    sign_in_age: float | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a credential must answer.

    `fields` are sent to the client, as JSON of at most 255 KiB; the names `type`, `ref`, `challengeId` and `expiresAt`
    are reserved. `kept`, where it is not None, is stored by the servers for `seconds` (above 0, at most a day), and has
    at most 64 KiB. The client then receives a `challengeId` and `expiresAt` too, and `authenticate` receives `kept`
    with the one credential that names this id, on any server.
    """

    fields: Mapping[str, Any]
    kept: bytes | None = None
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A challenge that a credential answers: its id, and what was stored with it."""

    challenge_id: str
    kept: bytes


class Authenticator(Protocol):
    """Verifies who a user is. Opened (`async with`) before the server listens, closed after it has ended.

    `provider` is the name that clients use in `challenge` and `credential`: 1 to 64 letters, digits, `_`, `-` and `.`.
    With `loopback_only`, for a provider that proves nothing, the server refuses to start on an address other than the
    loopback address, and refuses clients that are not on this machine.

    An optional attribute `timeout` is how long one call of `challenge`, `authenticate` or `check` may take, in seconds:
    above 0 and at most 60, 5 where it is absent. After that the call is cancelled, and the client gets
    `auth_unavailable`. It is cancelled as well when the client disconnects. While ten cancelled calls have not ended,
    no further call is made.
    """

    @property
    def provider(self) -> str:
        """The name that clients use."""
        ...

    @property
    def loopback_only(self) -> bool:
        """Whether only clients on this machine may use this provider."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *error: object) -> bool | None: ...

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Return what a credential must answer.

        Raises `AuthFailed`, `AuthUnavailable`, `BadRequest`; a `msgspec.ValidationError` becomes a `bad_request`.
        """
        ...

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        """Return who sent `credential`: an identity, with or without an account, or a known account.

        `answered` is the challenge that its `challengeId` names; None where there is no such challenge, or it has
        expired. It is used up by this call. The client may answer it again only if neither this call nor the sign-in
        after it reached a decision: after a fault, a cancellation or a malformed credential. Raises as `challenge`
        does.
        """
        ...

    async def check(self) -> str:
        """Return the state of the provider in a few words. Raises `AuthUnavailable` where it cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class SignInPage:
    """How the web page signs in with an authenticator's `provider`: a JavaScript module.

    `module` is the module's absolute path on this origin, normally a route of the same plugin.
    docs/reference/sign-in-modules.md describes what it exports. `sources` are the sources that the page's
    Content-Security-Policy must allow beside `'self'`, by directive: `{"connect-src": ["https://bridge.example"]}`. The
    directive `trusted-types` has the names of the policies that the module creates: the page assigns no text to what a
    browser runs as a script or parses as HTML.
    """

    provider: str
    module: str
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
