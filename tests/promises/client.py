"""A client of a server in memory that checks, as they arrive, what the protocol promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import msgspec
import trio

from evanesce.errors import ErrorCode
from evanesce.model import milliseconds
from evanesce.protocol.answers import ERRORS, REPLIES
from evanesce.testing.connection import MemoryConnection
from tests.promises.ledger import Entry, Ledger
from tests.promises.membership import Event, MembershipRecord

REPLY_TYPES = {str(kind.__struct_config__.tag): str(reply.__struct_config__.tag) for kind, reply in REPLIES.items()}
"""The reply to each command."""

ERROR_CODES = {str(kind.__struct_config__.tag): {code.value for code in codes} for kind, codes in ERRORS.items()}
"""The codes with which each command may be refused."""

TEMPORARY = ("rate_limited", "banned", "muted")
"""Errors that say when they end."""

FAULTS = ("internal",)
"""Errors that a sound server never answers."""


@dataclass(frozen=True)
class Asked:
    """A command that waits for its reply."""

    type: str
    fields: dict[str, Any]
    at: float
    answered: Callable[[float], None] | None
    """Is called with the time of the reply, where that matters to others."""


class PromiseClient(MemoryConnection):
    """A client at the other end of a connection in memory. What breaks a promise is added to `broken`.
    `trace` is called with the client's name and each frame that arrives.

    `name` tells clients apart. With `history`, nothing else happens while this client asks: what `joined` says has to
    be exact, with so many messages.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        broken: list[str],
        *,
        history: int | None = None,
        trace: Callable[[str, bytes], None] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.user_id = ""
        self.token: str | None = None
        self.credential: dict[str, str] = {}
        """What it signed in with, for whoever comes back after it."""
        self.signed_in_at = 0.0
        """When it was welcomed, in seconds of Trio's clock."""
        self.rooms: dict[str, MembershipRecord] = {}
        """The rooms that it is in."""
        self.cursors: dict[str, str] = {}
        """The last cursor of each room that it was in."""
        self.gone = False
        """Whether it has closed its end: it hears nothing any more."""
        self.removals = 0
        """How often it was removed from a room."""
        self.received = 0
        """How many messages arrived."""
        self.expects_errors = False
        """Whether an error that answers no command of `command` is due, and added to `errors`."""
        self.errors: list[Event] = []
        self._ledger = ledger
        self._broken = broken
        self._history = history
        self._trace = trace
        self._refs = count()
        self._asked: dict[int, Asked] = {}
        self._replies: dict[int, Event] = {}
        self._arrived = trio.lowlevel.ParkingLot()
        self._late = False  # what arrives has waited while nothing was read

    # Its own acts

    def command(self, type: str, **fields: Any) -> int:
        """Send a command; return its `ref`."""
        ref, now = next(self._refs), trio.current_time()
        answered = None
        if type == "remove_member" and fields["roomId"] in self._ledger.ledgers:
            answered = self._ledger.ledger(fields["roomId"]).rules.ask_removal(fields["userId"], now)
        self._asked[ref] = Asked(type, fields, now, answered)
        self.say(type, ref=ref, **{key: value for key, value in fields.items() if value is not None})
        return ref

    async def answer_to(self, ref: int) -> Event | None:
        """Wait for the reply to a command; None where the connection ends before it."""
        while ref not in self._replies and self.open:
            await self._arrived.park()
        return self.reply(ref)

    def take(self, frames: int | None = None) -> None:
        """See `MemoryConnection.take`."""
        self._late = True
        super().take(frames)
        self._late = False

    async def ended(self) -> None:
        """Wait until the connection has ended."""
        while self.open:
            await self._arrived.park()

    def reply(self, ref: int) -> Event | None:
        """Return the reply to a command, and forget it; None where there is none yet."""
        return self._replies.pop(ref, None)

    @property
    def unanswered(self) -> list[str]:
        """The types of the commands that have no reply yet."""
        return [asked.type for asked in self._asked.values()]

    @property
    def open(self) -> bool:
        """Whether neither end has closed the connection."""
        return self.closed is None and not self.gone

    def hang_up(self) -> None:
        """Close this end."""
        self.gone = True
        self.leave()
        self._end()

    # What arrives

    async def close(self, code: int, reason: str, goodbye: Any = None) -> None:
        """See `Connection.close`."""
        await super().close(code, reason, goodbye)
        self._end()

    def _end(self) -> None:
        for room_id in list(self.rooms):
            self._leave(room_id)
        self._arrived.unpark_all()

    def _leave(self, room_id: str) -> None:
        record = self.rooms.pop(room_id)
        record.check(trio.current_time(), complete=False)
        self.cursors[room_id] = record.cursor

    def _deliver(self, wire: bytes) -> None:
        if self._trace is not None:
            self._trace(self.name, wire)
        if self.open:
            for event in msgspec.json.decode(wire):
                self._hear(event)
            self._arrived.unpark_all()

    def _break(self, what: str) -> None:
        self._broken.append(f"{self.name} at {trio.current_time():.3f}: {what}")

    def _hear(self, event: Event) -> None:
        ref = event.get("ref")
        if event["type"] == "error" and ref not in self._asked and self.expects_errors:
            self.errors.append(event)
            return
        if ref is not None:
            self._answer(ref, event)
            return
        record = self.rooms.get(event.get("roomId", ""))
        now = trio.current_time()
        match event["type"]:
            case "goodbye":
                return
            case "error":
                self._break(f"an error without ref: {event}")
            case type if record is None:
                self._break(f"{type} of a room that it is not in")
            case "message":
                self.received += 1
                record.message(event, now)
            case "unsent":
                record.unsent(event)
            case "skipped":
                record.skipped(event["count"])
            case "gap":
                record.gap(event)
            case "typing":
                if event["userId"] == self.user_id:
                    self._break("its own typing")
                if not self._late:
                    record.typing(event["userId"], now)
            case "room_closed":
                self._leave(event["roomId"])
            case "member_joined" | "member_left" | "member_updated":
                record.presence(event, now)
            case "room_updated":
                record.rules.updated(event)
            case "member_muted":
                record.rules.muted(event, late=self._late)
            case "vote":
                record.rules.vote(event, now)
            case "removed":
                record.rules.removed(event)
                self.removals += 1
                self._leave(event["roomId"])
            case type:
                self._break(f"an unknown event {type}")

    def _answer(self, ref: int, event: Event) -> None:
        asked = self._asked.pop(ref, None)
        if asked is None:
            self._break(f"a reply that nobody waits for: {event['type']}")
            return
        self._replies[ref] = event
        if asked.answered is not None:
            asked.answered(trio.current_time())
        room_id = asked.fields.get("roomId", "")
        if event["type"] == "error":
            self._refused(asked, event)
        elif event["type"] != REPLY_TYPES[asked.type]:
            self._break(f"{event['type']} in reply to {asked.type}")
        elif event["type"] == "welcome":
            self.user_id = event["userId"]
            self.token = event.get("token", self.token)
            self.signed_in_at = trio.current_time()
        elif event["type"] == "joined":
            self._joined(asked, event)
        elif event["type"] == "left" and room_id in self.rooms:
            self._leave(room_id)
        elif event["type"] == "sent":
            self._sent(asked, event)

    def _refused(self, asked: Asked, event: Event) -> None:
        code = event["code"]
        if code not in ERROR_CODES[asked.type]:
            self._break(f"{asked.type} is never refused with {code}")
        elif code in FAULTS or code not in {known.value for known in ErrorCode}:
            self._break(f"{asked.type} failed: {code}")
        elif event["retry"] != ErrorCode(code).retry:
            self._break(f"{code} with retry {event['retry']}")
        elif ("retryAfter" in event) != (code in TEMPORARY):
            self._break(f"{code} with or without retryAfter")

    def _joined(self, asked: Asked, event: Event) -> None:
        room_id = event["roomId"]
        before = self.rooms.get(room_id)
        now = trio.current_time()
        already, had = dict[int, Entry](), set[str]()
        if before is not None:
            before.check(now, complete=False)
            had = before.had
            if before.gapped and asked.fields.get("since"):
                already = before.already | before.delivered
        record = self.rooms[room_id] = MembershipRecord(self._ledger.ledger(room_id), self._break, already, had)
        self.received += len(event["messages"])
        record.joined(
            event,
            asked.fields.get("since"),
            user_id=self.user_id,
            asked_at=asked.at,
            now=now,
            milliseconds=self._ledger.now(),
            most=self._history,
            late=self._late,
        )

    def _sent(self, asked: Asked, event: Event) -> None:
        entry = self._ledger.ledger(event["roomId"]).newest.get(event["messageId"])
        if entry is None:
            self._break("a message was acknowledged that was never stored")
            return
        message = entry.message
        if (message.sender_id, message.created_at, message.expires_at) != (
            self.user_id,
            event["createdAt"],
            event["expiresAt"],
        ):
            self._break("a message was acknowledged with other values than it was stored with")
        if event["duplicate"]:
            return
        if (message.content, message.reply_to) != (asked.fields["content"], asked.fields.get("replyTo")):
            self._break("a message was stored with other content than it was sent with")
        lives = milliseconds(message.expires_at) - milliseconds(message.created_at)
        if lives != min(entry.ttl, 1000 * (asked.fields.get("ttl") or math.inf)):
            self._break(f"a message lives for {lives} ms, of {entry.ttl} ms in this room")
