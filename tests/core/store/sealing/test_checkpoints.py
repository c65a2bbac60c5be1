"""States that were computed are remembered within the memory there is, and overwritten when they are dropped."""

from __future__ import annotations

from evanesce.store.sealing.checkpoints import STATE_BYTES, Checkpoints


def state(number: int) -> memoryview:
    return memoryview(bytes([number]) * STATE_BYTES)


def test_the_state_that_was_not_used_for_the_longest_time_makes_room() -> None:
    memory = memoryview(bytearray(3 * STATE_BYTES))
    known = Checkpoints(memory)
    for number in (1, 2, 3):
        known.add(b"a chain", number, state(number))
    assert known.get(b"a chain", 1) == state(1)
    known.add(b"a chain", 4, state(4))
    assert [known.get(b"a chain", number) for number in (1, 2, 3, 4)] == [state(1), None, state(3), state(4)]
    assert bytes(state(2)) not in bytes(memory)


def test_each_chain_has_its_own_states_and_each_period_one() -> None:
    known = Checkpoints(memoryview(bytearray(3 * STATE_BYTES)))
    known.add(b"a chain", 1, state(1))
    known.add(b"another", 1, state(2))
    known.add(b"another", 1, state(3))
    assert (known.get(b"a chain", 1), known.get(b"another", 1), len(known)) == (state(1), state(3), 2)


def test_what_was_dropped_is_overwritten_and_leaves_its_place() -> None:
    memory = memoryview(bytearray(2 * STATE_BYTES))
    known = Checkpoints(memory)
    for number in range(1, 10):
        known.add(b"a chain", number, state(number))
        known.drop(b"another", number)
        assert known.get(b"a chain", number) == state(number)
        known.drop(b"a chain", number)
        assert known.get(b"a chain", number) is None
        assert not any(memory)
    assert len(known) == 0
