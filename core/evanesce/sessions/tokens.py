"""Session tokens: signed, short-lived, renewable for a while after the sign-in (JWT, RFC 7519, HS256)."""

from __future__ import annotations

import uuid
from typing import Annotated

import jwt
import msgspec

from evanesce.errors import CommandError, ErrorCode
from evanesce.model import Timestamp, timestamp

_ALGORITHM = "HS256"
_AUDIENCE = "evanesce"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: `sub` is the user's id, `sid` names the sign-in that all its refreshed tokens share.

    `auth_time` is when that sign-in was, `exp` when this token runs out, both in seconds since 1970.
    """

    sub: str
    sid: str
    auth_time: int
    exp: Annotated[int, msgspec.Meta(ge=0)]


class Tokens:
    """Makes and reads tokens. Times are milliseconds since 1970, of the store's clock."""

    def __init__(self, secret: str, *, token_seconds: float, refresh_seconds: float) -> None:
        self._secret = secret
        self._token_seconds = token_seconds
        self._refresh_seconds = refresh_seconds

    def issue(self, user_id: str, now: int) -> tuple[str, Claims]:
        """Make the first token of a new sign-in."""
        return self._sign(user_id, str(uuid.uuid4()), now // 1000, now)

    def refresh(self, claims: Claims, now: int) -> tuple[str, Claims]:
        """Make another token of the same sign-in. Raises `CommandError` `unauthenticated` when that is too long ago."""
        if now / 1000 > claims.auth_time + self._refresh_seconds:
            raise CommandError(ErrorCode.UNAUTHENTICATED, "The sign-in is too long ago to be extended. Sign in again.")
        return self._sign(claims.sub, claims.sid, claims.auth_time, now)

    def read(self, token: str, now: int) -> Claims:
        """Read a token. Raises `CommandError` `invalid_token` for one that is not ours, was changed, or has run out."""
        try:
            fields = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                # The one clock of a token is the store's, so its expiry is looked at here.
                options={"require": ["exp", "sub", "sid", "auth_time", "aud"], "verify_exp": False},
            )
            claims = msgspec.convert(fields, Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError):
            raise _invalid("This token is not valid here.") from None
        if claims.exp * 1000 <= now:
            raise _invalid("This token has run out.")
        return claims

    def last_use(self, claims: Claims) -> Timestamp:
        """Give the time after which no token of this sign-in lives any more."""
        last = max(claims.exp, claims.auth_time + self._refresh_seconds + self._token_seconds)
        return timestamp(int(last * 1000))

    def _sign(self, user_id: str, sign_in_id: str, auth_time: int, now: int) -> tuple[str, Claims]:
        claims = Claims(sub=user_id, sid=sign_in_id, auth_time=auth_time, exp=int(now / 1000 + self._token_seconds))
        # `jti` makes each token another one, also two of the same second.
        fields = msgspec.structs.asdict(claims) | {"aud": _AUDIENCE, "jti": uuid.uuid4().hex}
        token = jwt.encode(fields, self._secret, algorithm=_ALGORITHM)
        return token, claims


def _invalid(message: str) -> CommandError:
    return CommandError(ErrorCode.INVALID_TOKEN, f"{message} Sign in again.")
