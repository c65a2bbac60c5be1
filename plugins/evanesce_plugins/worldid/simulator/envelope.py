"""What page and phone send each other through the bridge: JSON under AES-256-GCM, of which the bridge has no key."""

from __future__ import annotations

import binascii
import secrets
from base64 import b64decode, b64encode

import msgspec
from Crypto.Cipher import AES

KEY_BYTES = 32
_IV_BYTES = 12
_TAG_BYTES = 16


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed message; both parts are base64, and the tag stands at the payload's end."""

    iv: str
    payload: str


def seal(key: bytes, message: bytes) -> Envelope:
    """Seal `message` under a new random IV."""
    iv = secrets.token_bytes(_IV_BYTES)
    sealed, tag = AES.new(key, AES.MODE_GCM, nonce=iv).encrypt_and_digest(message)
    return Envelope(iv=b64encode(iv).decode(), payload=b64encode(sealed + tag).decode())


def unseal(key: bytes, envelope: Envelope) -> bytes:
    """Open an envelope. Raises `ValueError` where it is malformed, or sealed by another key."""
    iv, payload = read_base64(envelope.iv), read_base64(envelope.payload)
    if len(iv) != _IV_BYTES or len(payload) < _TAG_BYTES:
        raise ValueError("an envelope has 12 bytes of IV, and at least the tag")
    return AES.new(key, AES.MODE_GCM, nonce=iv).decrypt_and_verify(payload[:-_TAG_BYTES], payload[-_TAG_BYTES:])


def read_base64(text: str) -> bytes:
    """Read base64 with its padding. Raises `ValueError`."""
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("this is no base64") from None
