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


def is_ciphertext(content: str) -> bool:
    """Return whether `content` has the form of encrypted content. Padding of base64 may be there or not."""
    text = content.rstrip("=")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False
    if len(content) - len(text) not in (0, -len(text) % 4) or "+" in text or "/" in text:
        return False
    padded = len(raw) - NONCE_BYTES - TAG_BYTES
    return padded >= LEAST_PADDED_BYTES and padded.bit_count() == 1
