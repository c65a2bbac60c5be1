"""States of chains of keys that were computed already, so that keys far ahead are derived from one nearby."""

from __future__ import annotations

from collections import OrderedDict

from evanesce.store.sealing.locked_memory import wipe

STATE_BYTES = 64
"""The size of a state: the inner key, and the outer key."""


class Checkpoints:
    """The states of all chains that were used last, as many as `memory` has room for.

    Whoever adds one drops it when its period is over, as all later keys of the chain follow from it.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._free = list(range(0, len(memory) - STATE_BYTES + 1, STATE_BYTES))
        self._starts: OrderedDict[tuple[bytes, int], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._starts)

    def get(self, chain_id: bytes, period: int) -> memoryview | None:
        """Return the state of a chain in a period; None where it is not known. Copy it at once."""
        if (start := self._starts.get((chain_id, period))) is None:
            return None
        self._starts.move_to_end((chain_id, period))
        return self._memory[start : start + STATE_BYTES]

    def add(self, chain_id: bytes, period: int, state: memoryview) -> None:
        """Remember a state, in place of the one that was not used for the longest time."""
        if (start := self._starts.get((chain_id, period))) is None:
            start = self._free.pop() if self._free else self._starts.popitem(last=False)[1]
        self._memory[start : start + STATE_BYTES] = state
        self._starts[chain_id, period] = start

    def drop(self, chain_id: bytes, period: int) -> None:
        """Overwrite the state of a chain in a period, if it is known."""
        if (start := self._starts.pop((chain_id, period), None)) is not None:
            wipe(self._memory[start : start + STATE_BYTES])
            self._free.append(start)
