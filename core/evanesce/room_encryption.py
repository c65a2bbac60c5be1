"""End-to-end encryption of rooms, for clients: the server never has the key, and never imports this module.

`RoomKey` is what the fragment of a deep link carries. `RoomCipher` seals what is sent, and opens what is received, as
*End-to-end encrypted rooms* of the protocol describes. It needs the extra `encryption` (the package `cryptography`).
"""

from __future__ import annotations

import base64
import os
from importlib.util import find_spec

from evanesce.confidential import Confidential
from evanesce.errors import EvanesceError
from evanesce.protocol.ciphertext import LEAST_PADDED_BYTES, NONCE_BYTES, TAG_BYTES, decode_ciphertext

KEY_BYTES = 32
LENGTH_BYTES = 4
"""The size of the length in front of the text, in big-endian order."""

_INFO = b"evanesce room key 1"


class BadKey(EvanesceError):
    """A text is not the key of a room."""

    def __init__(self) -> None:
        super().__init__("this is not the key of a room")


class CannotOpen(EvanesceError):
    """Content cannot be opened: it is not encrypted, was changed or moved, or belongs to another key."""

    def __init__(self) -> None:
        super().__init__("this message cannot be opened")


class EncryptionMissing(EvanesceError):
    """The package that encrypts is not installed."""

    def __init__(self) -> None:
        super().__init__("an encrypted room needs the package cryptography: install evanesce[encryption]")


class RoomKey(Confidential):
    """The key of a room: 32 random bytes, `raw`. `text` is its form in a link: base64url without padding."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise BadKey
        self.raw = raw

    @classmethod
    def generate(cls) -> RoomKey:
        """Return a new random key."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> RoomKey:
        """Return the key that a link carries. Raises `BadKey`."""
        try:
            raw = base64.urlsafe_b64decode(f"{text}=")
        except ValueError:  # also binascii.Error
            raise BadKey from None
        key = cls(raw)
        if key.text != text:  # the decoder skips characters that are not of the alphabet
            raise BadKey
        return key

    @property
    def text(self) -> str:
        """The key as text of 43 characters, for `#k=`."""
        return _encode(self.raw)


class RoomCipher(Confidential):
    """Seals and opens the messages of one room. Raises `EncryptionMissing` where `cryptography` is not installed.

    The ids of the room, the sender and the message are bound to the content, so that a server cannot show it as
    another person's or in another room. They are not signed: whoever has the key could help the server to do so.
    """

    __slots__ = ("_aead", "_room_id")

    def __init__(self, key: RoomKey, room_id: str) -> None:
        try:
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        except ImportError:
            raise EncryptionMissing from None
        self._room_id = room_id
        self._aead = AESGCM(HKDF(hashes.SHA256(), KEY_BYTES, room_id.encode(), _INFO).derive(key.raw))

    def seal(self, text: str, sender_id: str, message_id: str) -> str:
        """Return the content for a message with this text. To repeat a message, repeat what was sealed."""
        nonce = os.urandom(NONCE_BYTES)
        return _encode(nonce + self._aead.encrypt(nonce, _pad(text.encode()), self._ids(sender_id, message_id)))

    def open(self, content: str, sender_id: str, message_id: str) -> str:
        """Return the text of a message with this content. Raises `CannotOpen`."""
        text = self._opened(content, sender_id, message_id)
        if text is None:  # raised here, so that no error with a part of the text is its context
            raise CannotOpen
        return text

    def _opened(self, content: str, sender_id: str, message_id: str) -> str | None:
        from cryptography.exceptions import InvalidTag

        raw = decode_ciphertext(content)
        if raw is None:
            return None
        try:
            padded = self._aead.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], self._ids(sender_id, message_id))
            plain = padded[LENGTH_BYTES:][: int.from_bytes(padded[:LENGTH_BYTES], "big")]
            return plain.decode() if _pad(plain) == padded else None
        except (InvalidTag, UnicodeDecodeError):
            return None

    def _ids(self, sender_id: str, message_id: str) -> bytes:
        return f"{self._room_id}{sender_id}{message_id}".encode()


def is_available() -> bool:
    """Return whether `RoomCipher` can be used: `cryptography` is installed."""
    return find_spec("cryptography") is not None


def longest_text(content_bytes: int) -> int:
    """Return how many bytes of UTF-8 a text may have, so that its content has at most `content_bytes` bytes.

    With the default of 4,096 these are 2,044. 0: no text fits.
    """
    padded = content_bytes * 3 // 4 - NONCE_BYTES - TAG_BYTES
    if padded < LEAST_PADDED_BYTES:
        return 0
    return (1 << (padded.bit_length() - 1)) - LENGTH_BYTES


def _pad(text: bytes) -> bytes:
    whole = LENGTH_BYTES + len(text)
    size = max(LEAST_PADDED_BYTES, 1 << (whole - 1).bit_length())
    return (len(text).to_bytes(LENGTH_BYTES, "big") + text).ljust(size, b"\0")


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
