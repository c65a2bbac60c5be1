"""Session tokens: signed, short-lived, renewable for a while after the sign-in (JWT, RFC 7519, HS256)."""

from __future__ import annotations

import base64
import hmac
import os
import uuid
from collections import OrderedDict
from hashlib import blake2b
from typing import Annotated, Literal

import jwt
import msgspec

from evanesce.errors import CommandError, ErrorCode
from evanesce.model import Timestamp, timestamp

_ALGORITHM = "HS256"
_AUDIENCE = "evanesce"

TOKEN_CHARACTERS = 4096
"""The longest token that is decoded: a token of this server has about 300 characters."""


MOST_READ = 10_000
"""How many tokens are remembered that were read; those that were not used for the longest time go first."""


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a token: `sub` is the user's id, `sid` the id of the sign-in, which all its refreshed tokens share.

    `auth_time` is the time of that sign-in, `exp` when this token expires, both in seconds since 1970.
    """

    sub: str
    sid: str
    auth_time: int
    exp: Annotated[int, msgspec.Meta(ge=0)]


_HEADER = jwt.encode({}, "0" * 32, algorithm=_ALGORITHM).partition(".")[0]  # of every token that is issued here


class _OwnClaims(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All claims of a token that was issued here."""

    aud: Literal["evanesce"]
    jti: str


_own_claims = msgspec.json.Decoder(_OwnClaims)


class Tokens:
    """Issues tokens that the secret `first` signs, and reads those of all secrets.

    Times are milliseconds since 1970, of the store's clock.
    """

    def __init__(self, first: str, *others: str, token_seconds: float, refresh_seconds: float) -> None:
        self._secrets = (first, *others)
        self._keys = [secret.encode() for secret in self._secrets]
        self._token_seconds = token_seconds
        self._refresh_seconds = refresh_seconds
        self._read_before: OrderedDict[bytes, Claims] = OrderedDict()  # by their digests: no token stays in memory
        self._digest_key = os.urandom(blake2b.MAX_KEY_SIZE)

    def issue(self, user_id: str, now: int, sign_in_id: str | None = None) -> tuple[str, Claims]:
        """Return the first token of a new sign-in, whose id is `sign_in_id` (None: a new one)."""
        return self._sign(user_id, sign_in_id or str(uuid.uuid4()), now // 1000, now)

    def refresh(self, claims: Claims, now: int) -> tuple[str, Claims]:
        """Return another token of the same sign-in. Raises `unauthenticated` when the sign-in is too old."""
        if now / 1000 > claims.auth_time + self._refresh_seconds:
            raise CommandError(ErrorCode.UNAUTHENTICATED, "This sign-in is too old to be extended. Sign in again.")
        return self._sign(claims.sub, claims.sid, claims.auth_time, now)

    def read(self, token: str, now: int) -> Claims:
        """Return the claims of a token. Raises `invalid_token` if it is forged, changed or expired."""
        if len(token) > TOKEN_CHARACTERS:
            raise _invalid("This token is not valid here.")
        claims = self._remembered(token)
        if claims.exp * 1000 <= now:
            raise _invalid("This token has expired.")
        return claims

    def _remembered(self, token: str) -> Claims:
        """Return the claims of a token whose signature is checked now, or was before: clients come back with it."""
        digest = self._digest(token)
        claims = self._read_before.get(digest)
        if claims is None:
            claims = self._read_own(token) or self._read_any(token)
        self._remember(digest, claims)
        return claims

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode(errors="surrogatepass"), digest_size=16, key=self._digest_key).digest()

    def _remember(self, digest: bytes, claims: Claims) -> None:
        self._read_before[digest] = claims
        self._read_before.move_to_end(digest)
        if len(self._read_before) > MOST_READ:
            self._read_before.popitem(last=False)

    def _read_own(self, token: str) -> Claims | None:
        """Return the claims of a token that has the form and the signature of those issued here; else None.

        PyJWT finds the same, but takes many times as long, and all clients come back at once after a restart.
        """
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        if header != _HEADER or not token.isascii():
            return None
        for key in self._keys:
            own = base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).rstrip(b"=")
            if hmac.compare_digest(own, signature.encode()):
                break
        else:
            return None
        try:
            found = _own_claims.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (ValueError, msgspec.MsgspecError):  # another program with the same secret has signed it
            return None
        return Claims(sub=found.sub, sid=found.sid, auth_time=found.auth_time, exp=found.exp)

    def _read_any(self, token: str) -> Claims:
        for secret in self._secrets:
            try:
                fields = jwt.decode(
                    token,
                    secret,
                    algorithms=[_ALGORITHM],
                    audience=_AUDIENCE,
                    # The caller compares the expiry with the store's clock.
                    options={"require": ["exp", "sub", "sid", "auth_time", "aud"], "verify_exp": False},
                )
                return msgspec.convert(fields, Claims)
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, RecursionError):
                break
        raise _invalid("This token is not valid here.")

    def last_use(self, claims: Claims) -> Timestamp:
        """Return the time after which all tokens of this sign-in have expired."""
        last = max(claims.exp, claims.auth_time + self._refresh_seconds + self._token_seconds)
        return timestamp(int(last * 1000))

    def last_use_from(self, now: int) -> Timestamp:
        """Return the time after which all tokens of any sign-in until `now` have expired."""
        return timestamp(now + int((self._refresh_seconds + self._token_seconds) * 1000))

    def _sign(self, user_id: str, sign_in_id: str, auth_time: int, now: int) -> tuple[str, Claims]:
        claims = Claims(sub=user_id, sid=sign_in_id, auth_time=auth_time, exp=int(now / 1000 + self._token_seconds))
        # `jti` makes each token unique, even within the same second.
        fields = msgspec.structs.asdict(claims) | {"aud": _AUDIENCE, "jti": uuid.uuid4().hex}
        token = jwt.encode(fields, self._secrets[0], algorithm=_ALGORITHM)
        self._remember(self._digest(token), claims)  # a client that signs in over HTTP uses it at once
        return token, claims


def _invalid(message: str) -> CommandError:
    return CommandError(ErrorCode.INVALID_TOKEN, f"{message} Sign in again.")
