"""Keys follow from a state forward in time, the same in every server, and never backward."""

from __future__ import annotations

import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from evanesce.store.sealing.key_chain import BLOCK, CIPHERS, MEMORY_BYTES, STATE_BYTES, KeyChain

NONCE = b"n" * 12
STATE = os.urandom(STATE_BYTES)


def chain(period: int, state: bytes | memoryview = STATE) -> KeyChain:
    memory = memoryview(bytearray(MEMORY_BYTES))
    memory[:STATE_BYTES] = state
    return KeyChain(b"chain id", period, memory)


def sealed(keys: KeyChain, period: int) -> bytes:
    cipher = keys.cipher(period)
    assert cipher is not None
    return cipher.encrypt(NONCE, b"hello", None)


def opens(keys: KeyChain, period: int, content: bytes) -> bool:
    cipher = keys.cipher(period)
    return cipher is not None and cipher.decrypt(NONCE, content, None) == b"hello"


@given(
    st.integers(0, 3 * BLOCK),
    st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=8),
    st.lists(st.integers(0, 3 * BLOCK), max_size=4),
)
def test_a_key_is_the_same_whatever_was_asked_for_and_overwritten_before(
    period: int, others: list[int], advances: list[int]
) -> None:
    content = sealed(chain(0), period)
    keys = chain(0)
    for other in others:
        keys.cipher(other)
    for to in advances:
        keys.advance(min(to, period))
    assert opens(keys, period, content)


def test_every_period_has_a_key_of_its_own() -> None:
    keys = chain(0)
    contents = {sealed(keys, period) for period in range(2 * BLOCK + 2)}
    assert len(contents) == 2 * BLOCK + 2
    with pytest.raises(InvalidTag):
        AESGCM(bytes(32)).decrypt(NONCE, sealed(keys, 1), None)


@pytest.mark.parametrize("now", [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 3])
def test_what_is_over_has_no_key_and_no_trace_in_memory(now: int) -> None:
    memory = memoryview(bytearray(MEMORY_BYTES))
    memory[:STATE_BYTES] = STATE
    keys = KeyChain(b"chain id", 0, memory)
    sealed(keys, now - 1)
    sealed(keys, now + 1)
    before = bytes(memory[:STATE_BYTES])
    keys.advance(now)
    assert keys.cipher(now - 1) is None
    assert keys.period == now
    assert before[:32] not in bytes(memory)
    assert not any(memory[2 * STATE_BYTES :]), "nor is a key of a period left that was computed on the way"
    later = chain(now, keys.export())  # what anyone who takes the state now can compute
    assert later.cipher(now - 1) is None
    assert sealed(later, now) == sealed(keys, now)


def test_a_state_that_was_taken_back_to_an_earlier_period_gives_other_keys() -> None:
    keys = chain(0)
    content = sealed(keys, 3)
    keys.advance(5)
    forged = chain(3, keys.export())
    cipher = forged.cipher(3)
    assert cipher is not None
    with pytest.raises(InvalidTag):
        cipher.decrypt(NONCE, content, None)


def test_few_ciphers_are_kept_and_the_others_are_derived_again() -> None:
    keys = chain(0)
    contents = [sealed(keys, period) for period in range(CIPHERS + 10)]
    assert all(opens(keys, period, contents[period]) for period in (0, 5, CIPHERS + 9))


def test_what_was_forgotten_is_overwritten() -> None:
    memory = memoryview(bytearray(MEMORY_BYTES))
    memory[:STATE_BYTES] = STATE
    keys = KeyChain(b"chain id", 0, memory)
    sealed(keys, 9)
    keys.forget()
    assert bytes(memory) == bytes(MEMORY_BYTES)
