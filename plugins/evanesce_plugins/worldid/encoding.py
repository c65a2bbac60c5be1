"""The numbers and hashes of World ID: Keccak-256, field elements, the hash of a signal, nullifiers."""

from __future__ import annotations

import re

from Crypto.Hash import keccak

FIELD = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
"""The modulus of the field of World ID's proofs: every number in them is below it."""

# `int` would accept signs, spaces, underscores and digits of other scripts as well.
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,64}")
_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})+")


def keccak256(data: bytes) -> bytes:
    """Return the Keccak-256 of `data`. It differs from SHA3-256 in its padding."""
    return keccak.new(data=data, digest_bits=256).digest()


def hash_to_field(data: bytes) -> bytes:
    """Return a number of the field for `data`, as 32 bytes: the hash without its last byte."""
    return b"\0" + keccak256(data)[:31]


def signal_hash(signal: str) -> str:
    """Return the hash of a signal as `0x` and 64 digits.

    A signal of whole bytes in hexadecimal (`0x68656c6c6f`) stands for these bytes, any other for its UTF-8.
    """
    data = bytes.fromhex(signal[2:]) if _BYTES.fullmatch(signal) else signal.encode()
    return f"0x{hash_to_field(data).hex()}"


def number(text: str) -> int:
    """Parse a number of the field, in any of the forms that World writes: `0xabc`, `0x0ABC`.

    Raises `ValueError` for anything else, and for a number that is not below `FIELD`.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError("this is no number as World ID writes them: 0x and up to 64 hexadecimal digits")
    value = int(text[2:], 16)
    if value >= FIELD:
        raise ValueError("this number is too large for World ID's field")
    return value


def nullifier(text: str) -> str:
    """Parse a nullifier, and return its stored form: 64 hexadecimal digits, lower case.

    Raises `ValueError` for an invalid number, and for 0, which no user has.
    """
    value = number(text)
    if value == 0:
        raise ValueError("a nullifier is never 0")
    return f"{value:064x}"
