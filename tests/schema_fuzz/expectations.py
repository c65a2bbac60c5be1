"""What the schema and the protocol's page say of answers: whether each is one that its frame may get."""

from __future__ import annotations

import math
from typing import Any

from evanesce.errors import ErrorCode
from tests.e2e.clients import check_refusal
from tests.schema_fuzz.frames import Frame, Kind
from tests.schemas import Json

SIGN_IN_AGAIN = 4401

ENDS = frozenset({"sign_out", "forget_me"})
"""Commands after whose reply the connection is closed with 4401."""

BEFORE_HELLO = frozenset({"hello", "challenge", "ping"})

OWN_ERRORS = frozenset({"content_empty", "content_too_long"})
"""Errors that stand in place of `bad_request` for a field of its own."""

MAY_BE_BAD = frozenset(
    {"hello", "challenge", "rooms", "bans", "remove_member", "mute", "vote_remove", "send", "update_profile", "join"}
)
"""Commands whose rules the schema cannot name all: `docs/reference/schemas.md` says which."""


class Finding(AssertionError):
    """The server answered otherwise than it should."""


def check_answer(frame: Frame, answer: dict[str, Json], reply: str, *, signed_in: bool) -> None:
    """Raise `Finding` unless `answer` may be the one to `frame`, whose reply has the type `reply`."""
    if answer["type"] == "error":
        _check_error(frame, answer, signed_in=signed_in)
        return
    if frame.kind is not Kind.VALID:
        raise Finding(f"what is no command was accepted: {frame.kind.value} {frame.command}")
    if answer["type"] != reply:
        raise Finding(f"{frame.command} was answered with {answer['type']}")
    if not signed_in and frame.command not in BEFORE_HELLO:
        raise Finding(f"{frame.command} was carried out before hello")
    for name in frame.fields.keys() & answer.keys() - {"type", "ref", "displayName", "token"}:
        if not _same(frame.fields[name], answer[name]):
            raise Finding(f"the {name} of {reply} is not that of the command")


def _check_error(frame: Frame, error: dict[str, Any], *, signed_in: bool) -> None:
    code = str(error["code"])
    if error["retry"] is not ErrorCode(code).retry:
        raise Finding(f"`retry` of {code} is {error['retry']}")
    if code == "internal":
        raise Finding(f"{frame.command} led to a fault in the server")
    if code == "rate_limited":
        return
    if frame.kind is Kind.NO_OBJECT and code != "bad_frame":
        raise Finding(f"what is no object was refused with {code}")
    if frame.kind is Kind.UNKNOWN and code != "unknown_type":
        raise Finding(f"an unknown type was refused with {code}")
    if frame.kind is Kind.INVALID:
        allowed = {"bad_request", "unknown_type" if frame.fields.get("type") != frame.command else ""} | OWN_ERRORS
        if not signed_in and frame.command not in BEFORE_HELLO:
            allowed |= {"unauthenticated"}
        if frame.late and code not in allowed:
            _check_listed(frame.command, code)
            return
        if code not in allowed:
            raise Finding(f"an invalid {frame.command} was refused with {code}")
        if code == "bad_request" and "field" not in error:
            raise Finding(f"the refusal of {frame.command} names no field")
    if frame.kind is Kind.VALID:
        _check_listed(frame.command, code)
        if frame.plain and code == "bad_request" and frame.command not in MAY_BE_BAD:
            raise Finding(f"a valid {frame.command} was refused for its {error.get('field')}")
        if (code == "unauthenticated") is not (not signed_in and frame.command not in BEFORE_HELLO):
            raise Finding(f"{frame.command} was refused with {code}, signed in or not: {signed_in}")


def _check_listed(command: str, code: str) -> None:
    try:
        check_refusal(command, code)
    except AssertionError as wrong:
        raise Finding(str(wrong)) from None


def _same(given: Json, answered: Json) -> bool:
    if isinstance(given, float | int) and isinstance(answered, float | int):
        return math.isclose(given, answered, abs_tol=0.001)
    return bool(given == answered)
