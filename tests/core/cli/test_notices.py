"""What a terminal says about a room, in plain language."""

from __future__ import annotations

from typing import Any

import pytest

from evanesce.cli.notices import (
    describe_bans,
    describe_changes,
    describe_error,
    describe_invites,
    describe_members,
    describe_mute,
    describe_removal,
    describe_rules,
    describe_vote,
    duration,
)
from evanesce.client.errors import Refused
from evanesce.errors import ErrorCode

PLAIN: dict[str, Any] = {"messageTtl": 60, "access": "link", "locked": False, "encrypted": False}


def left(time: str) -> float:
    """Return the time itself, as seconds."""
    return float(time)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (0.5, "0.5 seconds"),
        (1, "1 second"),
        (1.4999, "1.5 seconds"),
        (59.7, "1 minute"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (3600, "1 hour"),
        (3601, "60 minutes"),
        (86_400, "1 day"),
        (86_399, "24 hours"),
        (31_536_000, "365 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_rules_of_a_plain_room_need_no_words() -> None:
    assert describe_rules(PLAIN, 60) == ""
    assert describe_changes(PLAIN, PLAIN) == ""


def test_all_rules() -> None:
    strict = {"messageTtl": 10, "access": "invite", "locked": True, "encrypted": True}
    assert describe_rules(strict, 60) == (
        "it is end-to-end encrypted, messages live for 10 seconds, only invited people may join,"
        " it is locked: nobody else may join"
    )
    assert describe_changes(strict, PLAIN) == (
        "messages live for 1 minute, whoever has the link may join, it is not locked"
    )
    assert describe_changes(PLAIN, PLAIN | {"locked": True}) == "it is locked: nobody else may join"


def test_members() -> None:
    members = [{"userId": "aaaaaaaa-1", "displayName": "Ben"}, {"userId": "bbbbbbbb-2", "displayName": "Ana"}]
    assert describe_members({"memberCount": 2, "members": members}) == "2 people: Ana, Ben"
    assert describe_members({"memberCount": 1, "members": members[:1]}) == "1 person: Ben"
    assert describe_members({"memberCount": 5000}) == "5000 people"


@pytest.mark.parametrize(
    ("own", "until", "text"),
    [
        (False, "60", "Ben may not write for 1 minute"),
        (False, None, "Ben may write again"),
        (True, "60", "you may not write for 1 minute"),
        (True, None, "you may write again"),
    ],
)
def test_mutes(own: bool, until: str | None, text: str) -> None:
    assert describe_mute("Ben", own, until, left) == text


def test_votes() -> None:
    vote = {"votes": 1, "needed": 2, "expiresAt": "45"}
    assert describe_vote(vote, "Ben", left) == "1 of 2 votes to remove Ben: /vote adds yours in the next 45 seconds"
    assert describe_vote(vote | {"outcome": "expired"}, "Ben", left) == (
        "the vote to remove Ben has ended with 1 of 2 votes"
    )
    assert describe_vote(vote | {"outcome": "removed"}, "you", left) == "the vote has removed you"


def test_removals() -> None:
    assert describe_removal({"reason": "creator"}, left) == "you were removed from this room by its creator"
    assert describe_removal({"reason": "vote", "until": "3600"}, left) == (
        "you were removed from this room by a vote. You can come back in 1 hour"
    )


def test_lists() -> None:
    invites = [{"inviteId": "5b1f2c1e-0d3e", "people": 3, "left": 2, "expiresAt": "86400"}]
    assert list(describe_invites(invites, left)) == ["5b1f2c1e: for 2 of 3 people, and 1 day"]
    assert list(describe_invites([], left)) == ["there are no invites"]
    bans = [{"userId": "5b1f2c1e-0d3e", "displayName": "Ben", "until": "120"}]
    assert list(describe_bans(bans, left)) == ["Ben (#5b1f2c1e): for 2 minutes"]
    assert list(describe_bans([], left)) == ["nobody is banned"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"code": "room_locked"}, "No. Its creator can let you in with /unlock."),
        ({"code": "invite_required"}, "No. Ask for a link with an invite (#invite=…), and use all of it."),
        ({"code": "invite_spent"}, "No. Ask for a new invite."),
        ({"code": "banned", "retryAfter": 7200}, "No. You can come back in 2 hours."),
        ({"code": "muted", "retryAfter": 30}, "No. You can write again in 30 seconds."),
        ({"code": "muted"}, "No."),
        ({"code": "from_a_later_version"}, "No."),
    ],
)
def test_errors_say_what_to_do(fields: dict[str, Any], text: str) -> None:
    assert describe_error(Refused({"message": "No."} | fields)) == text


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_a_text(code: ErrorCode) -> None:
    text = describe_error(Refused({"code": str(code), "message": "It is so", "retryAfter": 1.0}))
    assert text.startswith("It is so.")
