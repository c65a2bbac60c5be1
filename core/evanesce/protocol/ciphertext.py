"""The form of the content in end-to-end encrypted rooms, which the server checks without being able to open it.

It is base64url text of a nonce of 12 bytes, and of a text padded to 256, 512, 1,024, … bytes with a tag of 16 bytes.
"""

from __future__ import annotations

import base64
import binascii

NONCE_BYTES = 12
TAG_BYTES = 16
LEAST_PADDED_BYTES = 256
"""The size of the shortest padded text; each further size is twice the one before."""

_STANDARD_ALPHABET = frozenset("+/")


def is_ciphertext(content: str) -> bool:
    """Return whether `content` has the form of encrypted content."""
    return decode_ciphertext(content) is not None


def decode_ciphertext(content: str) -> bytes | None:
    """Return the nonce, the encrypted text and the tag; None where `content` has not the form of encrypted content.

    The padding of base64url may be there or not. Bits behind the last byte have to be 0: each value has one form.
    """
    text = content.rstrip("=")
    missing = -len(text) % 4
    if len(content) - len(text) not in (0, missing) or not _STANDARD_ALPHABET.isdisjoint(text):
        return None
    try:
        raw = base64.b64decode(text + "=" * missing, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None
    padded = len(raw) - NONCE_BYTES - TAG_BYTES
    if padded < LEAST_PADDED_BYTES or padded.bit_count() != 1:
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == text.encode() else None
