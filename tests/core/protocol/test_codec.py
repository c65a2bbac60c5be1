"""Frames in: every command, and what is wrong with each that is none. Frames out: arrays, in order."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from evanesce.errors import ErrorCode, RateLimited
from evanesce.model import Access, Timestamp
from evanesce.protocol import codec, commands, events

ROOM = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1"

LAWFUL: list[tuple[dict[str, Any], commands.Command]] = [
    ({"type": "hello"}, commands.Hello()),
    ({"type": "hello", "token": "t", "ref": "r"}, commands.Hello(token="t", ref="r")),
    (
        {"type": "hello", "credential": {"provider": "p", "n": [1]}},
        commands.Hello(credential={"provider": "p", "n": [1]}),
    ),
    (
        {"type": "challenge", "provider": "p", "purpose": "x", "ref": 1},
        commands.Challenge(provider="p", request={"purpose": "x"}, ref=1),
    ),
    ({"type": "refresh"}, commands.Refresh()),
    ({"type": "sign_out"}, commands.SignOut()),
    ({"type": "create_room"}, commands.CreateRoom()),
    (
        {"type": "create_room", "messageTtl": 1, "access": "invite", "encrypted": True},
        commands.CreateRoom(message_ttl=1, access=Access.INVITE, encrypted=True),
    ),
    ({"type": "update_room", "roomId": ROOM}, commands.UpdateRoom(room_id=ROOM)),
    (
        {"type": "update_room", "roomId": ROOM, "messageTtl": 0.5, "access": "link", "locked": False},
        commands.UpdateRoom(room_id=ROOM, message_ttl=0.5, access=Access.LINK, locked=False),
    ),
    ({"type": "invite", "roomId": ROOM}, commands.CreateInvite(room_id=ROOM, people=1, seconds=86_400)),
    (
        {"type": "invite", "roomId": ROOM, "people": 1_000, "seconds": 2_592_000},
        commands.CreateInvite(room_id=ROOM, people=1_000, seconds=2_592_000),
    ),
    (
        {"type": "invite", "roomId": ROOM, "people": 1, "seconds": 60},
        commands.CreateInvite(room_id=ROOM, people=1, seconds=60),
    ),
    ({"type": "invites", "roomId": ROOM}, commands.ListInvites(room_id=ROOM)),
    (
        {"type": "revoke_invite", "roomId": ROOM, "inviteId": ROOM},
        commands.RevokeInvite(room_id=ROOM, invite_id=ROOM),
    ),
    ({"type": "remove_member", "roomId": ROOM, "userId": ROOM}, commands.RemoveMember(room_id=ROOM, user_id=ROOM)),
    (
        {"type": "remove_member", "roomId": ROOM, "userId": ROOM, "banSeconds": 31_536_000},
        commands.RemoveMember(room_id=ROOM, user_id=ROOM, ban_seconds=31_536_000),
    ),
    ({"type": "bans", "roomId": ROOM}, commands.ListBans(room_id=ROOM)),
    ({"type": "unban", "roomId": ROOM, "userId": ROOM}, commands.Unban(room_id=ROOM, user_id=ROOM)),
    (
        {"type": "mute", "roomId": ROOM, "userId": ROOM, "seconds": 0},
        commands.Mute(room_id=ROOM, user_id=ROOM, seconds=0),
    ),
    (
        {"type": "mute", "roomId": ROOM, "userId": ROOM, "seconds": 86_400},
        commands.Mute(room_id=ROOM, user_id=ROOM, seconds=86_400),
    ),
    ({"type": "vote_remove", "roomId": ROOM, "userId": ROOM}, commands.VoteRemove(room_id=ROOM, user_id=ROOM)),
    ({"type": "room", "roomId": ROOM}, commands.GetRoom(room_id=ROOM)),
    ({"type": "rooms", "after": "a"}, commands.ListRooms(after="a")),
    ({"type": "join", "roomId": ROOM, "since": "c"}, commands.Join(room_id=ROOM, since="c")),
    ({"type": "join", "roomId": ROOM, "unknown": None}, commands.Join(room_id=ROOM)),
    ({"type": "join", "roomId": ROOM, "invite": "s"}, commands.Join(room_id=ROOM, invite="s")),
    ({"type": "leave", "roomId": ROOM}, commands.Leave(room_id=ROOM)),
    ({"type": "send", "roomId": ROOM, "content": ""}, commands.Send(room_id=ROOM, content="")),
    (
        {"type": "send", "roomId": ROOM, "content": "é", "messageId": ROOM},
        commands.Send(room_id=ROOM, content="é", message_id=ROOM),
    ),
    (
        {"type": "send", "roomId": ROOM, "content": "", "ttl": 2, "replyTo": ROOM},
        commands.Send(room_id=ROOM, content="", ttl=2, reply_to=ROOM),
    ),
    ({"type": "unsend", "roomId": ROOM, "messageId": ROOM}, commands.Unsend(room_id=ROOM, message_id=ROOM)),
    ({"type": "typing", "roomId": ROOM}, commands.Typing(room_id=ROOM)),
    ({"type": "members", "roomId": ROOM}, commands.Members(room_id=ROOM)),
    ({"type": "close_room", "roomId": ROOM}, commands.CloseRoom(room_id=ROOM)),
    ({"type": "profile"}, commands.GetProfile()),
    ({"type": "update_profile"}, commands.UpdateProfile(display_name=UNSET, email=UNSET)),
    ({"type": "update_profile", "email": None}, commands.UpdateProfile(email=None)),
    ({"type": "forget_me"}, commands.ForgetMe()),
    ({"type": "ping", "ref": 2**53 - 1}, commands.Ping(ref=2**53 - 1)),
    ({"type": "ping", "unknown": {"a": [1]}}, commands.Ping()),
]


@pytest.mark.parametrize(("frame", "command"), LAWFUL)
def test_every_command(frame: dict[str, Any], command: commands.Command) -> None:
    assert codec.decode(json.dumps(frame)) == command


WRONG: list[tuple[str | bytes, ErrorCode, str | None, commands.Ref | None]] = [
    ("", ErrorCode.BAD_FRAME, None, None),
    ("nonsense", ErrorCode.BAD_FRAME, None, None),
    ("[]", ErrorCode.BAD_FRAME, None, None),
    ('"ping"', ErrorCode.BAD_FRAME, None, None),
    ("null", ErrorCode.BAD_FRAME, None, None),
    ('{"type":"ping"} x', ErrorCode.BAD_FRAME, None, None),
    ('{"type":"ping","x":NaN}', ErrorCode.BAD_FRAME, None, None),
    ('{"type":"ping","x":"\\ud800"', ErrorCode.BAD_FRAME, None, None),
    (b'{"type":"ping"}', ErrorCode.BAD_FRAME, None, None),
    ('{"type":"ping","x":' + "[" * 32 + "]" * 32 + "}", ErrorCode.BAD_FRAME, None, None),
    ('{"type":"ping","x":' + "[" * 60_000, ErrorCode.BAD_FRAME, None, None),
    ("{}", ErrorCode.BAD_REQUEST, "type", None),
    ('{"type":7,"ref":"r"}', ErrorCode.BAD_REQUEST, "type", "r"),
    ('{"type":"dance","ref":5}', ErrorCode.UNKNOWN_TYPE, None, 5),
    ('{"type":"ping","ref":""}', ErrorCode.BAD_REQUEST, "ref", None),
    ('{"type":"ping","ref":"' + "r" * 65 + '"}', ErrorCode.BAD_REQUEST, "ref", None),
    ('{"type":"ping","ref":1.5}', ErrorCode.BAD_REQUEST, "ref", None),
    ('{"type":"ping","ref":true}', ErrorCode.BAD_REQUEST, "ref", None),
    ('{"type":"ping","ref":9007199254740992}', ErrorCode.BAD_REQUEST, "ref", None),
    ('{"type":"ping","ref":' + "9" * 60_000 + "}", ErrorCode.BAD_REQUEST, "ref", None),
    ('{"type":"join","ref":1}', ErrorCode.BAD_REQUEST, "roomId", 1),
    ('{"type":"join","roomId":7}', ErrorCode.BAD_REQUEST, "roomId", None),
    ('{"type":"join","roomId":"' + ROOM.upper() + '"}', ErrorCode.BAD_REQUEST, "roomId", None),
    ('{"type":"join","roomId":"' + ROOM + '\\n"}', ErrorCode.BAD_REQUEST, "roomId", None),
    ('{"type":"send","roomId":"' + ROOM + '","content":null}', ErrorCode.BAD_REQUEST, "content", None),
    ('{"type":"challenge"}', ErrorCode.BAD_REQUEST, "provider", None),
    ('{"type":"challenge","provider":"p","n":' + "9" * 5_000 + "}", ErrorCode.BAD_REQUEST, "", None),
    ('{"type":"hello","credential":[]}', ErrorCode.BAD_REQUEST, "credential", None),
]


OF_A_MEMBER = {"roomId": ROOM, "userId": ROOM}
NUMBERS: list[tuple[dict[str, Any], str, list[object]]] = [
    ({"type": "create_room"}, "messageTtl", ["1", True, [1]]),
    ({"type": "update_room", "roomId": ROOM}, "messageTtl", [None, "1", True]),
    ({"type": "invite", "roomId": ROOM}, "people", [None, "1", 0, 1_001, 1.5, -1, True]),
    ({"type": "invite", "roomId": ROOM}, "seconds", [None, "60", 59.999, 2_592_000.001, -60, True]),
    ({"type": "remove_member", **OF_A_MEMBER}, "banSeconds", [None, "1", -0.001, 31_536_000.001, True]),
    ({"type": "mute", **OF_A_MEMBER}, "seconds", [None, "1", -0.001, 86_400.001, True]),
    ({"type": "send", "roomId": ROOM, "content": ""}, "ttl", ["1", True]),
]
CHOICES: list[tuple[dict[str, Any], str, list[object]]] = [
    ({"type": "create_room"}, "access", ["", "LINK", "everyone", 1, True]),
    ({"type": "create_room"}, "encrypted", [None, 1, "true"]),
    ({"type": "update_room", "roomId": ROOM}, "access", [None, "", "everyone"]),
    ({"type": "update_room", "roomId": ROOM}, "locked", [None, 0, "false"]),
]
IDS: list[tuple[dict[str, Any], str, list[object]]] = [
    *(
        ({"type": kind, **OF_A_MEMBER, "inviteId": ROOM, "seconds": 1}, name, [None, 1, "", ROOM.upper(), ROOM + "\n"])
        for kind, names in {
            **dict.fromkeys(("update_room", "invite", "invites", "bans"), ("roomId",)),
            "revoke_invite": ("roomId", "inviteId"),
            **dict.fromkeys(("remove_member", "unban", "mute", "vote_remove"), ("roomId", "userId")),
        }.items()
        for name in names
    ),
    ({"type": "send", "roomId": ROOM, "content": ""}, "replyTo", [1, "", ROOM.upper()]),
    ({"type": "join", "roomId": ROOM}, "invite", [1, "s" * 257]),
]


@pytest.mark.parametrize(
    ("frame", "name", "value"),
    [(frame, name, value) for frame, name, values in [*NUMBERS, *CHOICES, *IDS] for value in values],
)
def test_the_fields_of_rules_have_types_and_ranges(frame: dict[str, Any], name: str, value: object) -> None:
    with pytest.raises(codec.Undecodable) as raised:
        codec.decode(json.dumps({**frame, name: value}))
    assert (raised.value.code, raised.value.field) == (ErrorCode.BAD_REQUEST, name)


MAY_BE_NULL = {("update_profile", "email")}
"""The fields that PROTOCOL.md names as null: it clears the address."""

OPTIONAL: list[tuple[dict[str, Any], str]] = [
    (frame, field.encode_name)
    for frame, command in {frame["type"]: (frame, command) for frame, command in LAWFUL}.values()
    for field in msgspec.structs.fields(type(command))
    if not field.required and field.encode_name
]
"""A lawful frame of every command, and each field that its type says may be left out."""


def test_every_command_has_a_lawful_frame() -> None:
    assert {type(command) for _, command in LAWFUL} == set(get_args(commands.AnyCommand))


@pytest.mark.parametrize(("frame", "name"), OPTIONAL)
def test_null_stands_for_no_value_only_where_the_protocol_names_it(frame: dict[str, Any], name: str) -> None:
    text = json.dumps({**frame, "ref": "r", name: None})
    if (frame["type"], name) in MAY_BE_NULL:
        codec.decode(text)
        return
    with pytest.raises(codec.Undecodable) as raised:
        codec.decode(text)
    expected = (ErrorCode.BAD_REQUEST, name, None if name == "ref" else "r")
    assert (raised.value.code, raised.value.field, raised.value.ref) == expected


def test_null_is_allowed_in_what_is_the_providers() -> None:
    credential = {"provider": "p", "extra": None}
    hello = codec.decode(json.dumps({"type": "hello", "credential": credential}))
    assert hello == commands.Hello(credential=credential)
    challenge = codec.decode(json.dumps({"type": "challenge", **credential}))
    assert challenge == commands.Challenge(provider="p", request={"extra": None})


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400])
@pytest.mark.parametrize(("frame", "name"), [(frame, name) for frame, name, _ in NUMBERS])
def test_a_number_is_finite(frame: dict[str, Any], name: str, number: str) -> None:
    text = json.dumps(frame)
    assert outcome(f'{text[:-1]}, "{name}": {number}}}') in (ErrorCode.BAD_FRAME, ErrorCode.BAD_REQUEST)


@pytest.mark.parametrize(("frame", "code", "field", "ref"), WRONG)
def test_what_is_no_command(frame: str | bytes, code: ErrorCode, field: str | None, ref: commands.Ref | None) -> None:
    with pytest.raises(codec.Undecodable) as raised:
        codec.decode(frame)
    assert (raised.value.code, raised.value.field or None, raised.value.ref) == (code, field or None, ref)
    assert "regex" not in raised.value.message


def test_a_value_that_is_none_of_a_choice_is_not_repeated() -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert("secret" * 100, Literal["a", "b"])
    assert codec.wording(raised.value) == "Expected one of the allowed values."


def outcome(frame: str) -> ErrorCode | None:
    try:
        codec.decode(frame)
    except codec.Undecodable as error:
        return error.code
    return None


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_whatever_comes_is_a_command_or_a_refusal(frame: str) -> None:
    assert outcome(frame) in (None, ErrorCode.BAD_FRAME, ErrorCode.BAD_REQUEST, ErrorCode.UNKNOWN_TYPE)


@given(st.sampled_from([frame for frame, _ in LAWFUL]), st.text(min_size=1), st.none() | st.integers() | st.text())
def test_a_wrong_field_is_named_or_taken(frame: dict[str, Any], name: str, value: object) -> None:
    assert outcome(json.dumps(frame | {name: value})) in (None, ErrorCode.BAD_REQUEST, ErrorCode.UNKNOWN_TYPE)


def test_a_frame_out_is_an_array_in_order() -> None:
    payload = codec.encode([events.Ok(ref=1), events.Left(room_id=ROOM)])
    assert json.loads(payload) == [{"type": "ok", "ref": 1}, {"type": "left", "roomId": ROOM}]


def test_null_stands_only_where_the_protocol_names_it() -> None:
    joined = events.Joined(
        room_id=ROOM,
        session_id=ROOM,
        member_count=1,
        messages=[],
        more=False,
        cursor="c",
        missed=None,
        unsent=[],
        room=events.RoomOptions(message_ttl=60, access=Access.LINK, locked=False, encrypted=False),
    )
    fields = json.loads(codec.encode_one(joined))
    assert fields["missed"] is None
    assert [name for name, value in fields.items() if value is None] == ["missed"]


def test_a_challenge_stands_beside_its_type() -> None:
    reply = events.ChallengeReply(ref="r", fields={"nonce": "n"})
    assert json.loads(codec.encode_one(reply)) == {"type": "challenge", "ref": "r", "nonce": "n"}
    assert codec.bare(reply) == {"nonce": "n"}


@pytest.mark.parametrize("value", ["[1]", '"text"', '{"a": {}}', "null"])
def test_a_field_with_an_empty_name_is_the_providers_as_any_other(value: str) -> None:
    command = codec.decode(f'{{"type": "challenge", "provider": "guest", "": {value}}}')
    assert isinstance(command, commands.Challenge)
    assert command.request == {"": json.loads(value)}


def test_a_whole_number_may_have_a_fraction_of_zero() -> None:
    """Some languages write all numbers so, and JSON does not tell them apart."""
    frame = '{"type": "invite", "roomId": "00000000-0000-4000-8000-000000000000", "people": %s}'
    command = codec.decode(frame % "5.0")
    assert isinstance(command, commands.CreateInvite)
    assert command.people == 5
    with pytest.raises(codec.Undecodable) as refused:
        codec.decode(frame % "5.5")
    assert refused.value.field == "people"


def test_http_has_no_types_and_refs() -> None:
    room = events.RoomReply(
        room_id=ROOM,
        created_by=ROOM,
        created_at=Timestamp("2026-01-01T00:00:00.000Z"),
        deep_link="l",
        active=False,
        member_count=0,
        message_ttl=60,
        access=Access.LINK,
        locked=False,
        encrypted=False,
    )
    fields = codec.bare(events.RoomsReply(ref=1, rooms=[room]))
    assert set(fields) == {"rooms"}
    assert set(fields["rooms"][0]) == {
        *("roomId", "createdBy", "createdAt", "deepLink", "active", "memberCount"),
        *("messageTtl", "access", "locked", "encrypted"),  # always present, false too
    }


def test_an_error_says_what_the_table_says() -> None:
    error = codec.error_reply(RateLimited("Wait.", 1.5), commands.Ping(ref=3))
    assert json.loads(codec.encode_one(error)) == {
        "type": "error",
        "ref": 3,
        "code": "rate_limited",
        "message": "Wait.",
        "retry": True,
        "retryAfter": 1.5,
    }


def test_who_is_too_fast_is_never_told_to_come_back_too_soon() -> None:
    waits = 0.2, 0.0001, 0.20001
    assert [RateLimited("Wait.", wait).retry_after for wait in waits] == [0.2, 0.001, 0.201]


@pytest.mark.parametrize("much", ["[]", "{}", "0", '""', '{"a":[1]}'])
@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ('{"type":"hello","ref":7,"credential":{"provider":"x","much":[%s]}}', "credential"),
        ('{"type":"challenge","ref":7,"provider":"x","much":[%s]}', None),
    ],
)
def test_what_a_provider_is_given_has_few_values(frame: str, field: str | None, much: str) -> None:
    codec.decode(frame % ",".join([much] * 200))
    with pytest.raises(codec.Undecodable) as caught:
        codec.decode(frame % ",".join([much] * 1_100))
    assert (caught.value.code, caught.value.field, caught.value.ref) == (ErrorCode.BAD_REQUEST, field, 7)
