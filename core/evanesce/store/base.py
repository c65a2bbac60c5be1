"""What the server asks of a message store: ordered, expiring messages, presence and announcements for each room.

A room's *position* counts its messages; a *cursor* is a position as clients hold it. Cursors of another room, or of
a time before the store lost its memory, are told apart by the room's *epoch*, a random name that the store
gives a room's state when it makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from evanesce.model import Draft, Message, Timestamp

CURSOR_SECONDS = 24 * 3600
"""How long a cursor serves: after that `missed` is not known."""


# What a store answers


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that the store has; `duplicate` where it had it before under the same id, from the same user."""

    created_at: Timestamp
    expires_at: Timestamp
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """A message that was not stored: its id is somebody else's, or of one that was taken back."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing was done: the room is closed."""


class Positioned(NamedTuple):
    """A live message and where it stands in its room.

    `number` counts the room's entries (messages and withdrawals) and grows by one with each: what is behind a number
    comes after it. It does not go back where the store loses its memory, as it starts from its clock, which is past
    any count that was reached; unless that was set back too (see `Lost`). `deadline` is when the message expires, in
    seconds of Trio's clock.
    """

    message: Message
    cursor: str
    number: int
    deadline: float


@dataclass(frozen=True, slots=True)
class MessageWithdrawn:
    """A message was taken back; `number` as in `Positioned`."""

    message_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a room."""

    user_id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is in a room, on all servers. `people` is None above the size that was asked for.

    `version` grows with every change of presence, and does not go back, as `Positioned.number`: an event with a version
    up to this one is in `people` already.
    """

    count: int
    version: int
    people: tuple[Person, ...] | None


@dataclass(frozen=True, slots=True)
class History:
    """The live messages behind a cursor, oldest first, as far as they fit in a page.

    `cursor` and `number` are where the page ends: the last of `messages`, or, unless `more`, the room's position
    (its newest entry). `more`: there are live messages behind this page. `missed` is as the protocol's `joined` has it,
    `taken_back` how many of those were taken back. `unsent` are the withdrawals behind the cursor of messages up to it
    that would still be alive.
    """

    messages: tuple[Positioned, ...]
    cursor: str
    number: int
    more: bool
    missed: int | None
    taken_back: int
    unsent: tuple[MessageWithdrawn, ...]


# What a store tells a room, in order


@dataclass(frozen=True, slots=True)
class Entered:
    """A user's first connection, on whichever server, came in. `count` and `version` as in `Presence`, afterwards."""

    person: Person
    count: int
    version: int


@dataclass(frozen=True, slots=True)
class Departed:
    """A user's last connection, on whichever server, left."""

    user_id: str
    count: int
    version: int


@dataclass(frozen=True, slots=True)
class Renamed:
    """A user in the room has a new name."""

    person: Person
    version: int


@dataclass(frozen=True, slots=True)
class Writing:
    """A user in the room is typing."""

    user_id: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The room was closed: nothing follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages may have been lost that cannot be had any more; `cursor` is the last one given before, or the start.

    What is given next has numbers above `number`, and `version` is where the room stands now: less than they were where
    a store that had not heard of everything took another's place, or lost its memory and had its clock set back.
    """

    cursor: str
    number: int
    version: int


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Presence may have changed unseen: this is what it is now (asked for with the size given to `follow`)."""

    presence: Presence


Happening = Positioned | MessageWithdrawn | Entered | Departed | Renamed | Writing | Closed | Lost | PresenceChanged


class Feed(Protocol):
    """What happens in one room, from the moment `follow` was entered."""

    async def next(self) -> Sequence[Happening]:
        """Wait for what happens next: one or more happenings, in the room's order, each message once.

        What was lost on the way from the store is fetched from it before anything newer is given; what cannot be
        fetched any more shows as `Lost`. It waits while the store is down, and raises nothing but `trio.Cancelled`.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """All tokens of a sign-in are worthless from now on."""

    sign_in_id: str


@dataclass(frozen=True, slots=True)
class UserErased:
    """A user's account is gone."""

    user_id: str


@dataclass(frozen=True, slots=True)
class UserRenamed:
    """A user has a new name."""

    user_id: str
    display_name: str


Notice = TokenRevoked | UserErased | UserRenamed
"""What every server must hear."""


class MessageStore(Protocol):
    """Messages under their TTL, presence under leases, and what servers tell each other.

    Every method but `follow` and `notices` ends within 2.5 s and raises `StoreUnavailable` where the store does not
    answer or refuses; what was asked for may then have been done or not, and asking again does no harm.
    """

    @property
    def healthy(self) -> bool:
        """Whether the store answered when it was last asked."""
        ...

    @property
    def server_name(self) -> str:
        """This server's name for as long as it lives: no other has it, and it has another one when it starts again."""
        ...

    def now(self) -> int:
        """Give the store's time in milliseconds since 1970, as well as it is known here: never behind it."""
        ...

    async def append(self, room_id: str, drafts: Sequence[Draft]) -> Sequence[Stored | Conflict] | Gone:
        """Store messages under their TTL, in order, in one round trip, and publish them to every follower at once."""
        ...

    async def withdraw(self, room_id: str, message_id: str, sender_id: str) -> bool | Gone | None:
        """Take a message back: True when it is gone now, None where none is live, False where it is another's."""
        ...

    async def history(self, room_id: str, since: str | None, most: int, most_bytes: int) -> History | Gone:
        """Give the live messages behind `since`: at most `most`, of at most `most_bytes` of JSON (at least one)."""
        ...

    async def enter(
        self, room_id: str, people: Sequence[Person], capacity: int, roster: int
    ) -> tuple[Presence, frozenset[str]] | Gone:
        """Note that users are in a room on this server; with who is there then, and who found no place.

        A user who is here already changes nothing. It holds until `leave`, also after the store lost its memory.
        `capacity` is how many users a room takes over all servers.
        """
        ...

    async def leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """Note that users are in a room on this server no more; gives how many are there on all servers.

        Where the store does not answer it is noted all the same, as soon as it does: who is here is what was asked
        last, also after the store lost its memory.
        """
        ...

    async def rename(self, room_id: str, person: Person) -> None:
        """Change the name of a user who is in the room; followers hear of it once, however many servers say so."""
        ...

    async def presence(self, room_id: str, roster: int) -> Presence:
        """Ask who is in a room."""
        ...

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """Ask how many users are in each of some rooms."""
        ...

    async def writing(self, room_id: str, user_id: str) -> None:
        """Tell the room's followers that a user is typing."""
        ...

    async def close_room(self, room_id: str, reason: str) -> None:
        """Erase a room's messages and presence, and tell its followers. Whoever asks for it from now on gets `Gone`."""
        ...

    def follow(self, room_id: str, roster: int) -> AbstractAsyncContextManager[Feed]:
        """Hear of all that happens in a room: inside the context, from its start on."""
        ...

    async def announce(self, notice: Notice) -> None:
        """Tell every server, this one too."""
        ...

    async def notices(self) -> Notice:
        """Wait for the next notice from any server. May lose some while the store is down."""
        ...

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep something small for a while, for every server."""
        ...

    async def take(self, key: str) -> bytes | None:
        """Take what was put: of several who ask, on whichever server, one gets it."""
        ...

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        """Take up to `wanted` tokens out of a bucket that all servers share, and say how many there were.

        A bucket takes `burst`, and gets `rate` a second; one that nobody has heard of is full. Where there was none,
        the second is after how many seconds there will be one, else 0.
        """
        ...

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        """Note how many connections a user has on this server; False where on all it would be more than `most`.

        Nothing is noted then. Servers that are gone do not count. After the store lost its memory only those count
        that were noted since.
        """
        ...

    def disconnect(self, user_id: str, here: int) -> None:
        """Note that a user has fewer connections on this server, as far as the store answers; waits for nothing."""
        ...

    async def servers(self) -> Mapping[str, Timestamp] | None:
        """Say until when each server lives, as far as its lease says, or lived, where that is past.

        A server that lives is among them from its first lease on, and one that is gone for a week more. None while that
        cannot be known: the store has lost its memory, and not every server has been heard of again.
        """
        ...

    async def claim(self, duty: str, seconds: float) -> bool:
        """Take on a duty for a while, so that no other server has it; False where a server has it already, even this.

        It ends by itself: nobody can give it back.
        """
        ...

    async def check(self) -> Sequence[str]:
        """Say how the store is, and, a line each, what in its settings would keep content past its TTL."""
        ...
