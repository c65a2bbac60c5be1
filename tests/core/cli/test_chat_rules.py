"""The terminal in a room with rules, with a scripted server."""

from __future__ import annotations

from typing import Any

import pytest

from evanesce.client.connection import Fields
from evanesce.model import timestamp
from evanesce.protocol.ciphertext import is_ciphertext
from evanesce.room_encryption import RoomCipher, RoomKey
from tests.core.cli.scripted import JOINED, NOW, ROOM, ServerConnection, Stage, message, stage

ME = "00000000-0000-4000-8000-00000000000a"
BEN = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1"
OTHER_BEN = "77aa0b1c-0000-4000-8000-000000000000"
MEMBERS = [
    {"userId": "me", "displayName": "Ana"},
    {"userId": BEN, "displayName": "Ben"},
    {"userId": OTHER_BEN, "displayName": "Ben"},
    {"userId": "cleo", "displayName": "Cleo 7"},
]
PLAIN: Fields = {"messageTtl": 60, "access": "link", "locked": False, "encrypted": False}
KEY = RoomKey(bytes(32))
IN_A_MINUTE = timestamp(NOW + 60_500)


async def entered(here: Stage, **room: object) -> ServerConnection:
    """Let the terminal join a room with four people and these rules."""
    connection = await here.connections.receive()
    await connection.welcomes(members=MEMBERS, memberCount=4, room=PLAIN | room)
    await here.prints("you are in the room: 4 people: Ana, Ben (#5b1f2c1e), Ben (#77aa0b1c), Cleo 7")
    return connection


async def test_the_rules_are_shown_once() -> None:
    async with stage() as here:
        connection = await entered(here, messageTtl=10, access="invite", locked=True)
        await here.prints("* about this room: messages live for 10 seconds, only invited people may join, it is locked")
        await connection.socket.aclose(1011)
        await here.prints("Reconnecting")
        connection = await entered(here, messageTtl=10, access="invite", locked=True)
        await connection.says(message(1, "one"))
        await here.prints("Ben: one")


async def test_a_plain_room_has_no_rules_to_show() -> None:
    async with stage() as here:
        connection = await entered(here)
        await connection.says(message(1, "one"))
        await here.prints("Ben: one")


async def test_events() -> None:
    async with stage() as here:
        connection = await entered(here)
        vote = {"type": "vote", "userId": BEN, "votes": 1, "needed": 2, "expiresAt": IN_A_MINUTE}
        changed = {"messageTtl": 10, "access": "link", "locked": True}
        for event, expected in (
            ({"type": "room_updated"} | changed, "changed it: messages live for 10 seconds, it is locked"),
            ({"type": "member_muted", "userId": BEN, "until": IN_A_MINUTE}, "* Ben may not write for 1 minute"),
            ({"type": "member_muted", "userId": BEN}, "* Ben may write again"),
            ({"type": "member_muted", "userId": "me", "until": IN_A_MINUTE}, "* you may not write for 1 minute"),
            (vote, "* 1 of 2 votes to remove Ben: /vote adds yours in the next 1 minute"),
            (vote | {"userId": "me"}, "* 1 of 2 votes to remove you"),
            (vote | {"votes": 2, "outcome": "removed"}, "* the vote has removed Ben"),
            ({"type": "member_left", "userId": BEN, "memberCount": 3, "removed": True}, "* Ben was removed"),
            ({"type": "member_left", "userId": OTHER_BEN, "memberCount": 2}, "* Ben left"),
        ):
            await connection.says(event)
            await here.prints(expected)


async def test_who_is_removed_is_told_and_does_not_come_back() -> None:
    async with stage() as here:
        connection = await entered(here)
        await connection.says({"type": "removed", "roomId": ROOM, "reason": "creator", "until": IN_A_MINUTE})
        await here.prints("* you were removed from this room by its creator. You can come back in 1 minute")
        await here.over.wait()
        assert here.failure is None


@pytest.mark.parametrize(
    ("code", "fields", "advice"),
    [
        ("room_locked", {}, "It is room_locked. Its creator can let you in with /unlock."),
        ("invite_required", {}, "It is invite_required. Ask for a link with an invite (#invite=…), and use all of it."),
        ("invite_spent", {}, "It is invite_spent. Ask for a new invite."),
        ("banned", {"retryAfter": 3600}, "It is banned. You can come back in 1 hour."),
    ],
)
async def test_who_may_not_join_is_told_what_to_do(code: str, fields: Fields, advice: str) -> None:
    async with stage(invite="S3CR3T") as here:
        connection = await here.connections.receive()
        await connection.answers("hello", {"type": "welcome"} | WELCOMED)
        join = await connection.refuses("join", code, **fields)
        assert join["invite"] == "S3CR3T"
        await here.over.wait()
        assert here.failure == advice


WELCOMED: Fields = {
    "userId": "me",
    "serverTime": timestamp(NOW),
    "messageTtl": 60,
    "heartbeat": 25,
    "limits": {"contentBytes": 4096},
}


async def test_an_invite_is_given_until_it_was_admitted_and_never_in_the_address() -> None:
    async with stage(invite="S3CR3T") as here:
        joins: list[Fields] = []
        for _ in range(2):
            connection = await here.connections.receive()
            assert "S3CR3T" not in connection.path
            joins.append(await connection.welcomes(room=PLAIN))
            await connection.socket.aclose(1011)
    assert [join.get("invite") for join in joins] == ["S3CR3T", None]


@pytest.mark.parametrize(
    ("typed", "kind", "fields"),
    [
        ("/lock", "update_room", {"locked": True}),
        ("/ttl 10", "update_room", {"messageTtl": 10}),
        ("/access invite", "update_room", {"access": "invite"}),
        ("/remove #5b", "remove_member", {"userId": BEN}),
        ("/ban #7 60", "remove_member", {"userId": OTHER_BEN, "banSeconds": 60}),
        ("/remove Cleo 7", "remove_member", {"userId": "cleo"}),
        ("/remove cleo 7 60", "remove_member", {"userId": "cleo", "banSeconds": 60}),
        ("/mute Cleo 7 60", "mute", {"userId": "cleo", "seconds": 60}),
        ("/unmute Cleo 7", "mute", {"userId": "cleo", "seconds": 0}),
    ],
)
async def test_commands_are_sent(typed: str, kind: str, fields: Fields) -> None:
    async with stage() as here:
        connection = await entered(here)
        await here.type(typed)
        command = await connection.refuses(kind, "forbidden")
        del command["ref"]
        assert command == {"type": kind, "roomId": ROOM} | fields
        await here.prints("* It is forbidden.")


async def test_a_command_waits_until_the_room_is_joined() -> None:
    async with stage() as here:
        await here.type("/lock")
        connection = await here.connections.receive()
        await connection.welcomes(room=PLAIN)
        assert (await connection.takes("update_room"))["locked"] is True


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("/remove Ben", "2 people are meant by Ben: write #5b1f2c1e or #77aa0b1c in place of the name"),
        ("/ban Dan 60", "nobody here is called Dan: /who lists the people"),
        ("/remove Ana", "nobody here is called Ana"),
        ("/ban Cleo 7", "this command is written /ban NAME SECONDS"),
        ("/mute Ben", "this command is written /mute NAME SECONDS"),
        ("/frobnicate", "there is no command /frobnicate"),
        ("/remove \x1b[2J", "nobody here is called ␛[2J"),
        ("/reply hello", "there is no message to answer"),
        ("/unsend", "there is no message to take back"),
    ],
)
async def test_what_cannot_be_done_is_said_and_not_sent(typed: str, problem: str) -> None:
    async with stage() as here:
        connection = await entered(here)
        await here.type(typed)
        await here.prints(problem)
        await here.type("hello")
        assert (await connection.takes("send"))["content"] == "hello"


async def test_a_vote() -> None:
    async with stage() as here:
        connection = await entered(here)
        await here.type("/vote Cleo 7")
        vote = {"type": "vote", "userId": "cleo", "votes": 1, "needed": 2, "expiresAt": IN_A_MINUTE}
        assert (await connection.answers("vote_remove", vote))["userId"] == "cleo"
        await here.prints("* you have voted")
        await connection.says(vote)
        await here.prints("* 1 of 2 votes to remove Cleo 7")
        await connection.says(message(1, "one"))
        await here.prints("Ben: one")


async def test_an_invite_has_the_key_of_the_room() -> None:
    async with stage(key=KEY) as here:
        connection = await entered(here, encrypted=True)
        await here.prints("it is end-to-end encrypted")
        await here.type("/invite 2")
        invite = {"type": "invite", "inviteId": BEN, "people": 2, "left": 2, "expiresAt": IN_A_MINUTE}
        link = f"http://127.0.0.1/r/{ROOM}"
        command = await connection.answers("invite", invite | {"link": f"{link}#invite=S3CR3T"})
        assert command["people"] == 2
        await here.prints("* an invite for 2 people, and 1 minute:")
        assert await here.prints("#k=") == f"* {link}#k={KEY.text}&invite=S3CR3T"


async def test_lists_and_what_is_taken_from_them() -> None:
    async with stage() as here:
        connection = await entered(here)
        invites = [{"inviteId": one, "people": 3, "left": 1, "expiresAt": IN_A_MINUTE} for one in (BEN, OTHER_BEN)]
        await here.type("/invites")
        await connection.answers("invites", {"type": "invites", "invites": invites})
        await here.prints("* 5b1f2c1e: for 1 of 3 people, and 1 minute")
        await here.prints("* 77aa0b1c: for 1 of 3 people")
        await here.type("/revoke 77aa")
        await connection.answers("invites", {"type": "invites", "invites": invites})
        assert (await connection.answers("revoke_invite", {"type": "ok"}))["inviteId"] == OTHER_BEN
        await here.type("/revoke x")
        await connection.answers("invites", {"type": "invites", "invites": invites})
        await here.prints("* no invites begin with x")
        bans = [{"userId": OTHER_BEN, "displayName": "Mal\x1blory", "until": IN_A_MINUTE}]
        await here.type("/bans")
        await connection.answers("bans", {"type": "bans", "bans": bans})
        await here.prints("* Mal␛lory (#77aa0b1c): for 1 minute")
        await here.type("/unban #77")
        await connection.answers("bans", {"type": "bans", "bans": bans})
        assert (await connection.answers("unban", {"type": "ok"}))["userId"] == OTHER_BEN


async def test_a_long_list_of_bans_is_read_to_its_end() -> None:
    async with stage() as here:
        connection = await entered(here)
        first = [{"userId": BEN, "displayName": "Ben", "until": IN_A_MINUTE}]
        last = [{"userId": OTHER_BEN, "displayName": "Mallory", "until": IN_A_MINUTE}]
        await here.type("/bans")
        assert "after" not in await connection.answers("bans", {"type": "bans", "bans": first, "next": "page 2"})
        assert (await connection.answers("bans", {"type": "bans", "bans": last}))["after"] == "page 2"
        await here.prints("* Ben (")
        await here.prints("* Mallory (")
        await here.type("/unban Mallory")
        await connection.answers("bans", {"type": "bans", "bans": first, "next": "page 2"})
        await connection.answers("bans", {"type": "bans", "bans": last})
        assert (await connection.answers("unban", {"type": "ok"}))["userId"] == OTHER_BEN


async def test_answers_and_messages_that_live_shorter() -> None:
    async with stage() as here:
        connection = await entered(here)
        sent = {"type": "sent", "messageId": "x"}
        await connection.says(
            message(1, "one") | {"senderId": BEN},
            message(2, "two") | {"senderId": "cleo", "senderName": "Cleo 7", "replyTo": "1"},
            message(3, "three") | {"senderId": "me", "senderName": "Ana", "replyTo": "unknown"},
        )
        await here.prints("Ben: one")
        await here.prints("Cleo 7, in reply to Ben: two")
        await here.prints("Ana, in reply to an earlier message: three")
        await here.type("/reply yes")
        answer = await connection.answers("send", sent)
        assert (answer["content"], answer["replyTo"]) == ("yes", "2")
        await here.type("/reply @#5b no")
        answer = await connection.answers("send", sent)
        assert (answer["content"], answer["replyTo"]) == ("no", "1")
        await connection.says({"type": "unsent", "messageId": "2"})
        await here.prints("taken back")
        await here.type("/for 5 soon gone")
        short = await connection.answers("send", sent)
        assert (short["content"], short["ttl"], "replyTo" in short) == ("soon gone", 5, False)
        await here.type("/reply to the one before")
        assert (await connection.answers("send", sent))["replyTo"] == "1"


async def test_who_is_muted_is_told_for_how_long() -> None:
    async with stage() as here:
        connection = await entered(here)
        await here.type("hello")
        await connection.refuses("send", "muted", retryAfter=30)
        await here.prints("* not sent: It is muted. You can write again in 30 seconds.")


# Encrypted rooms


def sealed(number: int, text: str, **changes: Any) -> Fields:
    plain = message(number, text) | changes
    content = RoomCipher(KEY, ROOM).seal(text, plain["senderId"], plain["messageId"])
    return plain | {"content": content}


async def test_an_encrypted_conversation() -> None:
    async with stage(key=KEY) as here:
        connection = await entered(here, encrypted=True)
        await here.prints("* about this room: it is end-to-end encrypted")
        await here.type("what nobody else reads")
        first = await connection.refuses("send", "store_unavailable", retry=True, retryAfter=0.01)
        again = await connection.answers("send", {"type": "sent"})
        assert first["content"] == again["content"], "it is the same message"
        assert is_ciphertext(first["content"])
        opened = RoomCipher(KEY, ROOM).open(first["content"], "me", first["messageId"])
        assert opened == "what nobody else reads"
        await connection.says(sealed(1, "grüezi\n\x1b[2J"))
        assert await here.prints("Ben: ") == "Ben: grüezi"
        await here.prints("    ␛[2J")


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "in plain text"},
        {"messageId": "another"},
        {"senderId": "cleo"},
        {"content": RoomCipher(RoomKey(b"x" * 32), ROOM).seal("x", "ben", "1")},
        {"content": RoomCipher(KEY, BEN).seal("x", "ben", "1")},
    ],
    ids=["plain", "another id", "another sender", "another key", "another room"],
)
async def test_what_cannot_be_opened_is_shown_as_such(changes: Fields) -> None:
    async with stage(key=KEY) as here:
        connection = await entered(here, encrypted=True)
        await here.prints("end-to-end encrypted")
        await connection.says(sealed(1, "hello") | changes, sealed(2, "whole"))
        await here.prints("* a message of Ben cannot be opened")
        await here.prints("Ben: whole")


async def test_a_server_cannot_switch_the_encryption_off() -> None:
    async with stage(key=KEY) as here:
        connection = await entered(here, encrypted=False)
        await here.prints("the server says that this room is not encrypted. The link has a key: it is used anyway")
        await connection.says(message(1, "in plain text"))
        await here.prints("* a message of Ben cannot be opened")
        await here.type("hello")
        assert is_ciphertext((await connection.answers("send", {"type": "sent"}))["content"])


async def test_without_the_key_nothing_is_shown_or_sent() -> None:
    async with stage() as here:
        connection = await entered(here, encrypted=True)
        await here.prints("* about this room: it is end-to-end encrypted")
        await here.prints("* this room is encrypted, and the link has no key (#k=…): ask for the whole link")
        await connection.says(sealed(1, "hello"))
        await here.prints("* a message of Ben cannot be opened")
        await here.type("hello")
        await here.prints("* not sent: this room is encrypted, and the link has no key")
        await here.type("/lock")
        await connection.takes("update_room")


async def test_a_text_that_does_not_fit_when_it_is_encrypted() -> None:
    async with stage(key=KEY) as here:
        connection = await entered(here, encrypted=True)
        await here.prints("end-to-end encrypted")
        await here.type("x" * 2045)
        await here.prints("* not sent: it is longer than 2044 bytes")
        await here.type("x" * 2044)
        assert len((await connection.takes("send"))["content"]) <= 4096


async def test_a_message_is_sealed_again_for_a_new_account() -> None:
    async with stage(key=KEY) as here:
        connection = await entered(here, encrypted=True)
        await here.prints("end-to-end encrypted")
        await here.type("hello")
        first = await connection.takes("send")
        await connection.socket.aclose(4401)
        connection = await here.connections.receive()
        await connection.answers("hello", {"type": "welcome"} | WELCOMED | {"userId": ME})
        await connection.answers("join", JOINED | {"room": PLAIN | {"encrypted": True}})
        again = await connection.answers("send", {"type": "sent"})
        assert again["messageId"] == first["messageId"]
        assert RoomCipher(KEY, ROOM).open(again["content"], ME, again["messageId"]) == "hello"
