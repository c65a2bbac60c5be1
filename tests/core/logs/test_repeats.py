"""The bound on lines of one kind, by a clock of the test."""

from __future__ import annotations

import logging

from evanesce.logs.records import KIND_CHARACTERS, kind_of
from evanesce.logs.repeats import MOST_KINDS, MOST_LINES, WINDOW_SECONDS, Repeats, Sum


def give(repeats: Repeats[str], key: str, now: float) -> bool:
    """Return whether a record is written, and count it otherwise, as the handler does."""
    if repeats.takes(key, now):
        return True
    if repeats.leave_out(key, now):
        repeats.keep(key, f"{key} at {now:g}", now)
    return False


def test_what_is_left_out_is_summed_up_once_a_minute() -> None:
    repeats = Repeats[str]()
    assert [give(repeats, "full", 0.0) for _ in range(MOST_LINES + 5)] == [True] * MOST_LINES + [False] * 5
    assert repeats.summed_at == WINDOW_SECONDS
    assert repeats.sums(WINDOW_SECONDS - 1) == []
    assert repeats.sums(WINDOW_SECONDS) == [Sum("full at 0", 5, WINDOW_SECONDS)]
    assert repeats.summed_at is None
    assert give(repeats, "full", WINDOW_SECONDS)


def test_a_line_that_comes_now_and_then_is_never_left_out() -> None:
    repeats = Repeats[str]()
    assert all(give(repeats, "down", 10.0 * number) for number in range(100))
    assert repeats.summed_at is None


def test_kinds_are_counted_by_themselves() -> None:
    repeats = Repeats[str]()
    for _ in range(MOST_LINES + 1):
        give(repeats, "full", 0.0)
    assert give(repeats, "down", 0.0)


def test_the_end_of_the_process_sums_up_at_once() -> None:
    repeats = Repeats[str]()
    for _ in range(MOST_LINES + 2):
        give(repeats, "full", 0.0)
    assert repeats.sums(1.5, every=True) == [Sum("full at 0", 2, 1.5)]


def test_kinds_without_end_cost_bounded_lines_and_memory() -> None:
    repeats = Repeats[str]()
    written = sum(give(repeats, f"kind {number}", 0.0) for number in range(10 * MOST_KINDS))
    assert written <= MOST_KINDS + MOST_LINES
    [one] = repeats.sums(WINDOW_SECONDS)
    assert one.count == 10 * MOST_KINDS - written
    assert all(give(repeats, f"kind {number}", 2 * WINDOW_SECONDS) for number in range(MOST_KINDS)), "forgotten by then"


def test_a_record_that_could_not_be_kept_does_not_silence_its_kind() -> None:
    repeats = Repeats[str]()
    for _ in range(MOST_LINES):
        give(repeats, "full", 0.0)
    assert not repeats.takes("full", 0.0)
    assert repeats.leave_out("full", 0.0), "and nothing is kept, because it cannot be formatted"
    assert not give(repeats, "full", 1.0)
    assert repeats.sums(WINDOW_SECONDS) == [Sum("full at 1", 2, WINDOW_SECONDS)]
    for _ in range(MOST_LINES):
        give(repeats, "down", 0.0)
    repeats.leave_out("down", 0.0)
    assert give(repeats, "down", WINDOW_SECONDS)


def test_a_kind_is_named_by_a_bounded_text() -> None:
    def kind(text: str) -> tuple[str, int, str]:
        return kind_of(logging.LogRecord("evanesce", logging.INFO, "", 0, text, (), None))

    assert len(kind("x" * 100_000)[2]) == KIND_CHARACTERS
    assert kind("full") != kind("down")
