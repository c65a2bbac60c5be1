"""The form of encrypted content: what the server takes, and what it refuses without being able to open it."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.protocol.ciphertext import LEAST_PADDED_BYTES, NONCE_BYTES, TAG_BYTES, decode_ciphertext, is_ciphertext

OVERHEAD = NONCE_BYTES + TAG_BYTES
WHOLE = bytes(range(OVERHEAD)) + b"\xfb\xff" * (LEAST_PADDED_BYTES // 2)


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def bare(raw: bytes) -> str:
    return encode(raw).rstrip("=")


@pytest.mark.parametrize("size", [LEAST_PADDED_BYTES << step for step in range(8)])
def test_each_size_is_taken_with_and_without_padding_of_base64(size: int) -> None:
    raw = os.urandom(OVERHEAD + size)
    for content in (encode(raw), bare(raw)):
        assert is_ciphertext(content)
        assert decode_ciphertext(content) == raw


def test_the_content_of_the_wrong_shapes_is_otherwise_right() -> None:
    assert decode_ciphertext(bare(WHOLE)) == WHOLE
    assert {"-", "_"} <= set(bare(WHOLE)), "both characters in which the alphabets differ"


WRONG = {
    "nothing": "",
    "plain text": "hello",
    "as many letters": "hello world " * 32,
    "padding of base64 alone": "=" * 380,
    "spaces": " " * 379,
    "no text": bare(WHOLE[:OVERHEAD]),
    "a byte too few": bare(WHOLE[:-1]),
    "a byte too many": bare(WHOLE + b"\0"),
    "a text that was not padded": bare(WHOLE[: OVERHEAD + 100]),
    "a power of two that is too small": bare(WHOLE[: OVERHEAD + 128]),
    "a multiple of 256 that is no power of two": bare(WHOLE + WHOLE[OVERHEAD:] * 2),
    "a whole size that is a power of two": bare(WHOLE[:LEAST_PADDED_BYTES]),
    "the other alphabet": base64.b64encode(WHOLE).decode(),
    "one character of the other alphabet": bare(WHOLE).replace("-", "+", 1),
    "another character of the other alphabet": bare(WHOLE).replace("_", "/", 1),
    "hexadecimal": WHOLE.hex(),
    "too much padding of base64": bare(WHOLE) + "==",
    "endless padding of base64": bare(WHOLE) + "=" * 4,
    "padding of base64 in the middle": bare(WHOLE)[:100] + "=" + bare(WHOLE)[101:],
    "padding of base64 in front": "=" + bare(WHOLE),
    "a line end behind it": bare(WHOLE) + "\n",
    "a line end within": bare(WHOLE)[:76] + "\n" + bare(WHOLE)[76:],
    "a space in front": " " + bare(WHOLE),
    "a null character": bare(WHOLE)[:-1] + "\0",
    "bits behind the last byte": bare(WHOLE)[:-1] + chr(ord(bare(WHOLE)[-1]) + 1),
    "a letter that is not ASCII": "é" + bare(WHOLE)[1:],
    "a digit of another script": "\u0661" + bare(WHOLE)[1:],
    "a wide letter": "\uff21" + bare(WHOLE)[1:],
    "half a character": "\ud800" + bare(WHOLE)[1:],
    "a dot": "." + bare(WHOLE)[1:],
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_wrong_shapes_are_refused(content: str) -> None:
    assert not is_ciphertext(content)
    assert decode_ciphertext(content) is None


@given(st.text())
def test_what_people_write_is_refused(content: str) -> None:
    assert not is_ciphertext(content)


@given(st.integers(0, 5000))
def test_the_size_alone_decides_about_bytes(size: int) -> None:
    padded = size - OVERHEAD
    right = padded >= LEAST_PADDED_BYTES and padded & (padded - 1) == 0
    assert is_ciphertext(bare(bytes(size))) is right
