"""The identification of persons in bans.

A ban has to hold for a person who erases the account and signs in again, and must not keep who that was. So it names a
person by a keyed hash of what the identity provider calls them. The key is derived from `server.ban_secret`, or from
`server.secret` where that is not set. Another key ends all bans, because nobody can be named anew from a hash. So this
key stays when the secret that signs tokens is replaced.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

_LABEL = b"evanesce subjects of bans 1"


class Subjects:
    """Names persons by the key that is derived from `secret`."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), _LABEL, sha256)

    def of(self, world_id: str) -> str:
        """Return the subject of the person with this `User.world_id`: 32 hexadecimal digits."""
        return hmac.digest(self._key, world_id.encode(), sha256)[:16].hex()
