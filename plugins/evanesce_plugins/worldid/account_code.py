"""The account code: a secret name of an account, which its owner types on another device.

128 random bits in Crockford's base32: digits and upper-case letters without I, L, O and U. 26 digits hold 130 bits, so
the first one is never above 7.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

BITS = 128
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26

_CODE = re.compile(rf"[0-7][{DIGITS}]{{{LENGTH - 1}}}")
# Separators of groups of digits: white space, hyphens, and the dashes by which some phones replace a hyphen.
_SEPARATORS = re.compile(r"[\s\u2010-\u2015\u2212-]+")
# ASCII alone: `str.upper` turns some other letters into ASCII letters.
_READ_AS = str.maketrans("abcdefghijklmnopqrstuvwxyzILO", "ABCDEFGH1JK1MN0PQRSTUVWXYZ110")


def new() -> str:
    """Return a new code."""
    number = secrets.randbits(BITS)
    return "".join(DIGITS[number >> (5 * place) & 31] for place in reversed(range(LENGTH)))


def parse(text: str) -> str:
    """Return the stored form of a code that a user typed. Raises `ValueError`, without the text.

    Lower case becomes upper case, I and L become 1, O becomes 0, and separators of groups of digits are removed.
    """
    code = _SEPARATORS.sub("", text).translate(_READ_AS)
    if not _CODE.fullmatch(code):
        raise ValueError(f"an account code has {LENGTH} digits and letters, without U, and begins with 0 to 7")
    return code


def digest(code: str) -> str:
    """Return the digest of a code, which a challenge stores in place of the code itself."""
    return hashlib.sha256(code.encode()).hexdigest()


def matches(code: str, kept: str) -> bool:
    """Return whether `kept` is the digest of `code`. Compares in constant time."""
    return hmac.compare_digest(digest(code), kept)
