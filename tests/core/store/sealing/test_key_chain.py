"""Keys follow from a state forward in time, the same in every server, and never backward."""

from __future__ import annotations

import os
import random

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from evanesce.store.sealing.checkpoints import STATE_BYTES, Checkpoints
from evanesce.store.sealing.key_chain import BLOCK, CIPHERS, MEMORY_BYTES, STRIDE, KeyChain

NONCE = b"n" * 12
STATE = os.urandom(STATE_BYTES)


def chain(period: int, state: bytes | memoryview = STATE, checkpoints: int = 100) -> KeyChain:
    memory = memoryview(bytearray(MEMORY_BYTES))
    memory[:STATE_BYTES] = state
    return KeyChain(b"chain id", period, memory, states(checkpoints))


def states(count: int) -> Checkpoints:
    return Checkpoints(memoryview(bytearray(count * STATE_BYTES)))


class Counting(KeyChain):
    """A chain that counts how often it computes AES for a key."""

    steps = 0

    def cost(self, period: int) -> int:
        """Return the number of steps to the key of a period."""
        before = self.steps
        assert self.cipher(period) is not None
        return self.steps - before

    def _step(self, key: memoryview) -> None:
        self.steps += 1
        super()._step(key)


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
    st.sampled_from([1, 3, 100]),
)
def test_a_key_is_the_same_whatever_was_asked_for_and_overwritten_before(
    period: int, others: list[int], advances: list[int], checkpoints: int
) -> None:
    contents = {each: sealed(chain(0), each) for each in (period, *others)}
    keys = chain(0, checkpoints=checkpoints)
    for other in others:
        assert opens(keys, other, contents[other])
    for to in advances:
        keys.advance(min(to, period))
        for other in others:
            assert other < keys.period or opens(keys, other, contents[other])
    assert opens(keys, period, contents[period])


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
    keys = KeyChain(b"chain id", 0, memory, states(10))
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
    keys = KeyChain(b"chain id", 0, memory, states(10))
    sealed(keys, 9)
    keys.forget()
    assert bytes(memory) == bytes(MEMORY_BYTES)


def test_a_key_near_one_that_was_derived_before_costs_few_steps() -> None:
    blocks, chosen = 40, random.Random(1)
    memory = memoryview(bytearray(MEMORY_BYTES))
    memory[:STATE_BYTES] = STATE
    keys = Counting(b"chain id", 0, memory, states(blocks * BLOCK // STRIDE))
    last = blocks * BLOCK - 1
    assert keys.cost(last) <= blocks + BLOCK
    assert all(keys.cost(chosen.randrange(last)) <= BLOCK for _ in range(CIPHERS)), "the start of each block is known"
    for block in range(blocks):
        keys.cost((block + 1) * BLOCK - 1)
    for now in (0, 100, BLOCK, 3 * BLOCK + STRIDE + 1):
        keys.advance(now)
        assert all(keys.cost(chosen.randrange(now, last)) <= STRIDE for _ in range(2 * CIPHERS))


def test_chains_that_have_too_few_checkpoints_share_them() -> None:
    blocks, chosen = 20, random.Random(1)
    enough = blocks * BLOCK // STRIDE
    shared = states(enough)
    chains = [
        Counting(name, 0, memoryview(bytearray(os.urandom(MEMORY_BYTES))), shared) for name in (b"a chain", b"another")
    ]
    costs = [keys.cost(chosen.randrange(blocks * BLOCK)) for _ in range(1_000) for keys in chains]
    assert max(costs) <= blocks + BLOCK
    assert sum(costs[1_000:]) / 1_000 <= 1.5 * STRIDE, "on average little more than with enough"
    assert len(shared) == enough


@pytest.mark.parametrize("now", [1, STRIDE - 1, STRIDE, STRIDE + 1, BLOCK, BLOCK + STRIDE + 1, 3 * BLOCK, 5 * BLOCK])
def test_no_checkpoint_is_left_from_which_a_key_that_is_over_follows(now: int) -> None:
    end = 4 * BLOCK
    earlier: list[bytes] = []
    reference = chain(0)
    for period in range(0, now, STRIDE):
        reference.advance(period)
        earlier.append(bytes(reference.export()[:32]))
    memory = memoryview(bytearray(100 * STATE_BYTES))
    own = memoryview(bytearray(MEMORY_BYTES))
    own[:STATE_BYTES] = STATE
    checkpoints = Checkpoints(memory)
    keys = KeyChain(b"chain id", 0, own, checkpoints)
    for period in (end, *range(BLOCK - 1, end, BLOCK)):
        keys.cipher(period)
    assert all(state in bytes(own) + bytes(memory) for state in earlier[: end // STRIDE + 1])
    assert len(checkpoints) == end // STRIDE
    for period in (now // 2, now):
        keys.advance(period)
    assert not any(state in bytes(own) + bytes(memory) for state in earlier)
    remaining = [period for period in range(STRIDE, end + 1, STRIDE) if period >= now]
    assert len(checkpoints) == len(remaining)
    assert sum(map(bool, bytes(memory))) <= len(remaining) * STATE_BYTES
    keys.forget()
    assert not any(memory)


def test_to_forget_one_chain_leaves_the_checkpoints_of_others() -> None:
    shared = states(100)
    chains = [
        KeyChain(name, 5, memoryview(bytearray(os.urandom(MEMORY_BYTES))), shared) for name in (b"a chain", b"another")
    ]
    for keys in chains:
        keys.cipher(3 * STRIDE)
    assert len(shared) == 6
    chains[0].forget()
    assert len(shared) == 3
    assert shared.get(b"another", 3 * STRIDE) is not None
