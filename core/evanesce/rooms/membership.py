"""Who of a room is on this server, and how they are told what happens: no awaits, so nothing comes in between."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import msgspec

from evanesce.frame import Frame, Outgoing, frames
from evanesce.protocol import codec
from evanesce.protocol.events import (
    Event,
    Gap,
    Joined,
    MemberJoined,
    MemberLeft,
    MessageEvent,
    TypingEvent,
    Unsent,
)
from evanesce.rooms.requests import Subscriber
from evanesce.rooms.roster import Roster
from evanesce.rooms.seat import Seat, Tellable
from evanesce.store.base import Lost, MessageWithdrawn, Positioned

SPARE_BYTES = 256
"""What a frame with `joined` keeps free for a longer cursor and `more`."""

UNSENT_BYTES = 39
"""What an id takes in a list of them: a UUID, its quotation marks, a comma."""

_TO_THE_OTHERS = (MemberJoined, MemberLeft, TypingEvent)


class Membership:
    """The seats of one room on this server, and the roster that their people are told of."""

    def __init__(self, room_id: str, roster_size: int) -> None:
        self.roster = Roster(room_id, roster_size)
        self.heard = 0
        """The number of the room's last entry that the members were told."""
        self._room_id = room_id
        self._seats: dict[Subscriber, Seat] = {}
        self._connections: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def seats(self) -> list[Seat]:
        """All seats, in the order in which they were taken."""
        return list(self._seats.values())

    @property
    def users(self) -> dict[str, str]:
        """The name of every user who is here."""
        return {subscriber.user_id: subscriber.display_name for subscriber in self._seats}

    def of(self, subscriber: Subscriber) -> Seat | None:
        """Find the seat of a subscriber."""
        return self._seats.get(subscriber)

    def take(self, subscriber: Subscriber) -> Seat:
        """Give a subscriber a seat, or the one that it has."""
        seat = self._seats.get(subscriber)
        if seat is None:
            seat = self._seats[subscriber] = Seat(subscriber, str(uuid.uuid4()))
            user_id = subscriber.user_id
            self._connections[user_id] = self._connections.get(user_id, 0) + 1
        return seat

    def connections(self, user_id: str) -> int:
        """Count the seats of a user."""
        return self._connections.get(user_id, 0)

    def leave(self, seat: Seat) -> bool:
        """Take a seat away; True where it was the last one of its user."""
        user_id = seat.subscriber.user_id
        del self._seats[seat.subscriber]
        self._connections[user_id] -= 1
        if self._connections[user_id]:
            return False
        del self._connections[user_id]
        return True

    def tell(self, happened: Iterable[Tellable]) -> int:
        """Tell the members of messages and withdrawals, in order; gives how many deliveries that was."""
        heard = [(entry.number, outgoing(entry, self._room_id)) for entry in happened]
        if not heard:
            return 0
        self.heard = heard[-1][0]
        packed = frames(item for _, item in heard)
        told = 0
        for seat in self._seats.values():
            told += seat.hear(heard, packed)
        return told

    def gap(self, lost: Lost) -> None:
        """Tell the members that messages may have been lost; each is asked to join again from where it is."""
        self.heard = min(self.heard, lost.number)
        for seat in self._seats.values():
            if seat.welcomed:
                since = seat.lose(lost)
                seat.subscriber.write(Frame([Outgoing(Gap(room_id=self._room_id, since=since))]))

    def announce(self, announced: Sequence[Event]) -> None:
        """Tell the members what is no part of the room's history; who comes, goes or types, the others alone."""
        for event in announced:
            about = event.user_id if isinstance(event, _TO_THE_OTHERS) else None
            [frame] = frames([Outgoing(event)])
            for seat in self._seats.values():
                if seat.welcomed and seat.subscriber.user_id != about:
                    seat.subscriber.write(frame)


def outgoing(entry: Tellable, room_id: str) -> Outgoing:
    """Make the event of a message or a withdrawal."""
    match entry:
        case MessageWithdrawn(message_id):
            return Outgoing(Unsent(room_id=room_id, message_id=message_id))
        case Positioned(message, cursor, _, deadline):
            event = MessageEvent(
                room_id=room_id,
                message_id=message.message_id,
                sender_id=message.sender_id,
                sender_name=message.sender_name,
                content=message.content,
                created_at=message.created_at,
                expires_at=message.expires_at,
                cursor=cursor,
            )
            return Outgoing(event, (deadline,))


def filled(joined: Joined, messages: Sequence[Positioned], unsent: Sequence[str]) -> tuple[Outgoing, int, int]:
    """Put messages and then withdrawn ids into `joined`, as many as a frame takes; with how many of each there are."""
    room = codec.FRAME_BYTES - len(codec.encode([joined])) - SPARE_BYTES
    taken: list[Outgoing] = []
    for message in messages:
        item = outgoing(message, joined.room_id)
        room -= len(codec.encode_one(item.event)) + 1
        if room < 0:
            break
        taken.append(item)
    ids = unsent[: max(0, room // UNSENT_BYTES)]
    events = [item.event for item in taken if isinstance(item.event, MessageEvent)]
    full = msgspec.structs.replace(
        joined, messages=events, unsent=list(ids), more=joined.more or len(taken) < len(messages)
    )
    return Outgoing(full, tuple(deadline for item in taken for deadline in item.deadlines)), len(taken), len(ids)
