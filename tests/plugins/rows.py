"""Users, rooms and times for the repository's tests: each different from all others unless a test says what it is."""

from __future__ import annotations

import uuid

from evanesce.model import ChatRoom, SessionEnded, SessionStarted, Timestamp, User, timestamp

EPOCH = 1_795_000_000_000


def at(milliseconds: int) -> Timestamp:
    """Return a time so long after the tests' beginning."""
    return timestamp(EPOCH + milliseconds)


def a_user(
    world_id: str | None = None, *, now: Timestamp | None = None, email: str | None = None, guest: bool = False
) -> User:
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


def a_room(creator: User, *, now: Timestamp | None = None) -> ChatRoom:
    room_id = str(uuid.uuid4())
    return ChatRoom(
        room_id=room_id,
        created_by=creator.user_id,
        created_at=now or at(0),
        deep_link=f"http://127.0.0.1:8000/r/{room_id}",
    )


def a_session(user: User, room: ChatRoom, *, now: Timestamp | None = None, server: str = "one") -> SessionStarted:
    return SessionStarted(
        session_id=str(uuid.uuid4()), user_id=user.user_id, room_id=room.room_id, join_time=now or at(0), server=server
    )


def its_end(session: SessionStarted, now: Timestamp) -> SessionEnded:
    return SessionEnded(session_id=session.session_id, leave_time=now)
