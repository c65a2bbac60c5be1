"""An example of each command, reply and event, for the descriptions of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from evanesce.model import Access, Timestamp
from evanesce.protocol import events
from evanesce.protocol.events import Event, Limits

_ROOM = "5f0c2d4e-8a3b-4f6d-9c1e-2b7a90d4e6f1"
_MESSAGE = "0b9e7c52-41d8-4c3f-a6e0-7d2f5b8c1a94"
_ADA = "c3a1f0d7-6e25-4b98-8f4d-1e0b9a7c5d32"
_BEN = "e84b6d19-2f7c-4a50-b3d8-95c0e1f7a246"
_SESSION = "7a2e4c61-d05f-4918-9be3-c84f6d1a0275"
_INVITE = "91d6b8f3-0c4a-4e72-a5f9-3d7b20e8c641"
_CREATED = Timestamp("2026-11-22T05:42:00.123Z")
_EXPIRES = Timestamp("2026-11-22T05:43:00.123Z")
_LATER = Timestamp("2026-11-23T05:42:00.123Z")
_LINK = f"https://chat.example/r/{_ROOM}"
_TOKEN = "the.session.token"
_CURSOR = "the-cursor-of-a-message"

COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "hello": {"credential": {"provider": "guest", "displayName": "Ada"}},
    "challenge": {"provider": "worldid"},
    "refresh": {},
    "sign_out": {},
    "create_room": {"messageTtl": 60, "access": "link", "encrypted": False},
    "update_room": {"roomId": _ROOM, "locked": True},
    "invite": {"roomId": _ROOM, "people": 5, "seconds": 3600},
    "invites": {"roomId": _ROOM},
    "revoke_invite": {"roomId": _ROOM, "inviteId": _INVITE},
    "remove_member": {"roomId": _ROOM, "userId": _BEN, "banSeconds": 3600},
    "bans": {"roomId": _ROOM},
    "unban": {"roomId": _ROOM, "userId": _BEN},
    "mute": {"roomId": _ROOM, "userId": _BEN, "seconds": 300},
    "vote_remove": {"roomId": _ROOM, "userId": _BEN},
    "room": {"roomId": _ROOM},
    "rooms": {"after": "the-next-of-the-previous-page"},
    "join": {"roomId": _ROOM, "since": _CURSOR},
    "leave": {"roomId": _ROOM},
    "send": {"roomId": _ROOM, "content": "Hello!", "messageId": _MESSAGE},
    "unsend": {"roomId": _ROOM, "messageId": _MESSAGE},
    "typing": {"roomId": _ROOM},
    "members": {"roomId": _ROOM},
    "close_room": {"roomId": _ROOM},
    "profile": {},
    "update_profile": {"displayName": "Ada", "email": None},
    "forget_me": {},
    "ping": {},
}
"""The fields of an example of each command, by its `type`, without `type` and `ref`."""

REF = 7
"""The `ref` of all examples of commands and replies."""


def events_and_replies(limits: Limits) -> list[Event]:
    """Return an example of each event and reply. `limits` are those in `welcome`."""
    return [*_events(), *_replies(limits)]


def _message() -> events.MessageEvent:
    return events.MessageEvent(
        room_id=_ROOM,
        message_id=_MESSAGE,
        sender_id=_ADA,
        sender_name="Ada",
        content="Hello!",
        created_at=_CREATED,
        expires_at=_EXPIRES,
        cursor=_CURSOR,
    )


def _events() -> list[Event]:
    return [
        _message(),
        events.Unsent(room_id=_ROOM, message_id=_MESSAGE),
        events.MemberJoined(room_id=_ROOM, user_id=_BEN, display_name="Ben", member_count=2),
        events.MemberLeft(room_id=_ROOM, user_id=_BEN, member_count=1),
        events.MemberUpdated(room_id=_ROOM, user_id=_BEN, display_name="Benjamin"),
        events.MemberCount(room_id=_ROOM, member_count=345),
        events.TypingEvent(room_id=_ROOM, user_id=_BEN),
        events.Skipped(room_id=_ROOM, count=12),
        events.Gap(room_id=_ROOM, since=_CURSOR),
        events.RoomClosed(room_id=_ROOM, reason="The creator closed this room."),
        events.RoomUpdated(room_id=_ROOM, message_ttl=60, access=Access.LINK, locked=True),
        events.Removed(room_id=_ROOM, reason="creator", until=_LATER),
        events.MemberMuted(room_id=_ROOM, user_id=_BEN, until=_LATER),
        events.Vote(room_id=_ROOM, user_id=_BEN, votes=1, needed=2, expires_at=_EXPIRES),
        events.Goodbye(code=1012, reason="The server restarts.", reconnect=True, reconnect_after=1.5),
    ]


def _replies(limits: Limits) -> list[Event]:
    room = events.RoomReply(
        ref=REF,
        room_id=_ROOM,
        created_by=_ADA,
        created_at=_CREATED,
        deep_link=_LINK,
        active=True,
        member_count=2,
        message_ttl=60,
        access=Access.LINK,
        locked=False,
        encrypted=False,
    )
    options = events.RoomOptions(message_ttl=60, access=Access.LINK, locked=False, encrypted=False)
    people = [events.Member(_ADA, "Ada"), events.Member(_BEN, "Ben")]
    invite = events.InviteInfo(room_id=_ROOM, invite_id=_INVITE, people=5, left=4, expires_at=_LATER)
    ban = events.BanInfo(user_id=_BEN, display_name="Ben", until=_LATER)
    return [
        events.Welcome(
            ref=REF,
            user_id=_ADA,
            display_name="Ada",
            server_time=_CREATED,
            token=_TOKEN,
            token_expires_at=_LATER,
            message_ttl=60,
            heartbeat=25,
            limits=limits,
        ),
        events.ChallengeReply(ref=REF, fields={"nonce": "what-the-provider-gives"}),
        events.TokenReply(ref=REF, token=_TOKEN, token_expires_at=_LATER),
        events.Ok(ref=REF),
        room,
        events.RoomsReply(ref=REF, rooms=[_without_ref(room)], next="the-next-page"),
        events.Joined(
            ref=REF,
            room_id=_ROOM,
            session_id=_SESSION,
            members=people,
            member_count=2,
            messages=[_message()],
            more=False,
            cursor=_CURSOR,
            missed=0,
            unsent=[],
            room=options,
        ),
        events.Left(ref=REF, room_id=_ROOM),
        events.Sent(
            ref=REF,
            room_id=_ROOM,
            message_id=_MESSAGE,
            created_at=_CREATED,
            expires_at=_EXPIRES,
            duplicate=False,
        ),
        events.MembersReply(ref=REF, room_id=_ROOM, members=people, member_count=2),
        events.InviteReply(
            ref=REF,
            room_id=_ROOM,
            invite_id=_INVITE,
            link=f"{_LINK}#invite=the-secret",
            people=5,
            left=5,
            expires_at=_LATER,
        ),
        events.InvitesReply(ref=REF, room_id=_ROOM, invites=[invite]),
        events.BansReply(ref=REF, room_id=_ROOM, bans=[ban]),
        events.VoteReply(ref=REF, room_id=_ROOM, user_id=_BEN, votes=1, needed=2, expires_at=_EXPIRES),
        events.ProfileReply(ref=REF, user_id=_ADA, display_name="Ada", email="ada@example.org", created_at=_CREATED),
        events.Pong(ref=REF, server_time=_CREATED),
        events.Error(
            ref=REF, code="bad_request", message="Expected a UUID as lower-case text.", field="roomId", retry=False
        ),
    ]


def _without_ref(room: events.RoomReply) -> events.RoomReply:
    return msgspec.structs.replace(room, ref=None)
