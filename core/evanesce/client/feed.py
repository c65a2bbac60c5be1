"""What a room gives to the application, in order: without doubles, never a message after its end. Without I/O."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable

from evanesce.client.clock import ServerClock
from evanesce.client.events import (
    Expired,
    Joined,
    JoinedReply,
    Left,
    Message,
    Missed,
    RoomClosed,
    RoomEvent,
    Unsent,
    seconds,
)

WAITING_EVENTS = 1024
"""How many events may wait to be read. With more, the client stops reading from the network."""

KNOWN_MESSAGES = 100_000
"""How many messages of a room are remembered. With more, the one that expires first is told as expired early."""

GRACE_SECONDS = 60.0
"""For how long the id of an expired message is remembered: a late double of it was not missed."""


class RoomFeed:
    """The events of the room `room_id`. `open_message` returns a message with its content opened."""

    def __init__(self, room_id: str, clock: ServerClock, open_message: Callable[[Message], Message]) -> None:
        self._room_id = room_id
        self._clock = clock
        self._open = open_message
        self._waiting: deque[tuple[RoomEvent, float]] = deque()  # with the end of a message
        self._expired: deque[Expired] = deque()
        self._known: set[str] = set()
        self._unsent: set[str] = set()
        self._shown: set[str] = set()  # messages that the application shows now
        self._ends: list[tuple[float, str, bool]] = []  # a heap: time, message, whether it has ended

    @property
    def full(self) -> bool:
        """Whether so many events wait that no others should be read from the network."""
        return len(self._waiting) >= WAITING_EVENTS

    def joined(self, reply: JoinedReply, *, resumed: bool) -> None:
        """Take the reply to `join`. Raises `ValueError` for a time that is none."""
        self._push(
            Joined(
                room_id=self._room_id,
                members=reply.members,
                member_count=reply.member_count,
                room=reply.room,
                resumed=resumed,
            )
        )
        if reply.missed != 0:
            self._push(Missed(room_id=self._room_id, count=reply.missed, reason="resume"))
        self.take([Unsent(room_id=self._room_id, message_id=message_id) for message_id in reply.unsent])
        self.take(reply.messages)

    def take(self, events: Iterable[RoomEvent]) -> None:
        """Take the events of a frame. Raises `ValueError` for a time that is none."""
        late = 0
        for event in events:
            match event:
                case Message():
                    late += not self._take_message(event)
                case Unsent():
                    self._take_unsent(event)
                case _:
                    self._push(event)
        if late:
            self._push(Missed(room_id=self._room_id, count=late, reason="expired"))

    def _take_message(self, message: Message) -> bool:
        """Take a message, unless it is a double, and return whether it is still live."""
        ends = seconds(message.expires_at)
        if message.message_id in self._known:
            return True
        self._remember(message.message_id, ends)
        if ends <= self._clock.now():
            return False
        self._push(message, ends)
        return True

    def _take_unsent(self, unsent: Unsent) -> None:
        if unsent.message_id in self._unsent:
            return
        if unsent.message_id not in self._known:
            self._remember(unsent.message_id, self._clock.now())
        self._unsent.add(unsent.message_id)
        self._push(unsent)

    def _remember(self, message_id: str, ends: float) -> None:
        self._known.add(message_id)
        heapq.heappush(self._ends, (ends, message_id, False))
        while len(self._known) > KNOWN_MESSAGES:
            self._end_first(grace=0.0)

    def _push(self, event: RoomEvent, ends: float = 0.0) -> None:
        self._waiting.append((event, ends))

    def next(self) -> RoomEvent | None:
        """Return the next event that is due; None where there is none yet."""
        now = self._clock.now()
        while self._ends and self._ends[0][0] <= now:
            self._end_first()
        if self._expired:
            return self._expired.popleft()
        late = 0
        while self._waiting:
            event, ends = self._waiting[0]
            if not isinstance(event, Message) or (ends > now and event.message_id in self._known):
                break
            self._waiting.popleft()
            late += 1
        if late:
            return Missed(room_id=self._room_id, count=late, reason="expired")
        return self._give(self._waiting.popleft()[0]) if self._waiting else None

    def _give(self, event: RoomEvent) -> RoomEvent:
        match event:
            case Message():
                self._shown.add(event.message_id)
                return self._open(event)
            case Unsent():
                self._shown.discard(event.message_id)
            case RoomClosed() | Left():
                self._shown.clear()
            case _:
                pass
        return event

    def _end_first(self, grace: float = GRACE_SECONDS) -> None:
        """End the message that expires first, or forget its id if it has ended and `grace` is over too."""
        ends, message_id, ended = heapq.heappop(self._ends)
        if not ended and message_id in self._shown:
            self._shown.discard(message_id)
            self._expired.append(Expired(room_id=self._room_id, message_id=message_id))
        if not ended and grace:
            heapq.heappush(self._ends, (ends + grace, message_id, True))
        else:
            self._known.discard(message_id)
            self._unsent.discard(message_id)

    def wait_seconds(self) -> float | None:
        """Return after how many seconds `next` may have another event without anything new; None: never."""
        return None if not self._ends else max(0.0, self._ends[0][0] - self._clock.now())
