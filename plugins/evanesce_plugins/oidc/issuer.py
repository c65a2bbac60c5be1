"""The HTTP client for the issuer: its discovery document, its keys, and its token endpoint."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple
from urllib.parse import quote_plus

import msgspec
import trio

from evanesce.confidential import Confidential
from evanesce.errors import AuthFailed, AuthUnavailable
from evanesce_plugins.oidc.cached import Cached
from evanesce_plugins.oidc.id_token import IdToken
from evanesce_plugins.oidc.keys import KeySet, parse_keys
from evanesce_plugins.oidc.settings import OidcSettings, is_safe
from evanesce_plugins.provider_http import Answer, NoAnswer, ProviderClient

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
Arguments = TypeVarTuple("Arguments")

KEPT_SECONDS = 600.0
"""How long the discovery document and the keys are kept, in seconds. A key that the issuer withdraws is accepted as
long as this at most."""

RENEW_SECONDS = 10.0
"""How old the keys have to be before a token with an unknown key makes the server load them again, in seconds."""

OPERATORS = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"})
"""Refusals of the token endpoint that only the operator can resolve. They are logged."""

_REFUSALS = OPERATORS | {"invalid_grant", "invalid_request", "access_denied"}


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """What the server needs of the discovery document (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str | None = None
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Tokens(Confidential, msgspec.Struct, frozen=True):
    id_token: IdToken


class _Refusal(msgspec.Struct, frozen=True):
    error: str


class IssuerUnavailable(AuthUnavailable):
    """The issuer cannot be used. `problem` is the reason, for the deployer."""

    def __init__(self, problem: str) -> None:
        super().__init__("The identity provider does not answer. Try again in a moment.")
        self.problem = problem


class Issuer:
    """The issuer of the settings. Used by `async with`; it has `timeout` seconds for each answer.

    `clock` returns seconds. Every method raises `IssuerUnavailable`.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = trio.current_time) -> None:
        self._settings = settings
        self._discovery = Cached(self._load_discovery, clock)
        self._keys = Cached(self._load_keys, clock)
        self._client = ProviderClient()

    async def __aenter__(self) -> Issuer:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(*error)

    async def discovery(self, seconds: float = KEPT_SECONDS) -> Discovery:
        """Return the discovery document, which is at most `seconds` old."""
        return await self._within(self._discovery.get, seconds)

    async def keys(self, seconds: float = KEPT_SECONDS) -> KeySet:
        """Return the keys, which are at most `seconds` old."""
        await self.discovery()
        return await self._within(self._keys.get, seconds)

    async def exchange(self, code: str, code_verifier: str, redirect_uri: str) -> str:
        """Return the ID token for an authorisation code. Raises `AuthFailed` where the issuer refuses the code."""
        discovery = await self.discovery()
        if discovery.token_endpoint is None:
            raise IssuerUnavailable("its discovery document names no token_endpoint")
        form, headers = self._authenticate(discovery)
        form |= {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": code_verifier,
            "redirect_uri": redirect_uri,
        }
        answer = await self._within(self._post, discovery.token_endpoint, form, headers)
        if answer.status == 200:
            return _decode(answer.body, _Tokens, "its token endpoint answered without an ID token").id_token
        given = _decode(
            answer.body, _Refusal, f"its token endpoint answered HTTP {answer.status} without a reason"
        ).error
        reason = given if given in _REFUSALS else "unknown"
        if reason in OPERATORS:
            logger.error("the issuer refuses this server's client: %s. Correct [plugins.oidc]", reason)
        raise AuthFailed(f"The identity provider did not accept this sign-in ({reason}). Start again.")

    def _authenticate(self, discovery: Discovery) -> tuple[dict[str, str], dict[str, str]]:
        """Return the fields and headers by which this client authenticates (RFC 6749, section 2.3.1)."""
        name, secret = self._settings.client_id, self._settings.client_secret
        if secret is None:
            return {"client_id": name}, {}
        methods = discovery.token_endpoint_auth_methods_supported
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            return {"client_id": name, "client_secret": secret}, {}
        pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
        return {}, {"Authorization": f"Basic {b64encode(pair).decode()}"}

    async def _load_discovery(self) -> Discovery:
        url = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        body = await self._document(url, "discovery document")
        found = _decode(body, Discovery, "its discovery document is not one of OpenID Connect")
        if found.issuer != self._settings.issuer:
            raise IssuerUnavailable("its discovery document is that of another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            address: str | None = getattr(found, name)
            if address is not None and not is_safe(address, found.issuer):
                raise IssuerUnavailable(f"its {name} is no address over TLS")
        return found

    async def _load_keys(self) -> KeySet:
        discovery = await self._discovery.get(KEPT_SECONDS)
        body = await self._document(discovery.jwks_uri, "key set")
        try:
            return parse_keys(body)
        except ValueError as error:
            raise IssuerUnavailable(f"its key set is unusable: {error}") from None

    async def _document(self, url: str, what: str) -> bytes:
        answer = await self._client.request("GET", url)
        if answer.status != 200:
            raise IssuerUnavailable(f"it answered HTTP {answer.status} in place of its {what}")
        return answer.body

    async def _post(self, url: str, form: dict[str, str], headers: dict[str, str]) -> Answer:
        return await self._client.request("POST", url, form=form, headers=headers)

    async def _within(self, call: Callable[[*Arguments], Awaitable[Value]], *arguments: *Arguments) -> Value:
        """Call within the time-out, which includes waiting for another task that loads the same."""
        problem = f"it gave no answer within {self._settings.timeout:g} s"
        with trio.move_on_after(self._settings.timeout):
            try:
                return await call(*arguments)
            except IssuerUnavailable as error:
                problem = error.problem
            except NoAnswer as error:
                problem = error.problem
        logger.warning("the issuer of plugins.oidc: %s", problem)
        raise IssuerUnavailable(problem)


def _decode(body: bytes, kind: type[Value], problem: str) -> Value:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise IssuerUnavailable(problem) from None
