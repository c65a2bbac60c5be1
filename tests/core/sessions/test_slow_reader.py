"""Who reads too slowly: by what the client acknowledges, not by what the kernel takes for it."""

from __future__ import annotations

from evanesce.sessions.connection import SLOW_SECONDS, SlowReader

OUTBOX = 1_048_576
KERNEL = 400_000


def test_a_client_that_takes_what_the_kernel_has_is_not_slow() -> None:
    """The kernel takes nothing more for half a minute, because most of what it has is still on its way."""
    slow = SlowReader(OUTBOX)
    slow.refused(0.0, OUTBOX, KERNEL)
    for second in range(1, 20):
        assert not slow.is_stalled(second, OUTBOX, KERNEL - second * 20_000)


def test_a_client_that_takes_next_to_nothing_is_slow() -> None:
    slow = SlowReader(OUTBOX)
    slow.refused(0.0, OUTBOX, KERNEL)
    looks = [slow.is_stalled(second, OUTBOX, KERNEL - second * 5_000) for second in range(1, 4)]
    assert looks == [False] * 2 + [True]
    assert SLOW_SECONDS == 3


def test_what_the_kernel_takes_is_not_taken_by_the_client() -> None:
    slow = SlowReader(OUTBOX)
    slow.refused(0.0, OUTBOX, 0)
    assert not slow.is_stalled(1.0, OUTBOX - 100_000, 100_000)
    assert slow.is_stalled(3.0, OUTBOX - KERNEL, KERNEL)


def test_what_is_written_meanwhile_counts() -> None:
    slow = SlowReader(OUTBOX)
    slow.refused(0.0, OUTBOX, 0)
    for second in range(1, 10):
        slow.wrote(20_000)  # and as much was taken
        assert not slow.is_stalled(second, OUTBOX, 0)


def test_a_client_for_which_nothing_waits_is_watched_no_more() -> None:
    slow = SlowReader(OUTBOX)
    slow.refused(0.0, OUTBOX, 0)
    assert slow.watches
    assert not slow.is_stalled(10.0, 0, KERNEL)
    assert not slow.watches
