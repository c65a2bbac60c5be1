"""Sealed messages: only the key opens them, and only as they were sealed."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce_plugins.worldid.simulator.envelope import Envelope, seal, unseal

KEY = bytes(range(32))


def test_a_published_vector_opens() -> None:
    # NIST's GCM example 14 (AES-256, an IV of 12 zero bytes, one block of zeros, no further data).
    payload = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919")
    envelope = Envelope(iv=b64encode(bytes(12)).decode(), payload=b64encode(payload).decode())
    assert unseal(bytes(32), envelope) == bytes(16)


@given(st.binary(max_size=300))
def test_what_is_sealed_is_opened(message: bytes) -> None:
    envelope = seal(KEY, message)
    assert unseal(KEY, envelope) == message
    assert envelope.iv != seal(KEY, message).iv
    assert len(b64decode(envelope.payload)) == len(message) + 16


@given(st.integers(min_value=0))
def test_a_changed_message_does_not_open(position: int) -> None:
    envelope = seal(KEY, b"a message")
    payload = bytearray(b64decode(envelope.payload))
    payload[position % len(payload)] ^= 1
    with pytest.raises(ValueError, match="MAC"):
        unseal(KEY, Envelope(iv=envelope.iv, payload=b64encode(payload).decode()))


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope(iv="", payload=""),
        Envelope(iv="AAAA", payload="AAAAAAAAAAAAAAAAAAAAAA=="),
        Envelope(iv="AAAAAAAAAAAAAAAA", payload="AAAA"),
        Envelope(iv="?", payload="AAAAAAAAAAAAAAAAAAAAAA=="),
        Envelope(iv="AAAAAAAAAAAAAAAA", payload="é"),
        Envelope(iv="AAAAAAAAAAAAAAAA", payload="AAAAAAAAAAAAAAAAAAAAAA=="),
    ],
)
def test_what_is_no_envelope_does_not_open(envelope: Envelope) -> None:
    with pytest.raises(ValueError, match=r"base64|envelope|MAC|ASCII"):
        unseal(KEY, envelope)
