"""What a line means that is typed into a terminal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.cli.typed import COMMANDS, Answer, Local, PersonCommand, Revoke, RoomCommand, Say, Typed, Wrong, parse
from evanesce.protocol import commands

ROOM = "00000000-0000-4000-8000-000000000001"

ROOM_COMMANDS: dict[str, dict[str, Any]] = {
    "/who": {"type": "members"},
    "/members": {"type": "members"},
    "/invite": {"type": "invite"},
    "/invite 3": {"type": "invite", "people": 3},
    "/invite 3 3600": {"type": "invite", "people": 3, "seconds": 3600},
    "/invites": {"type": "invites"},
    "/lock": {"type": "update_room", "locked": True},
    "/unlock": {"type": "update_room", "locked": False},
    "/access link": {"type": "update_room", "access": "link"},
    "/access   invite ": {"type": "update_room", "access": "invite"},
    "/ttl 10": {"type": "update_room", "messageTtl": 10},
    "/ttl 0.5": {"type": "update_room", "messageTtl": 0.5},
    "/bans": {"type": "bans"},
}
PERSON_COMMANDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "/remove Ben": ("Ben", {"type": "remove_member"}, False),
    "/remove Ben 60": ("Ben", {"type": "remove_member", "banSeconds": 60}, False),
    "/remove Ben the 2nd": ("Ben the 2nd", {"type": "remove_member"}, False),
    "/remove 7": ("7", {"type": "remove_member"}, False),
    "/remove #5b1f": ("#5b1f", {"type": "remove_member"}, False),
    "/ban Ben 60": ("Ben", {"type": "remove_member", "banSeconds": 60}, False),
    "/ban  Ben  Ox  60 ": ("Ben  Ox", {"type": "remove_member", "banSeconds": 60}, False),
    "/unban Ben 7": ("Ben 7", {"type": "unban"}, True),
    "/mute Ben 60": ("Ben", {"type": "mute", "seconds": 60}, False),
    "/mute Ben 1.5": ("Ben", {"type": "mute", "seconds": 1.5}, False),
    "/unmute Ben 7": ("Ben 7", {"type": "mute", "seconds": 0}, False),
    "/vote Ben 7": ("Ben 7", {"type": "vote_remove"}, False),
}


@pytest.mark.parametrize("typed", ROOM_COMMANDS)
def test_commands_about_the_room(typed: str) -> None:
    assert parse(typed) == RoomCommand(ROOM_COMMANDS[typed])


@pytest.mark.parametrize("typed", PERSON_COMMANDS)
def test_commands_about_a_person(typed: str) -> None:
    meaning = parse(typed)
    assert isinstance(meaning, PersonCommand)
    assert (meaning.person, meaning.fields, meaning.banned) == PERSON_COMMANDS[typed]


@pytest.mark.parametrize(
    "fields",
    [*ROOM_COMMANDS.values(), *({**fields, "userId": ROOM} for _, fields, _ in PERSON_COMMANDS.values())],
    ids=str,
)
def test_the_server_takes_each_command(fields: dict[str, Any]) -> None:
    command = msgspec.convert(fields | {"roomId": ROOM}, commands.AnyCommand)
    taken = {field.encode_name for field in msgspec.structs.fields(command)}
    assert set(fields) - {"type"} <= taken, "it ignores fields that it does not know"


@pytest.mark.parametrize("typed", ["/remove Agent 7", "/ban Agent 7", "/mute Agent 7"])
def test_a_number_at_the_end_can_belong_to_the_name(typed: str) -> None:
    meaning = parse(typed)
    assert isinstance(meaning, PersonCommand)
    assert meaning.person == "Agent"
    assert meaning.named_like_this is not None
    name, instead = meaning.named_like_this
    assert name == "Agent 7"
    if typed.startswith("/remove"):
        assert instead == PersonCommand("Agent 7", {"type": "remove_member"})
    else:
        assert isinstance(instead, Wrong)


@pytest.mark.parametrize(
    ("typed", "meaning"),
    [
        ("hello", Say("hello")),
        (" /quit", Say(" /quit")),
        ("//quit", Say("/quit")),
        ("//", Say("/")),
        ("/", Say("/")),
        ("/ quit", Say("/ quit")),
        ("/usr/bin/env", Say("/usr/bin/env")),
        ("/1", Say("/1")),
        ("/é", Say("/é")),
        ("/for 10 in ten seconds", Say("in ten seconds", 10)),
        ("/for 0.5  twice  ", Say("twice", 0.5)),
        ("/for 3 4", Say("4", 3)),
        ("/reply yes", Answer("yes")),
        ("/reply @Ben yes", Answer("@Ben yes")),
        ("/revoke 5B1F", Revoke("5b1f")),
        ("/revoke #5b1f", Revoke("5b1f")),
        ("/help", Local("help")),
        ("/quit", Local("quit")),
        ("/quit ", Local("quit")),
        ("/unsend", Local("unsend")),
    ],
)
def test_what_else_a_line_means(typed: str, meaning: Typed) -> None:
    assert parse(typed) == meaning


@pytest.mark.parametrize(
    "typed",
    ["/quit now", "/who Ben", "/invite many", "/invite 1 2 3", "/invite -1", "/revoke", "/revoke a b", "/lock 1",
     "/unlock it", "/access", "/access all", "/access link invite", "/ttl", "/ttl soon", "/ttl 1 2", "/ttl nan",
     "/ttl inf", "/ttl 1e9", "/ttl ٣", "/ttl 1_0", "/ttl 1.2.3", "/ttl .", "/for", "/for 10", "/for ten words",
     "/reply", "/remove", "/ban", "/ban Ben", "/ban Ben soon", "/bans Ben", "/unban", "/mute Ben", "/mute 60",
     "/unmute", "/vote",
     "/quti", "/Quit", "/frobnicate Ben 60", "/ttl " + "9" * 5000],
)  # fmt: skip
def test_what_is_no_command_is_not_sent_as_a_message(typed: str) -> None:
    meaning = parse(typed)
    assert isinstance(meaning, Wrong)
    word = typed.split()[0]
    assert word in meaning.problem or "/help" in meaning.problem


@given(st.text())
def test_every_line_means_something(typed: str) -> None:
    meaning = parse(typed)
    if not typed.startswith("/"):
        assert meaning == Say(typed)


@given(st.text().map(lambda text: f"/{text}"))
def test_every_text_can_be_sent(typed: str) -> None:
    assert parse(f"/{typed}") == Say(typed)


@pytest.mark.parametrize("usage", COMMANDS)
def test_help_shows_commands_that_exist(usage: str) -> None:
    meanings = {"/access link|invite": "/access link"}
    typed = meanings.get(usage, usage.replace("SECONDS", "60").replace("PEOPLE", "1"))
    for word in ("[", "]"):
        typed = typed.replace(word, "")
    assert not isinstance(parse(typed), Wrong | Say) or usage.startswith("/for")


@pytest.mark.parametrize(
    "secret", [Say("S3CR3T"), Answer("S3CR3T"), PersonCommand("S3CR3T", {"type": "unban"}), Wrong("S3CR3T")]
)
def test_what_was_typed_is_not_shown(secret: Typed) -> None:
    assert "S3CR3T" not in repr(secret)
