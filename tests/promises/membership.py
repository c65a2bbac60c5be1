"""What one connection receives of one room, from `joined` on, against what the store did: the protocol's promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evanesce.store.cursor import Cursor
from tests.promises.ledger import Entry, RoomLedger
from tests.promises.rules import Broken, Event, RuleRecord

TYPING_SECONDS = 3.0


class MembershipRecord:
    """The events of a room that a connection receives between a `joined` and the next one, or the end.

    `already` are the messages that the same connection received before a gap, by their places. `had` are the ids of
    those that the client has and that the store has lost: sent again, they need not arrive twice.
    """

    def __init__(self, ledger: RoomLedger, broken: Broken, already: Mapping[int, Entry], had: set[str]) -> None:
        self._ledger = ledger
        self._broken = broken
        self.rules = RuleRecord(ledger.rules, broken)
        """What it is told of the rules of the room."""
        self.already = already
        self.had = had
        self._base: Cursor | None = None
        self._joined_at = 0.0
        self._welcomed_at = 0.0
        self._missed: int | None = 0
        self._skipped = 0
        self._last = 0
        self._told_unsent: set[int] = set()  # the places of the messages
        self._typed_at: dict[str, float] = {}
        self.delivered: dict[int, Entry] = {}
        """The messages that arrived, by their places in the room's log."""
        self.roster: dict[str, str] = {}
        """The names of the members, by user."""
        self.gapped = False
        self.cursor = ""

    # What arrives

    def joined(
        self,
        event: Event,
        since: str | None,
        *,
        user_id: str,
        asked_at: float,
        now: float,
        milliseconds: int,
        most: int | None,
        late: bool,
    ) -> None:
        """Begin with a `joined`. With `most`, of history, nothing happened since it was asked for: it has to be exact.

        `milliseconds` is the time of the store's clock. It may be `late`: it has waited for this client to read.
        """
        self._joined_at, self._welcomed_at = asked_at, now
        self.rules.joined(event, user_id, now, late=late)
        self._base = self._ledger.position(since, milliseconds)
        self._missed = event["missed"]
        self.roster = {member["userId"]: member["displayName"] for member in event.get("members", ())}
        if event["memberCount"] != len(self.roster):
            self._broken(f"{event['memberCount']} members, and {len(self.roster)} names")
        lost = any(loss >= asked_at for loss in self._ledger.losses)
        if since is None and event["missed"] != 0:
            self._broken("missed without a cursor")
        elif since is not None and not lost and (event["missed"] is None) != (self._base is None):
            self._broken(f"missed is {event['missed']} after a cursor that can {'not ' * (not self._base)}be used")
        if event["missed"] is None:
            self._base = None
        self._last = 0 if self._base is None else self._base.number
        for message in event["messages"]:
            self.message(message, now)
        if event["messages"] and event["cursor"] != event["messages"][-1]["cursor"]:
            self._broken("the cursor of joined is not that of its last message")
        self.cursor = event["cursor"]
        for message_id in event["unsent"]:
            self._take_back(message_id)
        if most is not None:
            self._check_exactly(event, most, now)

    def _check_exactly(self, event: Event, most: int, now: float) -> None:
        had = self.had
        live = [entry for entry in self._candidates() if entry.lives(now) and entry.number not in self.already]
        due = [entry.message.message_id for entry in live if entry.message.message_id not in had]
        told = [message["messageId"] for message in event["messages"] if message["messageId"] not in had]
        if told != due[:most]:
            self._broken(f"joined has {len(told)} messages, and {len(due[:most])} others are due")
        if len(due) == len(live) and event["more"] != (len(live) > most):
            self._broken(f"more is {event['more']}")
        if self._base is None:
            return
        gone = sum(not entry.lives(now) for entry in self._candidates())
        if event["missed"] != gone:
            self._broken(f"missed is {event['missed']}, and {gone} messages are gone")
        if sorted(event["unsent"]) != sorted(self._ledger.unsent_since(self._base, now)):
            self._broken("joined names other messages than those that were taken back")

    def message(self, event: Event, now: float) -> None:
        """Take a message, as an event or in `joined`."""
        entry = self._ledger.find(event["messageId"], event["cursor"])
        if entry is None:
            self._broken("a message that was never stored")
            return
        message = entry.message
        expected = (
            message.sender_id,
            message.content,
            message.created_at,
            message.expires_at,
            entry.cursor,
            message.reply_to,
        )
        names = ("senderId", "content", "createdAt", "expiresAt", "cursor", "replyTo")
        if tuple(event.get(name) for name in names) != expected:
            self._broken("a message differs from the one that was stored")
        if entry.muted:
            self._broken("a message of somebody who was muted")
        if not self.rules.may_hear(entry.number):
            self._broken("a message that was stored after this user was removed")
        if entry.number <= self._last or entry.number in self.already:
            self._broken("a message twice, or out of order")
        if entry.deadline <= now:
            self._broken(f"a message {now - entry.deadline:.3f} s after its end")
        self._last = entry.number
        self.delivered[entry.number] = entry
        self.cursor = event["cursor"]

    def unsent(self, event: Event) -> None:
        """Take the notice that a message was taken back."""
        self._take_back(event["messageId"])

    def _take_back(self, message_id: str) -> None:
        entry = self._ledger.unsent(message_id)
        if entry is None:
            self._broken("a message is said to be taken back that was not")
            return
        if entry.number in self._told_unsent:
            self._broken("a message is said to be taken back twice")
        self._told_unsent.add(entry.number)

    def skipped(self, count: int) -> None:
        """Take the notice that messages expired on the way."""
        self._skipped += count

    def gap(self, event: Event) -> None:
        """Take the notice that messages may have been lost."""
        if not self._ledger.losses or self._ledger.losses[-1] < self._joined_at:
            self._broken("a gap where nothing was lost")
        self.gapped = True
        entries = self._ledger.entries
        self.had |= {one.message.message_id for one in entries if one.number <= self._last and one.lost_at is not None}
        self.cursor = event["since"]

    def typing(self, user_id: str, now: float) -> None:
        """Take the notice that a user is typing."""
        if now - self._typed_at.get(user_id, -TYPING_SECONDS) < TYPING_SECONDS - 1e-6:
            self._broken("typing more than once in 3 s")
        self._typed_at[user_id] = now

    def presence(self, event: Event, now: float) -> None:
        """Take an event about another member."""
        user_id = event["userId"]
        match event["type"]:
            case "member_joined":
                if user_id in self.roster:
                    self._broken("someone joined who was there")
                self.roster[user_id] = event["displayName"]
            case "member_left":
                if self.roster.pop(user_id, None) is None:
                    self._broken("someone left who was not there")
                self.rules.left(event, now)
            case _:
                self.roster[user_id] = event["displayName"]
        if event.get("memberCount", len(self.roster)) != len(self.roster):
            self._broken(f"{event['memberCount']} members, and {len(self.roster)} names")

    # What has to have arrived

    def _candidates(self) -> Sequence[Entry]:
        """Return the messages that are this client's, whatever has become of them."""
        if self._base is not None:
            return self._ledger.after(self._base.number)
        return [
            entry
            for entry in self._ledger.ending_after(self._joined_at)
            if (entry.unsent_at is None or entry.unsent_at > self._joined_at)
            and (entry.lost_at is None or entry.lost_at > self._joined_at)
        ]

    def check(self, now: float, *, complete: bool) -> None:
        """Check that all that was due by `now` has arrived or, unless `complete`, all before the last that arrived."""
        last = self._ledger.entries[-1].number if complete and self._ledger.entries else self._last
        expired = gone = 0
        for entry in self._candidates():
            if entry.number > last or entry.number in self.delivered or entry.number in self.already:
                continue
            if entry.again and (self.gapped or entry.message.message_id in self.had):
                continue
            if entry.lost_at is not None:
                gone += 1  # it may have waited for this client until it expired
                if complete and not self.gapped and entry.lost_at > self._joined_at:
                    self._broken("a message was lost, and no gap said so")
            elif entry.unsent_at is not None or (self._base is None and entry.deadline <= self._welcomed_at):
                gone += 1  # the latter may have expired before the store was asked for it
            elif entry.deadline <= now:
                expired += 1
            else:
                self._broken(f"a live message did not arrive, the {entry.number}th of the room")
        if complete:
            self._check_counts(expired, gone, now)
            self.rules.check(now)

    def _check_counts(self, expired: int, gone: int, now: float) -> None:
        """Check what was said of messages that did not arrive: some have expired, others were taken back or lost."""
        said = (self._missed or 0) + self._skipped
        least = 0 if self.gapped else expired
        if not least <= said <= expired + gone:
            self._broken(f"{said} are said to be missed or skipped, of {expired} that expired and {gone} that are gone")
        if self.gapped:
            return
        for entry in self.delivered.values():
            taken_back = entry.unsent_at is not None and entry.deadline > now and entry.lost_at is None
            if taken_back and entry.number not in self._told_unsent:
                self._broken("nobody said that a message was taken back")
