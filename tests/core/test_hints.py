"""Hints in the log: each value once, and few of them, whatever clients make up."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.hints import AT_ONCE, MOST_CHARACTERS, MOST_VALUES, Hints

log = logging.getLogger("tests.hints")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_value_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    hints = Hints(log, Clock())
    for value in ("a", "b", "a", "b", "a"):
        hints.give(value, "%s is refused")
    assert caplog.messages == ["a is refused", "b is refused"]


def test_a_flood_is_told_of_for_a_while_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    hints = Hints(log, clock)
    for number in range(6_000):
        clock.now += 0.1
        hints.give(f"{number}", "%s")
    assert AT_ONCE <= len(caplog.messages) <= AT_ONCE + 10
    clock.now += 60
    hints.give("of the deployer", "%s")
    assert caplog.messages[-1] == "of the deployer"


def test_what_is_remembered_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    hints = Hints(log, clock)
    for number in range(MOST_VALUES + 1):
        clock.now += 60
        hints.give(f"{number}", "%s")
    clock.now += 120
    hints.give("1", "%s")
    assert caplog.messages[-1] == f"{MOST_VALUES}", "still known"
    hints.give("0", "%s")
    assert caplog.messages[-1] == "0", "forgotten, and told again"


@given(st.text(max_size=2 * MOST_CHARACTERS))
def test_any_value_is_cut(value: str) -> None:
    hints = Hints(log, Clock())
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        hints.give(value, "%s")
    finally:
        log.removeHandler(handler)
    assert told == [value[:MOST_CHARACTERS]]
