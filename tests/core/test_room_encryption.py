"""End-to-end encryption of rooms, by its vectors, for any text, and against what a server or a stranger may change."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.protocol.ciphertext import decode_ciphertext, is_ciphertext
from evanesce.room_encryption import (
    KEY_BYTES,
    BadKey,
    CannotOpen,
    EncryptionMissing,
    RoomCipher,
    RoomKey,
    longest_text,
)

Vector = dict[str, str]

VECTORS: list[Vector] = json.loads((Path(__file__).parents[1] / "data/room_encryption.json").read_text())
ROOM, SENDER, MESSAGE = (f"00000000-0000-4000-8000-00000000000{number}" for number in range(3))
CONTENT_BYTES = 4096

KEY = RoomKey(bytes(range(KEY_BYTES)))
CIPHER = RoomCipher(KEY, ROOM)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def by_size(vector: Vector) -> str:
    return f"{len(vector['text'].encode())} bytes"


@pytest.mark.parametrize("vector", VECTORS, ids=by_size)
def test_the_vectors(vector: Vector, monkeypatch: pytest.MonkeyPatch) -> None:
    cipher = RoomCipher(RoomKey.parse(vector["key"]), vector["roomId"])
    assert cipher.open(vector["content"], vector["senderId"], vector["messageId"]) == vector["text"]
    monkeypatch.setattr(os, "urandom", lambda size: bytes.fromhex(vector["nonce"])[:size])
    assert cipher.seal(vector["text"], vector["senderId"], vector["messageId"]) == vector["content"]


def test_the_page_shows_the_first_vector() -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/encrypted-rooms.md").read_text("utf-8")
    assert json.loads(page.split("```json\n")[1].split("```")[0]) == VECTORS[0]


@given(TEXTS)
def test_what_is_sealed_has_the_form_that_the_server_checks_and_can_be_opened(text: str) -> None:
    content = CIPHER.seal(text, SENDER, MESSAGE)
    assert is_ciphertext(content)
    assert CIPHER.open(content, SENDER, MESSAGE) == text


@pytest.mark.parametrize("content_bytes", [379, 380, 719, 720, 4096, 4097, 16_384, 65_536])
def test_the_longest_text_fits_and_a_longer_one_does_not(content_bytes: int) -> None:
    longest = longest_text(content_bytes)
    content = CIPHER.seal("x" * longest, SENDER, MESSAGE)
    assert len(content) <= content_bytes
    assert is_ciphertext(content)
    assert len(CIPHER.seal("x" * (longest + 1), SENDER, MESSAGE)) > content_bytes


@given(st.integers(1, 100_000))
def test_the_longest_text_is_never_too_long(content_bytes: int) -> None:
    longest = longest_text(content_bytes)
    assert longest >= 0
    assert (longest == 0) is (content_bytes < 379)
    if longest:
        assert len(CIPHER.seal("x" * longest, SENDER, MESSAGE)) <= content_bytes


def test_the_longest_text_of_the_default() -> None:
    assert longest_text(CONTENT_BYTES) == 2044


def test_the_size_tells_only_the_next_power_of_two() -> None:
    sizes = [len(CIPHER.seal("x" * length, SENDER, MESSAGE)) for length in range(longest_text(CONTENT_BYTES) + 1)]
    assert len(set(sizes)) == 4
    assert sizes == sorted(sizes)
    assert sizes[252] < sizes[253]


def test_no_two_sealed_texts_are_alike() -> None:
    assert len({CIPHER.seal("hello", SENDER, MESSAGE)[:16] for _ in range(1000)}) == 1000


CONTENT = CIPHER.seal("hello", SENDER, MESSAGE)
OTHER = "00000000-0000-4000-8000-00000000000f"


@pytest.mark.parametrize(
    ("cipher", "sender_id", "message_id"),
    [
        (RoomCipher(RoomKey(bytes(KEY_BYTES)), ROOM), SENDER, MESSAGE),
        (RoomCipher(KEY, OTHER), SENDER, MESSAGE),
        (CIPHER, OTHER, MESSAGE),
        (CIPHER, SENDER, OTHER),
        (CIPHER, MESSAGE, SENDER),
        (CIPHER, SENDER.upper(), MESSAGE.replace("-", "")),
    ],
    ids=["another key", "another room", "another sender", "another message", "exchanged", "written otherwise"],
)
def test_content_of_something_else_cannot_be_opened(cipher: RoomCipher, sender_id: str, message_id: str) -> None:
    with pytest.raises(CannotOpen):
        cipher.open(CONTENT, sender_id, message_id)


def test_no_bit_can_be_changed() -> None:
    raw = decode_ciphertext(CONTENT)
    assert raw is not None
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        with pytest.raises(CannotOpen):
            CIPHER.open(base64.urlsafe_b64encode(changed).decode(), SENDER, MESSAGE)


@pytest.mark.parametrize(
    "content", ["", "hello", CONTENT[:-1], CONTENT[1:], CONTENT * 2, "A" * len(CONTENT), "é" * 379]
)
def test_what_is_not_encrypted_cannot_be_opened(content: str) -> None:
    with pytest.raises(CannotOpen):
        CIPHER.open(content, SENDER, MESSAGE)


PADDED = {
    "a length beyond the end": (253).to_bytes(4, "big") + b"x" * 252,
    "a length of 4 GiB": b"\xff" * 4 + b"x" * 252,
    "something behind the text": (1).to_bytes(4, "big") + b"xy" + bytes(250),
    "more padding than needed": (1).to_bytes(4, "big") + b"x" + bytes(507),
    "not UTF-8": (1).to_bytes(4, "big") + b"\xff" + bytes(251),
}


@pytest.mark.parametrize("padded", PADDED.values(), ids=PADDED)
def test_who_has_the_key_cannot_send_a_wrong_padding(padded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce.room_encryption._pad", lambda text: padded)
    content = CIPHER.seal("", SENDER, MESSAGE)
    monkeypatch.undo()
    assert is_ciphertext(content)
    with pytest.raises(CannotOpen) as caught:
        CIPHER.open(content, SENDER, MESSAGE)
    assert caught.value.__context__ is None, "it could hold a part of the text"


def test_a_key_is_random_and_is_read_as_it_is_written() -> None:
    keys = [RoomKey.generate() for _ in range(100)]
    assert len({key.raw for key in keys}) == 100
    for key in keys:
        assert len(key.text) == 43
        assert RoomKey.parse(key.text).raw == key.raw


@pytest.mark.parametrize(
    "text",
    ["", "x", KEY.text[:-1], KEY.text + "A", KEY.text + "=", KEY.text[:-1] + "9", " " + KEY.text, KEY.text + "\n",
     KEY.text[:20] + "!" + KEY.text[20:], "+" * 43, "é" * 43, "A" * 42 + "é", "A" * 100_000],
)  # fmt: skip
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(BadKey) as caught:
        RoomKey.parse(text)
    assert str(caught.value) == "this is not the key of a room"


@pytest.mark.parametrize("secret", [KEY, CIPHER], ids=["key", "cipher"])
def test_keys_are_not_shown_or_stored(secret: RoomKey | RoomCipher) -> None:
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert KEY.text not in shown
        assert "\\x01" not in shown
    with pytest.raises(TypeError, match="confidential"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="confidential"):
        copy.deepcopy(secret)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(EncryptionMissing, match=r"install evanesce\[encryption\]"):
        RoomCipher(KEY, ROOM)
