"""Cursors as clients send them."""

from __future__ import annotations

import pytest

from evanesce.store.cursor import Cursor, parse

DAY = 24 * 3600 * 1000
PRESENT = Cursor("abc", 2 * DAY, 100, 90)


def test_a_cursor_comes_out_as_it_went_in() -> None:
    assert parse(str(PRESENT)) == PRESENT


@pytest.mark.parametrize(
    "text",
    ["", "abc", "abc-1-2", "abc-1-2-3-4", "abc-1-2--3", "ABC-1-2-3", "abc-1-2-3\n", "abc-1-2-٣", "abc-1-2-" + "9" * 17],
)
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("cursor", "serves"),
    [
        (PRESENT, True),
        (PRESENT._replace(number=1, messages=0, milliseconds=DAY), True),
        (PRESENT._replace(epoch="abd"), False),
        (PRESENT._replace(milliseconds=DAY - 1), False),
        (PRESENT._replace(milliseconds=2 * DAY + 1), False),
        (PRESENT._replace(number=101), False),
        (PRESENT._replace(messages=91), False),
    ],
)
def test_a_cursor_serves_for_a_day_in_its_own_epoch(cursor: Cursor, serves: bool) -> None:
    assert cursor.is_valid(PRESENT) is serves
