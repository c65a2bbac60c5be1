"""Account codes and recovery codes: random, of Crockford's base32, which has no letters that look like digits.

An account code names an account and is the user handle in its passkeys: 80 random bits, derived from nothing. A
recovery code is an account code and a secret of 80 more random bits. Of the secret only a keyed hash is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

ACCOUNT_CHARACTERS = 16
SECRET_CHARACTERS = 16

LONGEST_INPUT = 128
"""The longest recovery code as a person types it, with separators."""

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ACCOUNT = re.compile(rf"[{_DIGITS}]{{{ACCOUNT_CHARACTERS}}}")
_WHOLE = re.compile(rf"[{_DIGITS}]{{{ACCOUNT_CHARACTERS + SECRET_CHARACTERS}}}")
_SEPARATORS = re.compile(r"[\s\u2010-\u2015\u2212-]+")
_READ_AS = str.maketrans("ILO", "110")
_GROUP = 4


def new_account_code() -> str:
    """Return a new account code."""
    return _random(ACCOUNT_CHARACTERS)


def new_secret() -> str:
    """Return the secret part of a new recovery code."""
    return _random(SECRET_CHARACTERS)


def new_key() -> str:
    """Return a new key for the hashes of an account's recovery codes."""
    return secrets.token_hex(16)


def is_account_code(text: str) -> bool:
    """Return whether a text has the form of an account code."""
    return _ACCOUNT.fullmatch(text) is not None


def written(account_code: str, secret: str) -> str:
    """Return a recovery code as people read it, in groups of four."""
    whole = account_code + secret
    return "-".join(whole[start : start + _GROUP] for start in range(0, len(whole), _GROUP))


def parse(text: str) -> tuple[str, str]:
    """Return the account code and the secret of a recovery code, in any case and grouping. Raises `ValueError`."""
    code = _SEPARATORS.sub("", text).upper().translate(_READ_AS)
    if not _WHOLE.fullmatch(code):
        raise ValueError("a recovery code has 32 letters and digits")
    return code[:ACCOUNT_CHARACTERS], code[ACCOUNT_CHARACTERS:]


def hashed(secret: str, key: str) -> str:
    """Return what is stored of the secret of a recovery code.

    Nobody can try out 80 random bits, so that a fast hash is enough.
    """
    return hashlib.blake2b(secret.encode(), key=bytes.fromhex(key), digest_size=24).hexdigest()


def matches(secret: str, key: str, stored: str) -> bool:
    """Return whether a secret is the one of which a hash is stored, in the same time for every secret."""
    return hmac.compare_digest(hashed(secret, key), stored)


def _random(characters: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(characters))
