"""When a client connects again: random, longer and longer, and as the server asks."""

from __future__ import annotations

import random

import pytest

from evanesce.client.backoff import LONGEST_DEMANDED_PAUSE, Backoff


class Highest(random.Random):
    """Always returns the highest number."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_pauses_double_up_to_half_a_minute() -> None:
    backoff = Backoff(Highest())
    assert [backoff.pause(0, None) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_the_jitter_is_full() -> None:
    dice = random.Random(7)
    pauses = [Backoff(dice).pause(0, None) for _ in range(1000)]
    assert min(pauses) < 0.01
    assert max(pauses) > 0.99


@pytest.mark.parametrize(("online", "next_pause"), [(9.9, 2), (10, 1)])
def test_only_a_connection_that_lasted_makes_the_pauses_short_again(online: float, next_pause: float) -> None:
    backoff = Backoff(Highest())
    backoff.pause(0, None)
    assert backoff.pause(online, None) == next_pause


@pytest.mark.parametrize(("demanded", "pause"), [(5, 6), (0, 0), (-1, 0), (1e300, LONGEST_DEMANDED_PAUSE * 1.2)])
def test_the_server_may_ask_for_a_pause(demanded: float, pause: float) -> None:
    assert Backoff(Highest()).pause(0, demanded) == pytest.approx(pause)


def test_every_third_attempt_in_a_row_names_no_room() -> None:
    backoff = Backoff(Highest())
    assert [backoff.opening() for _ in range(6)] == [True, True, False, True, True, False]
    assert backoff.opening()
    backoff.welcomed()
    assert [backoff.opening() for _ in range(3)] == [True, True, False]
