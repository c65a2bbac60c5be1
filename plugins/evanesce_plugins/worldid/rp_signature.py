"""The RP signature, which shows World App that a request for a proof comes from the relying party (RP) of the app."""

from __future__ import annotations

import re
import secrets

import msgspec
from coincurve import PrivateKey, PublicKey

from evanesce_plugins.worldid.encoding import hash_to_field, keccak256, number

_KEY = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_SIGNATURE = re.compile(r"0x([0-9a-fA-F]{128})(1[bcBC])")
_VERSION = b"\x01"
_FIRST_V = 27  # Ethereum writes 27 and 28 for the recovery ids 0 and 1


class RpContext(msgspec.Struct, frozen=True, kw_only=True):
    """IDKit's input `rp_context`. Times are in seconds since 1970; `nonce` and `signature` are `0x` and digits."""

    rp_id: str
    nonce: str
    created_at: int
    expires_at: int
    signature: str


class Signer:
    """Signs requests with the RP's key: 64 hexadecimal digits, after `0x` or not.

    Raises `ValueError` for a text that is no such key; neither the error nor `repr` shows the key.
    """

    def __init__(self, key: str) -> None:
        digits = _KEY.fullmatch(key)
        if digits is None:
            raise ValueError("a signing key is 64 hexadecimal digits, after 0x or not")
        try:
            self._key = PrivateKey(bytes.fromhex(digits[1]))
        except ValueError:
            raise ValueError("this number is no key of secp256k1: it is 0, or too large") from None
        self.address = _address(self._key.public_key)
        """The address by which the key is registered with World: `0x` and 40 digits, lower case."""

    def __repr__(self) -> str:
        return f"<Signer {self.address}>"

    def context(
        self, rp_id: str, *, now: int, seconds: int, action: str | None, random: bytes | None = None
    ) -> RpContext:
        """Return a signed request that is valid for `seconds` from `now`: for one action, or (None) for a session.

        The nonce is derived from `random`, 32 unpredictable bytes, which are generated where it is None.
        """
        nonce = hash_to_field(secrets.token_bytes(32) if random is None else random)
        digest = _digest(nonce, now, now + seconds, action)
        # pyright does not know the type of its argument for the nonce function, a C object.
        signature = self._key.sign_recoverable(digest, hasher=None)  # pyright: ignore[reportUnknownMemberType]
        return RpContext(
            rp_id=rp_id,
            nonce=f"0x{nonce.hex()}",
            created_at=now,
            expires_at=now + seconds,
            signature=f"0x{signature[:64].hex()}{_FIRST_V + signature[64]:02x}",
        )


def recover(context: RpContext, action: str | None) -> str:
    """Return the address of the key that signed `context`, for `action`, or (None) for a session.

    Raises `ValueError` where the context is malformed, or its signature is invalid.
    """
    parts = _SIGNATURE.fullmatch(context.signature)
    if parts is None:
        raise ValueError("this is no signature: 0x and 130 hexadecimal digits, of which the last are 1b or 1c")
    if not (0 <= context.created_at < 2**64 and 0 <= context.expires_at < 2**64):
        raise ValueError("a time is out of range")
    digest = _digest(number(context.nonce).to_bytes(32, "big"), context.created_at, context.expires_at, action)
    signature = bytes.fromhex(parts[1]) + bytes([int(parts[2], 16) - _FIRST_V])
    try:
        return _address(PublicKey.from_signature_and_message(signature, digest, hasher=None))
    except ValueError:
        raise ValueError("this signature is invalid") from None


def _digest(nonce: bytes, created_at: int, expires_at: int, action: str | None) -> bytes:
    message = _VERSION + nonce + created_at.to_bytes(8, "big") + expires_at.to_bytes(8, "big")
    if action is not None:
        message += hash_to_field(action.encode())
    return keccak256(b"\x19Ethereum Signed Message:\n%d%b" % (len(message), message))  # ERC-191, version 0x45


def _address(key: PublicKey) -> str:
    return f"0x{keccak256(key.format(compressed=False)[1:])[-20:].hex()}"
