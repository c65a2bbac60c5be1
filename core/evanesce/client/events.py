"""The events of a room and of a client, typed: those of the protocol, with its names and fields, and the library's own.

In Python the fields are in snake case. `fields_of` returns an event as the protocol writes it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from evanesce.client.errors import NOT_THE_PROTOCOL, Disconnected
from evanesce.confidential import Confidential
from evanesce.model import Timestamp, milliseconds


class Event(
    Confidential, msgspec.Struct, kw_only=True, frozen=True, tag_field="type", rename="camel", omit_defaults=True
):
    """The base of all events. Its text shows its type alone, because it may have a message or a name in it."""


class RoomEvent(Event, kw_only=True, frozen=True):
    """The base of all events of a room."""

    room_id: str


# Of the protocol


class Message(RoomEvent, tag="message", kw_only=True, frozen=True):
    """A message. Show it until `expires_at`, when `Expired` follows.

    `encrypted`: it was encrypted from end to end. `unreadable`: it could not be opened, and `content` is None.
    """

    message_id: str
    sender_id: str
    sender_name: str
    content: str | None
    reply_to: str | None = None
    created_at: Timestamp
    expires_at: Timestamp
    cursor: str
    encrypted: bool = False
    unreadable: bool = False


class Unsent(RoomEvent, tag="unsent", kw_only=True, frozen=True):
    """The sender took a message back: show it no more."""

    message_id: str


class MemberJoined(RoomEvent, tag="member_joined", kw_only=True, frozen=True):
    """Another person joined the room."""

    user_id: str
    display_name: str
    member_count: int


class MemberLeft(RoomEvent, tag="member_left", kw_only=True, frozen=True):
    """Another person left the room, or was `removed` from it."""

    user_id: str
    member_count: int
    removed: bool = False


class MemberUpdated(RoomEvent, tag="member_updated", kw_only=True, frozen=True):
    """A person in the room has a new name."""

    user_id: str
    display_name: str


class MemberCount(RoomEvent, tag="member_count", kw_only=True, frozen=True):
    """How many people are in the room. It takes the place of the three above in a large room."""

    member_count: int


class Typing(RoomEvent, tag="typing", kw_only=True, frozen=True):
    """Another person is typing."""

    user_id: str


class RoomUpdated(RoomEvent, tag="room_updated", kw_only=True, frozen=True):
    """The rules of the room have changed. `message_ttl` is in seconds."""

    message_ttl: float
    access: str
    locked: bool


class MemberMuted(RoomEvent, tag="member_muted", kw_only=True, frozen=True):
    """A person may not write until `until`; without it, the person may write again."""

    user_id: str
    until: Timestamp | None = None


class Vote(RoomEvent, tag="vote", kw_only=True, frozen=True):
    """Somebody voted for the removal of a person, or the vote has ended: with the outcome `removed` or `expired`."""

    user_id: str
    votes: int
    needed: int
    expires_at: Timestamp
    outcome: str | None = None


class Removed(RoomEvent, tag="removed", kw_only=True, frozen=True):
    """This user was removed from the room, by its `creator` or by a `vote`, and is banned until `until`."""

    reason: str
    until: Timestamp | None = None


class RoomClosed(RoomEvent, tag="room_closed", kw_only=True, frozen=True):
    """The room was closed, and its messages are gone."""

    reason: str


# The library's own


class Member(Confidential, msgspec.Struct, frozen=True, rename="camel"):
    """A person in a room."""

    user_id: str
    display_name: str


class RoomOptions(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """The rules of a room. `message_ttl` is in seconds; `access` is `link` or `invite`."""

    message_ttl: float = 60.0
    access: str = "link"
    locked: bool = False
    encrypted: bool = False


class Joined(RoomEvent, tag="joined", kw_only=True, frozen=True):
    """The client is in the room. Its live messages that were not given before follow.

    `resumed`: it was there before, and goes on where it was. `members` is None in a large room.
    """

    members: list[Member] | None = None
    member_count: int
    room: RoomOptions
    resumed: bool


class Missed(RoomEvent, tag="missed", kw_only=True, frozen=True):
    """So many messages will not be seen here; `count` is None where the number is unknown.

    `resume`: they were gone when the client came back. `skipped`: they expired in the server, as this client was slow.
    `expired`: they expired on the way, or before they were read.
    """

    count: int | None
    reason: Literal["resume", "skipped", "expired"]


class Expired(RoomEvent, tag="expired", kw_only=True, frozen=True):
    """A message that was given has expired by the server's clock: show it no more."""

    message_id: str


class Left(RoomEvent, tag="left", kw_only=True, frozen=True):
    """The client is not in the room any more; the last event of a room.

    `left`: the application left. `closed`, `removed`: see the event before. `refused`: the server did not let the
    client in again; `code` and `message` are those of its error.
    """

    reason: Literal["left", "closed", "removed", "refused"]
    code: str | None = None
    message: str | None = None


class State(Event, tag="state", kw_only=True, frozen=True):
    """The state of the connection.

    `code` and `reason` say why it is `offline` or `stopped`: `code` is a close code, or that of a protocol's error, and
    `reason` is what the server said. Where no connection could be opened, `reason` says why, and there is no `code`.
    `retry_in`: an `offline` client connects again in so many seconds.
    """

    state: Literal["connecting", "online", "offline", "stopped"]
    code: int | str | None = None
    reason: str = ""
    retry_in: float | None = None

    def __repr__(self) -> str:  # nothing in it is confidential
        return f"State({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        fields = [("code", self.code), ("reason", self.reason or None), ("retry_in", self.retry_in)]
        return [("state", self.state), *((name, value) for name, value in fields if value is not None)]


# Replies


class Sent(Event, tag="sent", kw_only=True, frozen=True):
    """The server has the message. `duplicate`: it had it before."""

    room_id: str
    message_id: str
    created_at: Timestamp
    expires_at: Timestamp
    duplicate: bool


class Members(Event, tag="members", kw_only=True, frozen=True):
    """Who is in a room. `members` is None in a large room."""

    room_id: str
    members: list[Member] | None = None
    member_count: int


class RoomInfo(Event, tag="room", kw_only=True, frozen=True):
    """The data of a room. `deep_link` has the key in its fragment, where this client has made the room with one."""

    room_id: str
    created_by: str
    created_at: Timestamp
    deep_link: str
    active: bool = False
    member_count: int = 0
    message_ttl: float = 60.0
    access: str = "link"
    locked: bool = False
    encrypted: bool = False


class JoinedReply(Event, tag="joined", kw_only=True, frozen=True):
    """The reply to `join`. `missed` is None, where the number of missed messages is unknown."""

    room_id: str
    members: list[Member] | None = None
    member_count: int = 0
    messages: list[Message] = []
    cursor: str
    missed: int | None = 0
    unsent: list[str] = []
    room: RoomOptions = RoomOptions()


PROTOCOL_EVENTS: dict[str, type[RoomEvent]] = {
    "message": Message,
    "unsent": Unsent,
    "member_joined": MemberJoined,
    "member_left": MemberLeft,
    "member_updated": MemberUpdated,
    "member_count": MemberCount,
    "typing": Typing,
    "room_updated": RoomUpdated,
    "member_muted": MemberMuted,
    "vote": Vote,
    "removed": Removed,
    "room_closed": RoomClosed,
}
"""The events of the protocol that a room gives to the application as they are, by their types."""


def seconds(time: object) -> float:
    """Return a time of the server as seconds since 1970. Raises `ValueError`, also for what is no text."""
    if not isinstance(time, str) or len(time) != len("2026-11-22T05:42:00.123Z"):
        raise ValueError("not a time of the protocol")
    return milliseconds(Timestamp(time)) / 1000


Reply = TypeVar("Reply", bound=Event)


def reply_as(kind: type[Reply], fields: dict[str, Any]) -> Reply:
    """Return a reply, typed. Raises `Disconnected` for what is not of the protocol: what was done is unknown."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError:
        raise Disconnected(NOT_THE_PROTOCOL) from None  # the text of the error may have content


def fields_of(event: Event) -> dict[str, Any]:
    """Return an event as the protocol writes it, with `type`, in camel case, without fields that have no value."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    return fields
