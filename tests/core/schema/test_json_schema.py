"""The JSON Schema of the protocol against its metaschema, its examples, and the decoder of commands."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator

from evanesce.errors import CommandError, ErrorCode
from evanesce.protocol import codec, commands, events
from evanesce.protocol.answers import ERRORS, FRAME_ERRORS, REPLIES
from evanesce.schema.examples import COMMANDS
from tests.schemas import DEFAULT_LIMITS, EventSchemas, members, schema_of, validator

DOCUMENT = schema_of(DEFAULT_LIMITS)
DEFINITIONS = DOCUMENT["$defs"]
ROOM = "5f0c2d4e-8a3b-4f6d-9c1e-2b7a90d4e6f1"
NAMED = [name for group in ("Command", "Reply", "Event") for name in members(DOCUMENT, group)]


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(DOCUMENT)


def test_every_type_of_the_protocol_is_in_it() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    kinds -= {events.Event, events.Reply}
    replies = {kind for kind in kinds if issubclass(kind, events.Reply)}
    assert set(get_args(events.AnyEvent)) == kinds - replies
    assert {*REPLIES.values(), events.Error} == replies
    assert set(REPLIES) == set(ERRORS) == set(get_args(commands.AnyCommand))
    assert FRAME_ERRORS.union(*ERRORS.values()) == set(ErrorCode), "each code is the answer to something"
    assert sorted(NAMED) == sorted(kind.__name__ for kind in kinds | set(get_args(commands.AnyCommand)))


@pytest.mark.parametrize("name", NAMED)
def test_every_type_has_a_valid_example(name: str) -> None:
    for example in DEFINITIONS[name]["examples"]:
        validator(DOCUMENT, name).validate(example)
    assert DEFINITIONS[name]["examples"]
    assert "description" in DEFINITIONS[name]


@pytest.mark.parametrize("tag", COMMANDS)
def test_the_server_accepts_the_example_of_a_command(tag: str) -> None:
    (name,) = (kind.__name__ for kind in REPLIES if kind.__struct_config__.tag == tag)
    (example,) = DEFINITIONS[name]["examples"]
    assert type(codec.decode(json.dumps(example))).__name__ == name
    assert DEFINITIONS[name]["x-reply"] in {kind.__struct_config__.tag for kind in REPLIES.values()}


def test_the_errors_of_commands_are_in_it() -> None:
    for kind, codes in ERRORS.items():
        assert set(DEFINITIONS[kind.__name__]["x-errors"]) == {code.value for code in codes}
    assert "muted" in DEFINITIONS["Send"]["x-errors"]
    assert "muted" not in DEFINITIONS["Join"]["x-errors"]


def test_a_field_without_a_value_is_never_null_but_where_the_page_says_so() -> None:
    nullable = {
        (name, field)
        for name in NAMED
        for field, schema in DEFINITIONS[name]["properties"].items()
        if {"type": "null"} in schema.get("anyOf", [])
    }
    assert nullable == {("UpdateProfile", "email"), ("Joined", "missed")}


@pytest.mark.parametrize(
    "command",
    [
        {"type": "nonsense"},
        {"type": "room"},
        {"type": "room", "roomId": ROOM.upper()},
        {"type": "room", "roomId": ROOM, "ref": None},
        {"type": "room", "roomId": ROOM, "ref": ""},
        {"type": "room", "roomId": ROOM, "ref": "x" * 65},
        {"type": "room", "roomId": ROOM, "ref": 2**53},
        {"type": "hello", "token": "x" * 4097},
        {"type": "hello", "credential": None},
        {"type": "create_room", "access": "everybody"},
        {"type": "create_room", "messageTtl": None},
        {"type": "invite", "roomId": ROOM, "people": 0},
        {"type": "invite", "roomId": ROOM, "seconds": 59},
        {"type": "mute", "roomId": ROOM, "userId": ROOM, "seconds": 86_401},
        {"type": "join", "roomId": ROOM, "since": "x" * 257},
        {"type": "update_profile", "displayName": None},
        {"type": "send", "roomId": ROOM, "content": "x", "replyTo": "x"},
    ],
    ids=json.dumps,
)
def test_what_the_decoder_refuses_is_not_valid(command: dict[str, Any]) -> None:
    assert not validator(DOCUMENT, "Command").is_valid(command)
    with pytest.raises(CommandError):
        codec.decode(json.dumps(command))


def test_the_limits_are_those_of_the_server() -> None:
    limits = msgspec.structs.replace(DEFAULT_LIMITS, content_bytes=10, shortest_ttl=2, longest_ttl=20)
    document = schema_of(limits)
    assert document["x-limits"] == msgspec.to_builtins(limits)
    commands_of = validator(document, "Command")
    assert commands_of.is_valid({"type": "send", "roomId": ROOM, "content": "x" * 10, "ttl": 2})
    for fields in ({"content": "x" * 11}, {"content": ""}, {"content": "x", "ttl": 1}, {"content": "x", "ttl": 21}):
        assert not commands_of.is_valid({"type": "send", "roomId": ROOM, **fields})
    for kind in ({"type": "create_room"}, {"type": "update_room", "roomId": ROOM}):
        assert commands_of.is_valid(kind | {"messageTtl": 20})
        assert not commands_of.is_valid(kind | {"messageTtl": 21})


def test_a_frame_is_an_array() -> None:
    pong = DEFINITIONS["Pong"]["examples"][0]
    frames = validator(DOCUMENT, "Frame")
    assert frames.is_valid([pong, DEFINITIONS["MessageEvent"]["examples"][0]])
    assert not frames.is_valid(pong)
    assert not frames.is_valid([])


def test_the_checks_of_events_find_what_differs() -> None:
    checks = EventSchemas(DOCUMENT)
    pong = DEFINITIONS["Pong"]["examples"][0]
    checks.check(pong)
    for wrong in (pong | {"serverTime": 7}, pong | {"another": 1}, {"type": "pong"}):
        with pytest.raises(AssertionError, match="pong differs from its schema"):
            checks.check(wrong)
