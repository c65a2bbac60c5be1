"""The code's types against the protocol's tables, as docs/reference/protocol.md has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from evanesce.errors import CloseCode, ErrorCode
from evanesce.protocol import commands, events

PAGE = (Path(__file__).parents[3] / "docs/reference/protocol.md").read_text()


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables' rows, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not set(line) <= set("|- ")]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def wire_fields(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Each field's name on the wire, and whether it may be left out."""
    fields = {field.encode_name: not field.required for field in msgspec.structs.fields(kind)}
    fields.pop("ref", None)
    return fields


COMMANDS = {str(kind.__struct_config__.tag): kind for kind in get_args(commands.AnyCommand)}
RULES = section("Rooms with rules")
RULE_COMMANDS = RULES.split("\nAnybody else", 1)[0]
RULE_EVENTS = names(re.sub(r"\{[^}]*\}", "", RULES.split("New events: ", 1)[1].split("\n", 1)[0]))
"""The events that the section on rules adds."""
COMMAND_ROWS = {names(row[0])[0]: row for row in rows(section("Commands") + RULE_COMMANDS) if names(row[0])}
ADDED_FIELDS = {
    "create_room": {"messageTtl": True, "access": True, "encrypted": True},
    "join": {"invite": True},
    "send": {"ttl": True, "replyTo": True},
}
"""The fields that the section on rules adds to other commands in its text."""
EVENTS = {
    str(kind.__struct_config__.tag): kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind not in (events.Event, events.Reply)
}
EVENT_ROWS = {names(row[0])[0]: row for row in rows(section("Events")) if names(row[0])}
ADDED_EVENT_FIELDS = {"message": {"replyTo": True}, "member_left": {"removed": True}}


def documented_fields(cell: str) -> dict[str, bool]:
    """The fields that a cell names before any explanation, and whether a `?` says that they may be left out."""
    head = cell.split(":", 1)[0]
    return {name: mark == "?" for name, mark in re.findall(r"`(\w+)`(\??)", re.sub(r"\{[^}]*\}|\([^)]*\)", "", head))}


def test_the_commands_are_those_of_the_page() -> None:
    assert set(COMMAND_ROWS) - {"type"} == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"hello", "challenge"}))
def test_a_command_has_the_fields_of_the_page(name: str) -> None:
    documented = documented_fields(COMMAND_ROWS[name][1].replace("none", ""))
    assert wire_fields(COMMANDS[name]) == documented | ADDED_FIELDS.get(name, {})


def test_the_added_fields_are_those_of_the_page() -> None:
    for added in [*ADDED_FIELDS.values(), *ADDED_EVENT_FIELDS.values()]:
        assert all(f"`{name}" in RULES for name in added)


def test_hello_and_challenge_have_the_fields_of_the_page() -> None:
    assert set(wire_fields(commands.Hello)) == {"token", "credential"}
    assert set(wire_fields(commands.Challenge)) == {"provider", ""}  # ``: whatever stands beside


@pytest.mark.parametrize("name", sorted(set(COMMANDS)))
def test_every_reply_of_the_page_is_a_reply_of_the_code(name: str) -> None:
    reply = names(COMMAND_ROWS[name][2])[0]
    replies = {str(kind.__struct_config__.tag) for kind in events.Reply.__subclasses__()}
    assert reply in replies


def test_the_events_are_those_of_the_page() -> None:
    replies = {str(kind.__struct_config__.tag) for kind in events.Reply.__subclasses__()}
    assert set(EVENT_ROWS) - {"type"} - {"error"} | set(RULE_EVENTS) == set(EVENTS) - (replies - {"typing", "vote"})


@pytest.mark.parametrize("name", sorted(set(RULE_EVENTS) - {"vote"}))
def test_an_event_about_rules_has_the_fields_of_the_page(name: str) -> None:
    [braces] = re.findall(rf"`{name}` \{{([^}}]*)\}}", RULES)
    fields = re.sub(r": `\w+` or `\w+`", "", braces)  # the values of one
    assert wire_fields(EVENTS[name]) == documented_fields(fields)


def test_the_event_of_a_vote_has_the_fields_of_its_reply_and_the_outcome() -> None:
    assert wire_fields(events.Vote) == wire_fields(events.VoteReply) | {"outcome": True}


@pytest.mark.parametrize("name", sorted(set(EVENT_ROWS) - {"type"}))
def test_an_event_has_the_fields_of_the_page(name: str) -> None:
    documented = {
        field: optional for field, optional in documented_fields(EVENT_ROWS[name][1]).items() if field != "ref"
    }
    assert wire_fields(EVENTS[name]) == documented | ADDED_EVENT_FIELDS.get(name, {})


def test_the_error_codes_are_those_of_the_page() -> None:
    documented: dict[str, int] = {}
    retried: set[str] = set()
    added = [row for row in rows(RULES) if len(row) == 3 and row[1] == "403"]
    for row in [*rows(section("Errors"))[1:], *added]:
        for code in names(row[0]):
            documented[code] = int(row[1])
            if row[2].startswith("retry"):
                retried.add(code)
    assert {code.value: code.http_status for code in ErrorCode} == documented
    assert {code.value for code in ErrorCode if code.retry} == retried


def test_the_close_codes_are_those_of_the_page() -> None:
    documented: dict[int, bool] = {}
    for row in rows(section("Close codes"))[1:]:
        for code in re.findall(r"\d{4}", row[0]):
            documented[int(code)] = row[2].startswith("yes")
    assert {code.value: code.reconnect for code in CloseCode} == documented
