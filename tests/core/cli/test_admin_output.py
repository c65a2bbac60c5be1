"""What operators see in their terminal: names of others do nothing there, and numbers are right."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from evanesce.cli.admin_output import lines
from evanesce.cli.safe_text import safe
from evanesce.cli.top import RATES, rates, view


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ada", "Ada"),
        ("Zoë 🐙", "Zoë 🐙"),
        ("👩‍💻", "👩‍💻"),
        ("می‌خواهم", "می‌خواهم"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2066c\u200f", "a\\u202eb\\u2066c\\u200f"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\ufeff\u00ad\ue000\U000e0041", "\\ufeff\\xad\\ue000\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_text_of_others_is_safe(text: str, shown: str) -> None:
    assert safe(text) == shown
    assert safe(text).encode()


USER = {
    "userId": "u",
    "displayName": "\x1b[31m\u202eeve\nother",
    "guest": True,
    "createdAt": "c",
    "lastActive": "l",
    "connected": True,
}


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("users", {"users": [USER], "next": "\x1b"}),
        ("user", {"user": USER, "ban": {"banId": "b", "since": "s", "reason": "\x1b[0m"}}),
        (
            "room",
            {
                "room": {"roomId": "r", "createdBy": "\x1b"},
                "members": [{"userId": "u", "displayName": "\x1b\u202e"}],
            },
        ),
        ("bans", {"bans": [{"banId": "b", "since": "s", "reason": "\x9b\n"}]}),
        ("drain", {"servers": ["\x1b]0;title\x07"]}),
    ],
)
def test_no_answer_moves_the_cursor(action: str, answer: dict[str, Any]) -> None:
    found = list(lines(action, answer))
    assert found
    assert all(line == safe(line) for line in found)


@pytest.mark.parametrize(
    ("action", "answer", "expected"),
    [
        ("rooms", {"rooms": []}, ["no rooms"]),
        ("user", {}, ["no account", "not banned"]),
        ("ban", {"banId": "b", "until": "t"}, ["banned until t, ban b"]),
        ("disconnect", {"changed": True}, ["all connections of the user are ended"]),
        ("unban", {"changed": False}, ["there was no ban"]),
        (
            "announce",
            {"sent": 2, "refused": 1, "failed": 1},
            [
                "sent to 2 rooms",
                "refused by 1 rooms: encrypted ones, and those of which a filter refused it",
                "not sent to 1 rooms: Redis or the database did not answer. Announce it again",
            ],
        ),
    ],
)
def test_what_was_done_is_said(action: str, answer: dict[str, Any], expected: list[str]) -> None:
    assert list(lines(action, answer)) == expected


def report(second: int, accepted: int, started: str = "a") -> dict[str, Any]:
    counters = dict.fromkeys(RATES, accepted)
    return {"servers": {"one": {"reportedAt": f"2026-01-01T00:00:{second:02}.000Z", "startedAt": started, **counters}}}


def test_rates_are_those_between_two_reports_of_one_process() -> None:
    assert rates(None, report(1, 5), "one") == ["-"] * 3
    assert rates(report(1, 5), report(3, 25), "one") == ["10.0"] * 3
    assert rates(report(3, 25), report(3, 25), "one") == ["-"] * 3, "it has not reported since"
    assert rates(report(3, 25), report(5, 2, started="b"), "one") == ["-"] * 3, "it has started again"


def test_the_view_says_what_is_not_up_to_date_and_why() -> None:
    server = {"version": "1", "draining": False, "connections": 7, "users": 5, "rooms": 3}
    answer = {"servers": {"on[e]": server}, "parts": {"redis": "up"}, "answeredBy": "on[e]"}
    drawn = []
    for failure in ("", "cannot reach \x1b[31m"):
        console = Console(file=StringIO(), record=True, width=100)
        console.print(view(answer, {"on[e]": ["1.0", "2.0", "3.0"]}, failure=failure))
        drawn.append(console.export_text())
    fresh, old = drawn
    assert "answered by on[e]\n" in fresh
    assert "not up to date: cannot reach \\x1b[31m\n" in old
    assert "answered by" not in old
    for text in drawn:
        [row] = [line.split() for line in text.splitlines() if line.startswith("on[e]")]
        assert row[1:5] == ["serving", "7", "5", "3"], "the last numbers stay"
        assert row[-3:] == ["1.0", "2.0", "3.0"]
