"""A chain of keys, one for each period of time: from its state follow all later keys, but no earlier one."""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evanesce.store.sealing.checkpoints import STATE_BYTES, Checkpoints
from evanesce.store.sealing.locked_memory import wipe

MEMORY_BYTES = 4 * STATE_BYTES + 16
"""The memory of a chain: three states, and what AES writes (16 bytes more than it returns)."""

BLOCK = 256
"""How many periods have their keys from one outer key. So a key that is far ahead costs few steps."""

STRIDE = 64
"""At each how many periods the state is remembered. So a key near one that was derived before costs few steps."""

CIPHERS = 512
"""How many keys are kept ready for use; others are derived again."""

_ZEROS_AND_COUNTS = b"".join(number.to_bytes(16, "big") for number in range(4))


class KeyChain:
    """The keys of all periods from `period` on. `memory` has `MEMORY_BYTES`, and begins with the state.

    States of later periods that it passes are remembered in `checkpoints`, where chains may share them.

    A state is an inner and an outer key. AES-256 with the inner key makes of four fixed blocks the key of the period
    and the inner key of the next one; with the outer key, at the end of a block of periods, the inner key and the outer
    key of the next block. That is the "fast key erasure" of random number generators: a state that was overwritten
    cannot be computed from a later one.
    """

    def __init__(self, chain_id: bytes, period: int, memory: memoryview, checkpoints: Checkpoints) -> None:
        self.chain_id = chain_id
        self._checkpoints = checkpoints
        self._memory = memory
        self._state = memory[:STATE_BYTES]
        self._front = memory[STATE_BYTES : 2 * STATE_BYTES]  # the state of the latest period that was asked for
        self._work = memory[2 * STATE_BYTES : 3 * STATE_BYTES]
        self._output = memory[3 * STATE_BYTES :]
        self.period = period
        """The first period that has a key."""
        self._front_period = period
        self._front[:] = self._state
        self._ciphers: OrderedDict[int, AESGCM] = OrderedDict()

    def cipher(self, period: int) -> AESGCM | None:
        """Return the cipher of a period; None where its key was overwritten."""
        if (known := self._ciphers.get(period)) is not None:
            return known
        if period < self.period:
            return None
        if period >= self._front_period:
            self._move(self._front, self._front_period, period, remember=True)
            self._front_period = period
            self._work[:] = self._front
        else:
            start, self._work[:] = self._nearest(period)
            self._move(self._work, start, period, remember=True)
        self._step(self._work[:32])
        cipher = self._ciphers[period] = AESGCM(bytes(self._output[:32]))  # with an older OpenSSL it keeps what it gets
        wipe(self._output)
        wipe(self._work)
        if len(self._ciphers) > CIPHERS:
            self._ciphers.popitem(last=False)
        return cipher

    def advance(self, period: int) -> None:
        """Overwrite the keys of all periods before `period`."""
        if period <= self.period:
            return
        self._drop_checkpoints(min(period, self._front_period + 1))
        self._move(self._state, self.period, period, remember=False)
        if self._front_period < period:
            self._front[:] = self._state
            self._front_period = period
        self.period = period
        wipe(self._output)
        for past in [known for known in self._ciphers if known < period]:
            del self._ciphers[past]  # OpenSSL overwrites what it frees

    def export(self) -> memoryview:
        """Return the state, of which all keys from `period` on follow. It is a view: encrypt it at once."""
        return self._state

    def forget(self) -> None:
        """Overwrite all keys."""
        self._ciphers.clear()
        self._drop_checkpoints(self._front_period + 1)
        wipe(self._memory)

    def _nearest(self, period: int) -> tuple[int, memoryview]:
        """Return the latest period until `period` whose state is known, and the state."""
        block = period // BLOCK * BLOCK
        for known in chain(range(period // STRIDE * STRIDE, block, -STRIDE), range(block, self.period, -BLOCK)):
            if (state := self._checkpoints.get(self.chain_id, known)) is not None:
                return known, state
        return self.period, self._state

    def _drop_checkpoints(self, before: int) -> None:
        for period in range(-(-self.period // STRIDE) * STRIDE, before, STRIDE):
            self._checkpoints.drop(self.chain_id, period)

    def _move(self, state: memoryview, period: int, to: int, *, remember: bool) -> None:
        """Turn the state of one period into that of a later one."""
        while period < to:
            if period // BLOCK < to // BLOCK:
                self._step(state[32:])
                state[:] = self._output[:64]
                period = (period // BLOCK + 1) * BLOCK
            else:
                self._step(state[:32])
                state[:32] = self._output[32:64]
                period += 1
            if remember and period % STRIDE == 0:
                self._checkpoints.add(self.chain_id, period, state)

    def _step(self, key: memoryview) -> None:
        Cipher(algorithms.AES(key), modes.ECB()).encryptor().update_into(_ZEROS_AND_COUNTS, self._output)
