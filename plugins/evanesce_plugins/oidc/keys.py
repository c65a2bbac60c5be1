"""The public keys of the issuer: of its JSON Web Key Set (RFC 7517), those that may sign ID tokens here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from msgspec import Meta

Algorithm = Literal["RS256", "ES256"]

ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "ES256")
"""The algorithms by which an ID token may be signed. All are asymmetric."""

MOST_KEYS = 64
"""The largest number of keys in a set, of any kind."""

RSA_BITS = range(2048, 8192 + 1)
"""The sizes of RSA keys: shorter ones are weak, longer ones take long."""

_RSA_CHARACTERS = 1400  # of a modulus of 8192 bits, in base64url, and some


class _KeySet(msgspec.Struct, frozen=True):
    keys: Annotated[list[Any], Meta(max_length=MOST_KEYS)]


class _Jwk(msgspec.Struct, frozen=True):
    kty: Literal["RSA", "EC"]
    kid: str | None = None
    use: Literal["sig"] | None = None
    alg: Algorithm | None = None
    crv: Literal["P-256"] | None = None
    n: Annotated[str, Meta(max_length=_RSA_CHARACTERS)] | None = None
    e: Annotated[str, Meta(max_length=16)] | None = None
    x: Annotated[str, Meta(max_length=64)] | None = None
    y: Annotated[str, Meta(max_length=64)] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the one algorithm that it is for."""

    key_id: str | None
    algorithm: Algorithm
    key: PyJWK


class KeySet:
    """The usable keys of an issuer."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, algorithm: str, key_id: str | None) -> Key | None:
        """Return the only key for an algorithm that has this id, or that there is at all where the id is None."""
        of_it = [key for key in self._keys if key.algorithm == algorithm and key_id in (None, key.key_id)]
        return of_it[0] if len(of_it) == 1 else None


def parse_keys(body: bytes) -> KeySet:
    """Return the keys of a set that can be used; the others are left out. Raises `ValueError` where there are none."""
    try:
        found = msgspec.json.decode(body, type=_KeySet)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ValueError(f"it is no JSON Web Key Set of at most {MOST_KEYS} keys") from None
    keys = [key for key in map(_usable, found.keys) if key is not None]
    if not keys:
        raise ValueError(f"it has no key for {' or '.join(ALGORITHMS)}")
    return KeySet(keys)


def _usable(value: Any) -> Key | None:
    """Return a key of a set; None for one of another kind or purpose, such as a symmetric one."""
    try:
        jwk = msgspec.convert(value, _Jwk)
        algorithm: Algorithm = "RS256" if jwk.kty == "RSA" else "ES256"
        if jwk.alg not in (None, algorithm):
            return None
        names = ("kty", "n", "e") if jwk.kty == "RSA" else ("kty", "crv", "x", "y")
        key = PyJWK({name: getattr(jwk, name) for name in names}, algorithm)  # the public numbers alone
    except (msgspec.ValidationError, PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in RSA_BITS:
        return None
    return Key(jwk.kid, algorithm, key)
