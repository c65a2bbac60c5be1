"""A subscription: one client in one room, what was delivered to it, and what is held back while it catches up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evanesce.delivery.frame import Frame, Outgoing, frames
from evanesce.protocol.events import MessageEvent
from evanesce.rooms.requests import JoinRequest, Subscriber
from evanesce.store.events import HistoryLost
from evanesce.store.message_log import LogEntry, MessageUnsent
from evanesce.store.rules import Removal

HELD = 1_000
"""How many messages are held back for one subscription; past that it reads them in the store later."""

Deliverable = LogEntry | MessageUnsent


class Position(NamedTuple):
    """How far a room was delivered to its members: up to the entry `number`.

    `cursor` is that of the entry `cursor_number`, the last message up to there (0: there is none).
    """

    number: int
    cursor_number: int
    cursor: str


_OWN_POSITION = Position(0, 0, "")  # for a subscription that was behind until now: it knows its own position


class Subscription:
    """A subscriber in a room.

    While it is *behind*, the room's messages are held back for it until the history before them has been delivered.
    So it gets every message after its history, in order, each once. It is behind after a join, and when its connection
    does not take a message: then it reads on in the store, from the last message that was written to it.
    """

    def __init__(self, subscriber: Subscriber, session_id: str) -> None:
        self.subscriber = subscriber
        self.session_id = session_id
        self.welcomed = False
        self.join: JoinRequest | None = None
        """The last join that was answered with `joined`."""
        self.joined_at = 0
        """When the store let it join last, in milliseconds of its clock."""
        self.joined_time = 0.0
        """When that was known here, in seconds of Trio's clock."""
        self.removed_at = 0.0
        """When its user was removed while its join had no answer yet."""
        self.removal: Removal | None = None
        """The last removal that concerned it, also where it is no subscription of the room any more."""
        self.cursor = ""
        self.fell_behind = False
        """Whether it has just fallen behind, and must read on in the store; the caller of `deliver` resets it."""
        self.number = 0
        """The last entry of the room that its history covers so far."""
        self.held: list[tuple[int, Outgoing]] | None = None
        """What is held back for it; None: it is not behind."""
        self.offer = subscriber.connection.offer
        """Write a frame to its connection; see `SubscriberConnection.offer`."""
        self._unsent_number = 0  # the last entry about an unsent message that was delivered from a history
        self._lacking: tuple[int, int] | None = None  # see `lack`
        self._overrun = False  # more than `HELD` messages came while it was behind
        self._gapped = False  # it was told of a gap, and the history after it was not delivered yet
        self._rejoining = False  # its next history answers a join
        self._delivered_number = 0  # while it is behind: the number of the last entry that was delivered to it

    @property
    def removed(self) -> bool:
        """Whether its user was removed after the store let it join, while its join had no answer."""
        return self.removed_at >= self.joined_at > 0

    def begin(self, delivered: Position) -> None:
        """Hold back messages from now on, where that is not done already: a history is about to be read.

        `delivered` is the position of the room's other members.
        """
        if self.held is None:
            self.held = []
            if self.welcomed:
                self._set_position(delivered)

    def _set_position(self, delivered: Position) -> None:
        """Set where it reads on: it was not behind when the room was at `delivered`."""
        if delivered.cursor_number > self.number:  # else its history has reached past that message
            self.cursor = delivered.cursor
        self.number = self._delivered_number = max(self.number, delivered.number)

    def unseen(self, messages: Sequence[LogEntry]) -> Sequence[LogEntry]:
        """Return the messages of a history without those that were delivered before a gap."""
        if not self._gapped:
            return messages
        return [message for message in messages if message.number > self._delivered_number]

    def begin_rejoin(self, *, anew: bool) -> None:
        """Name all unsent messages in the next history: it answers a join, and so has to be complete.

        `anew`: the client gave no cursor, and gets all messages, also those that were delivered before a gap.
        """
        if anew:
            self._gapped = False
        self._unsent_number = 0
        self._rejoining = True

    def unseen_unsent(self, unsent: Sequence[MessageUnsent]) -> list[str]:
        """Return the ids of unsent messages in a history without those that an earlier history has named."""
        unseen = [entry for entry in unsent if entry.number > self._unsent_number]
        self._unsent_number = max([self._unsent_number, *(entry.number for entry in unseen)])
        return [entry.message_id for entry in unseen]

    def resume(self) -> bool:
        """Go on as before, as the history could not be read. Return False where the subscription is still behind.

        Where too much came to hold it back, it reads that in the store, from its position at `begin`.
        """
        if self._overrun:
            return False
        return self._deliver_held()

    def deliver(self, items: list[tuple[int, Outgoing]], packed: list[Frame], delivered: Position) -> int:
        """Deliver entries of the room, with their numbers; return how many were written to the connection.

        `packed` has the same items as frames. `delivered` is the position of the room's members before. Where the
        connection does not take all of it, the subscription falls behind, and sets `fell_behind`.
        """
        if self.held is not None:
            if len(self.held) + len(items) > HELD:
                self.held = []
                self._overrun = True
            if not self._overrun:
                self.held.extend(items)
            return 0
        if items[0][0] <= self.number:
            # Its history reaches past what the room has delivered until now.
            items = [item for item in items if item[0] > self.number]
            packed = frames(item for _, item in items)
        for frame in packed:
            if not self.offer(frame):
                written = sum(len(frame) for frame in packed[: packed.index(frame)])
                self._fall_behind(items[:written], delivered)
                return written
        return len(items)

    def _deliver_held(self) -> bool:
        """Deliver what was held back; return False where the subscription falls behind again."""
        held, self.held = self.held, None
        if held:
            self.deliver(held, frames(item for _, item in held), _OWN_POSITION)
        self.fell_behind = False  # the caller gets it as the result
        return self.held is None

    def _fall_behind(self, written: list[tuple[int, Outgoing]], delivered: Position) -> None:
        """Read on in the store, after `delivered` and `written`. Until then nothing is held back."""
        self.held = []
        self._overrun = self.fell_behind = True
        self._set_position(delivered)
        for number, (event, _) in written:
            self.number = self._delivered_number = number
            if isinstance(event, MessageEvent):
                self.cursor = event.cursor
        self._unsent_number = max(self._unsent_number, self.number)

    def lack(self, after: int, up_to: int) -> None:
        """Note that entries with a number above `after`, up to `up_to`, may be lost before they were delivered to it.

        Where it lacked others before, it may lack all from the first of them to the last.
        """
        if after < up_to:
            first, last = self._lacking or (after, up_to)
            self._lacking = min(first, after), max(last, up_to)

    def lacks(self, number: int) -> bool:
        """Return whether the entry `number`, which the room has delivered, may be lost to it."""
        return self._lacking is not None and self._lacking[0] < number <= self._lacking[1]

    def lose(self, lost: HistoryLost, delivered_number: int) -> str:
        """Note that messages may have been lost; return the cursor from which this client has to join again.

        `delivered_number` is the last entry that the room had delivered by then.
        """
        reached = self.number if self.held is None else self._delivered_number
        if reached > delivered_number:  # it may have joined after the loss, before this server knew of it
            self.lack(0, delivered_number)
        elif self.held is not None:
            self.lack(reached, delivered_number)
        if self.number > lost.number:  # the store gives the same numbers again
            self.number = 0
        self._unsent_number = min(self._unsent_number, lost.number)
        self._delivered_number = min(self._delivered_number, lost.number)
        self._gapped = True
        return lost.cursor if self.held is None else self.cursor

    def caught_up(self, cursor: str, number: int, *, more: bool) -> bool:
        """Note that the history up to `cursor` was delivered; deliver what was held back, unless there is `more`.

        Return False where the subscription is still behind.
        """
        self.cursor = cursor
        self.number = number
        self._delivered_number = max(self._delivered_number, number)
        if more or self._overrun:
            self._overrun = False
            return False
        if self._rejoining:
            self._rejoining = self._gapped = False
        return self._deliver_held()
