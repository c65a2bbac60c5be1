"""Sign-in with OpenID Connect: an ID token that answers a challenge, or an authorisation code that leads to one."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import trio
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import AuthFailed, AuthUnavailable, BadRequest
from evanesce.interfaces import Answered, Caller, Challenge
from evanesce.model import Identity
from evanesce.protocol.fields import display_name, email_address
from evanesce_plugins.oidc.id_token import Claims, IdToken, UnknownKey, Wanted, verify
from evanesce_plugins.oidc.issuer import RENEW_SECONDS, Issuer, IssuerUnavailable
from evanesce_plugins.oidc.page import CALLBACK, PROVIDER
from evanesce_plugins.oidc.settings import OidcSettings

logger = logging.getLogger(__name__)

CHALLENGE_SECONDS = 600
"""The lifetime of a challenge: a person may have to find a password and a second factor first."""

FRESH_SECONDS = 30.0
"""How long an answer of the issuer is used by `check`, in seconds: `/readyz` may be requested every second."""

NAMELESS = "Anonymous"
"""The name of a new account for which neither the client nor the issuer has a name that the server accepts."""

SUBJECT_CHARACTERS = 255

_ANSWERS = 4  # of the issuer at most in one call: discovery document, token, keys, and keys again


class Kept(msgspec.Struct, frozen=True):
    """What the server stores of a challenge."""

    nonce: str


class Credential(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a challenge: an ID token, or an authorisation code with the verifier of PKCE (RFC 7636)."""

    id_token: IdToken | None = None
    code: Annotated[str, Meta(pattern=r"^[ -~]{1,4096}\Z")] | None = None
    code_verifier: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{43,128}\Z")] | None = None
    display_name: str | None = None


class OidcAuthenticator:
    """Implements `evanesce.interfaces.Authenticator` for an issuer. `clock` returns seconds.

    `public_url` is the address of this server, below which the issuer sends browsers back.
    """

    provider = PROVIDER
    loopback_only = False

    def __init__(
        self, settings: OidcSettings, public_url: str, *, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._settings = settings
        self._redirect_uri = public_url + CALLBACK
        self._issuer = Issuer(settings, clock)

    @property
    def timeout(self) -> float:
        """How long a call may take, in seconds: as long as all answers of the issuer, and one second."""
        return _ANSWERS * self._settings.timeout + 1

    async def __aenter__(self) -> OidcAuthenticator:
        await self._issuer.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._issuer.__aexit__(*error)

    async def check(self) -> str:
        """See `Authenticator.check`."""
        try:
            await self._issuer.discovery(FRESH_SECONDS)
            keys = await self._issuer.keys(FRESH_SECONDS)
        except IssuerUnavailable as error:
            hint = "Correct plugins.oidc.issuer, or let this server reach it."
            raise AuthUnavailable(f"{self._settings.issuer}: {error.problem}. {hint}") from None
        client = "public" if self._settings.client_secret is None else "confidential"
        count = f"{len(keys)} key{'' if len(keys) == 1 else 's'}"
        return (
            f"{self._settings.issuer} has {count}; it must know {self._redirect_uri} as a redirect of a {client} client"
        )

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Return a nonce, which the ID token has to repeat, and all that a request to the issuer needs."""
        discovery = await self._issuer.discovery()
        nonce = secrets.token_urlsafe(32)
        fields = {
            "nonce": nonce,
            "issuer": self._settings.issuer,
            "clientId": self._settings.client_id,
            "authorizationEndpoint": discovery.authorization_endpoint,
            "redirectUri": self._redirect_uri,
            "scope": self._settings.scope,
        }
        return Challenge(fields, kept=msgspec.json.encode(Kept(nonce)), seconds=CHALLENGE_SECONDS)

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        """Return the person whom the issuer has signed in."""
        given = msgspec.convert(credential, Credential)
        chosen = None if given.display_name is None else display_name(given.display_name, "credential.displayName")
        if (given.id_token is None) == (given.code is None):
            raise BadRequest("credential.idToken", "Send either an ID token, `idToken`, or a `code`.")
        if given.code is not None and given.code_verifier is None:
            raise BadRequest("credential.codeVerifier", "A code needs the verifier of its request.")
        if answered is None:
            raise AuthFailed("This sign-in has expired, or was answered already. Start again.")
        nonce = msgspec.json.decode(answered.kept, type=Kept).nonce
        token = given.id_token
        if token is None:
            token = await self._issuer.exchange(given.code or "", given.code_verifier or "", self._redirect_uri)
        claims = await self._verify(token, nonce)
        return Identity(
            subject=self._subject(claims.sub),
            display_name=chosen or _name(claims),
            email=_email(claims) if self._settings.email else None,
        )

    async def _verify(self, token: str, nonce: str) -> Claims:
        wanted = Wanted(self._settings.issuer, self._settings.client_id, nonce, self._settings.clock_skew)
        try:
            return verify(token, await self._issuer.keys(), wanted)
        except UnknownKey:
            pass  # The issuer may have a new key.
        try:
            return verify(token, await self._issuer.keys(RENEW_SECONDS), wanted)
        except UnknownKey:
            raise AuthFailed("This ID token is not accepted: the issuer does not publish its key.") from None

    def _subject(self, sub: str) -> str:
        """Return the subject. It includes the issuer, whose persons are not those of another one.

        An issuer has no `#`, so that two different pairs never make one subject.
        """
        subject = f"{self._settings.issuer}#{sub}"
        if not (sub and sub.isascii() and sub.isprintable() and len(subject) <= SUBJECT_CHARACTERS):
            logger.error("the issuer of plugins.oidc names a person by a sub that is too long, or not printable ASCII")
            raise AuthFailed("The identity provider names you by an identifier that this server cannot store.")
        return subject


def _name(claims: Claims) -> str:
    """Return the first name in the token that the server accepts."""
    for name in (claims.name, claims.preferred_username):
        if isinstance(name, str):
            try:
                return display_name(name)
            except BadRequest:
                continue
    return NAMELESS


def _email(claims: Claims) -> str | None:
    """Return the mail address that the issuer has verified, if the server accepts it."""
    if claims.email_verified is not True or not isinstance(claims.email, str):
        return None
    try:
        return email_address(claims.email)
    except BadRequest:
        return None
