"""The requests and answers of the interface for operators. In JSON, their fields are in camel case.

Nothing here has the content of messages.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from evanesce.accounts.bans import LONGEST_SECONDS, PERSON_CHARACTERS, REASON_CHARACTERS
from evanesce.confidential import Confidential
from evanesce.model import Access, Timestamp

MOST_LISTED = 200
"""How many entries a page has at most."""

Cursor = Annotated[str, Meta(max_length=64, description="`next` of the page before.")]
Limit = Annotated[int, Meta(ge=1, le=MOST_LISTED, description="How many entries the page has at most.")]
Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", description="The id of a room.")]
Person = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=PERSON_CHARACTERS,
        description="A user's id, `provider:subject`, or the id of a ban.",
    ),
]


class Request(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A request of an operator."""


class GetStats(Request, frozen=True, kw_only=True):
    """What all servers do, and what they depend on."""


class ListRooms(Request, frozen=True, kw_only=True):
    """Open rooms in the order of their ids: those that somebody is in, or all of them."""

    after: Cursor = ""
    limit: Limit = 100
    all: bool = False


class GetRoom(Request, frozen=True, kw_only=True):
    """One open room and its members."""

    room_id: Id


class CloseRoom(Request, frozen=True, kw_only=True):
    """Close a room, erase its messages, and tell its members that an operator did it."""

    room_id: Id


class ListUsers(Request, frozen=True, kw_only=True):
    """Accounts in the order of their ids: those that are connected, or all of them."""

    after: Cursor = ""
    limit: Limit = 100
    all: bool = False


class GetUser(Request, frozen=True, kw_only=True):
    """One account, and the ban of its person."""

    user: Person


class DisconnectUser(Request, frozen=True, kw_only=True):
    """End all connections of a user on all servers, with close code 4403. The user may connect again."""

    user: Person


class BanUser(Request, frozen=True, kw_only=True):
    """Ban a person from all servers, for some seconds or without an end, in place of an earlier ban."""

    user: Person
    seconds: Annotated[float, Meta(ge=1, le=LONGEST_SECONDS)] | UnsetType = UNSET
    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS)] = ""


class UnbanUser(Request, frozen=True, kw_only=True):
    """End the ban of a person."""

    user: Person


class ListBans(Request, frozen=True, kw_only=True):
    """Bans in the order of their ids, also some that have ended lately."""

    after: Cursor = ""
    limit: Limit = 100


class Announce(Request, frozen=True, kw_only=True):
    """Send a message to each room that somebody is in, as a service. One request sends to a page of rooms."""

    text: Annotated[str, Meta(min_length=1, max_length=4096)]
    after: Cursor = ""


class Drain(Request, frozen=True, kw_only=True):
    """Take servers out of service: one by its name, all workers of a node by its name, or all servers."""

    server: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET
    all: bool = False


class Answer(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An answer to an operator."""


class RoomInfo(Answer, frozen=True, kw_only=True):
    """A room. `messageTtl` is in seconds, and left out where it is that of the configuration."""

    room_id: str
    created_by: str
    created_at: Timestamp
    member_count: int
    message_ttl: float | UnsetType = UNSET
    access: Access
    locked: bool
    encrypted: bool


class MemberInfo(Answer, frozen=True, kw_only=True):
    """A member of a room."""

    user_id: str
    display_name: str


class RoomDetail(Answer, frozen=True, kw_only=True):
    """A room and its members, who are left out above the size of the roster."""

    room: RoomInfo
    members: list[MemberInfo] | UnsetType = UNSET


class Rooms(Answer, frozen=True, kw_only=True):
    """A page of rooms. `next` is left out on the last page."""

    rooms: list[RoomInfo]
    next: str | UnsetType = UNSET


class BanInfo(Answer, frozen=True, kw_only=True):
    """A ban. `until` is left out where it has no end, `userId` where there is no account. `reason` is a note."""

    ban_id: str
    user_id: str | UnsetType = UNSET
    since: Timestamp
    until: Timestamp | UnsetType = UNSET
    reason: str


class Bans(Answer, frozen=True, kw_only=True):
    """A page of bans. `next` is left out on the last page."""

    bans: list[BanInfo]
    next: str | UnsetType = UNSET


class UserInfo(Answer, frozen=True, kw_only=True):
    """An account. `provider` is left out where the account's identifier does not name it, as that of World ID."""

    user_id: str
    display_name: str
    provider: str | UnsetType = UNSET
    guest: bool
    created_at: Timestamp
    last_active: Timestamp
    connected: bool
    banned_until: Timestamp | UnsetType = UNSET


class UserDetail(Answer, frozen=True, kw_only=True):
    """A person: the account and the ban, each where there is one."""

    user: UserInfo | UnsetType = UNSET
    ban: BanInfo | UnsetType = UNSET


class Users(Answer, frozen=True, kw_only=True):
    """A page of accounts. `next` is left out on the last page, and the page may be empty before it."""

    users: list[UserInfo]
    next: str | UnsetType = UNSET


class Done(Answer, frozen=True, kw_only=True):
    """It was done. `changed` is False where there was nothing to do."""

    changed: bool = True


class Announced(Answer, frozen=True, kw_only=True):
    """How many rooms took an announcement. `refused`: encrypted rooms, and those for which a filter refused it.

    `failed`: rooms that could not be reached. `next` is left out when all rooms have been asked.
    """

    sent: int
    refused: int
    failed: int
    next: str | UnsetType = UNSET


class Drained(Answer, frozen=True, kw_only=True):
    """The servers that were told to leave service."""

    servers: list[str]


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one server, or one worker, reports every two seconds. The counters start at zero with the process.

    `redisSeconds` is how long Redis took for the last report, `loopSeconds` how late the event loop was for it.
    `messageSeconds` is the 99th percentile of the time from the request of a message until it was stored, in the last
    12 s, rounded up; 0 without messages.
    """

    version: str
    started_at: Timestamp
    reported_at: Timestamp
    draining: bool
    connections: int
    users: int
    rooms: int
    accepted: int
    delivered: int
    skipped: int
    redis_seconds: float
    loop_seconds: float
    message_seconds: float = 0.0


class ExpiryInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many keys all servers erased in the last minute, and how late, in seconds."""

    keys: int
    p99: float
    worst: float


class Stats(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All servers by their names, and the parts that they depend on, as the answering server sees them.

    `servers` is empty while Redis does not answer, but for the answering server. `expiry` is left out where nothing was
    erased in the last minute. `databaseSeconds` is how long the database took to answer.
    """

    answered_by: str
    servers: dict[str, ServerStatus]
    parts: dict[str, str]
    database_seconds: float | UnsetType = UNSET
    expiry: ExpiryInfo | UnsetType = UNSET


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Why a request was refused: `code` for programs, `message` for people, and the `field` that is wrong."""

    code: str
    message: str
    field: str | None = None
    retry: bool = False
