"""Users, rooms and times for the repository's tests: each different from all others unless a test says what it is."""

from __future__ import annotations

import uuid

from evanesce.model import (
    Access,
    Ban,
    ChatRoom,
    Invite,
    SessionEnded,
    SessionStarted,
    Timestamp,
    User,
    UserBan,
    timestamp,
)

EPOCH = 1_795_000_000_000


def at(milliseconds: int) -> Timestamp:
    """Return a time so long after the tests' beginning."""
    return timestamp(EPOCH + milliseconds)


def a_user(
    world_id: str | None = None, *, now: Timestamp | None = None, email: str | None = None, guest: bool = False
) -> User:
    """Return a user whom no repository knows."""
    now = now or at(0)
    return User(
        user_id=str(uuid.uuid4()),
        world_id=world_id or f"guest:{uuid.uuid4()}",
        display_name="Ada 👩‍💻",
        email=email,
        created_at=now,
        last_active=now,
        guest=guest,
    )


def a_room(
    creator: User,
    *,
    now: Timestamp | None = None,
    message_ttl: float | None = None,
    access: Access = Access.LINK,
    locked: bool = False,
    encrypted: bool = False,
) -> ChatRoom:
    """Return a room that is not stored."""
    room_id = str(uuid.uuid4())
    return ChatRoom(
        room_id=room_id,
        created_by=creator.user_id,
        created_at=now or at(0),
        deep_link=f"http://127.0.0.1:8000/r/{room_id}",
        message_ttl=message_ttl,
        access=access,
        locked=locked,
        encrypted=encrypted,
    )


def an_invite(room: ChatRoom, people: int = 1, *, created: int = 0, expires: int = 1_000) -> Invite:
    """Return an invite for some people, with times in milliseconds after the beginning."""
    invite_id = str(uuid.uuid4())
    return Invite(
        invite_id=invite_id,
        room_id=room.room_id,
        secret_hash=f"hash of {invite_id}",
        people=people,
        created_at=at(created),
        expires_at=at(expires),
    )


def a_ban(room: ChatRoom, user: User, *, since: int = 0, until: int = 1_000, reason: str = "creator") -> Ban:
    """Return a ban whose subject is that of the person, who is the same in each account with this `world_id`."""
    return Ban(
        room_id=room.room_id,
        subject=f"subject of {user.world_id}",
        user_id=user.user_id,
        display_name=user.display_name,
        reason=reason,
        since=at(since),
        until=at(until),
    )


def a_session(user: User, room: ChatRoom, *, now: Timestamp | None = None, server: str = "one") -> SessionStarted:
    """Return the record that a user is in a room on a server."""
    return SessionStarted(
        session_id=str(uuid.uuid4()), user_id=user.user_id, room_id=room.room_id, join_time=now or at(0), server=server
    )


def its_end(session: SessionStarted, now: Timestamp, *, lost: bool = False) -> SessionEnded:
    """Return the record that a session ended."""
    return SessionEnded(session_id=session.session_id, leave_time=now, lost=lost)


def a_user_ban(user: User, *, since: int = 0, until: int = 1_000, reason: str = "") -> UserBan:
    """Return a ban of a user from all servers, with times in milliseconds after the beginning."""
    return UserBan(
        subject=f"subject-of-{user.world_id}", user_id=user.user_id, reason=reason, since=at(since), until=at(until)
    )
