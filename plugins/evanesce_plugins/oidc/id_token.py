"""ID tokens: which ones are accepted (OpenID Connect Core 1.0, section 3.1.3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import jwt
import msgspec
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import AuthFailed
from evanesce_plugins.oidc.keys import ALGORITHMS, KeySet

TOKEN_CHARACTERS = 16 * 1024
"""The longest ID token."""

IdToken = Annotated[str, Meta(min_length=1, max_length=TOKEN_CHARACTERS)]
"""An ID token, before anything of it was checked."""

_REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]

_WHY: tuple[tuple[type[PyJWTError], str], ...] = (
    (ExpiredSignatureError, "it has expired"),
    (ImmatureSignatureError, "it is from the future: compare the clocks of the issuer and of this server"),
    (InvalidAudienceError, "it was made for another client"),
    (InvalidIssuerError, "it is of another issuer"),
    (InvalidSignatureError, "its signature is invalid"),
    (MissingRequiredClaimError, f"it needs {', '.join(_REQUIRED)}"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an ID token has to say. `skew` is the greatest difference of the clocks, in seconds."""

    issuer: str
    client_id: str
    nonce: str
    skew: float


class Claims(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """What the server reads of an ID token. What it uses only if it can has any type."""

    sub: str
    aud: str | list[str]
    nonce: str
    exp: int | float
    iat: int | float
    nbf: int | float | None = None
    azp: str | None = None
    name: Any = None
    preferred_username: Any = None
    email: Any = None
    email_verified: Any = None


class UnknownKey(Exception):
    """The token names a key that the issuer did not publish, when its keys were last loaded."""


def verify(token: str, keys: KeySet, wanted: Wanted) -> Claims:
    """Return what a token says that the issuer signed, for this client and this challenge.

    Raises `AuthFailed`, without anything of the token, and `UnknownKey`.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise _refused(f"it is not signed by {' or '.join(ALGORITHMS)}")
        key = keys.find(algorithm, header.get("kid"))
        if key is None:
            raise UnknownKey
        values = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=wanted.client_id,
            issuer=wanted.issuer,
            leeway=wanted.skew,
            options={"require": _REQUIRED},
        )
        claims = msgspec.convert(values, Claims)
    except (PyJWTError, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise _refused(next((why for kind, why in _WHY if isinstance(error, kind)), "it is malformed")) from None
    if claims.nonce != wanted.nonce:
        raise _refused("it answers another challenge")
    several = isinstance(claims.aud, list) and len(claims.aud) > 1
    if claims.azp != wanted.client_id and (several or claims.azp is not None):
        raise _refused("it was made for another client")
    return claims


def _refused(why: str) -> AuthFailed:
    return AuthFailed(f"This ID token is not accepted: {why}.")
