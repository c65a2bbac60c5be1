"""What the store did with the rules of a room, and what one member is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evanesce.model import milliseconds
from evanesce.store.events import Joined, Left, MemberMuted, MemberRemoved, RoomEvent, RulesChanged, Voted
from evanesce.store.rules import Ballot

Event = dict[str, Any]
Broken = Callable[[str], None]
"""A function that notes a promise that was broken."""

EXPIRY_SECONDS = 1.0
"""How late the end of a vote may be told."""


class Options(NamedTuple):
    """The options of a room. `message_ttl` is in seconds."""

    message_ttl: float
    access: str = "link"
    locked: bool = False

    @classmethod
    def of(cls, told: Event) -> Options:
        """Return the options that an event or a reply names."""
        return cls(told["messageTtl"], told["access"], told["locked"])


class Happened(NamedTuple):
    """A removal in the store: when, in seconds of Trio's clock, and after which entry of the room's log."""

    at: float
    number: int
    reason: str
    until: int


class Mute(NamedTuple):
    """A mute in the store: until when, in milliseconds of its clock, and when it began, in seconds of Trio's."""

    until: int
    at: float


class Counted(NamedTuple):
    """A vote that the store has counted: when, and when its time ends, in seconds of Trio's clock."""

    ballot: Ballot
    at: float
    deadline: float


@dataclass
class _Asked:
    """A removal that a client has asked for: between two times of Trio's clock it was done, if it was done."""

    begin: float
    end: float = math.inf


@dataclass
class RuleLedger:
    """What the store did with the rules of one room, in order.

    `options` are those that the room has had, each different from the one before it. `now` returns the time of the
    store's clock.
    """

    options: list[Options]
    now: Callable[[], int]
    mutes: dict[str, Mute] = field(default_factory=dict[str, Mute])
    votes: list[Counted] = field(default_factory=list[Counted])
    removals: dict[str, list[Happened]] = field(default_factory=dict[str, list[Happened]])
    left_at: dict[str, float] = field(default_factory=dict[str, float])
    """When each user left last, in seconds of Trio's clock."""
    clock_set_at: float = -math.inf
    """When the store's clock was set last, in seconds of Trio's clock."""
    _version: int = 0
    _muted: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    _leaving: set[str] = field(default_factory=set[str])
    _left_removed: dict[str, float] = field(default_factory=dict[str, float])
    _asked: dict[str, list[_Asked]] = field(default_factory=dict[str, list[_Asked]])

    @property
    def ttl(self) -> int:
        """How long a message of the room lives, in milliseconds, unless its sender wants it to live shorter."""
        return round(self.options[-1].message_ttl * 1000)

    def take(self, event: RoomEvent, number: int, now: float, deadline: Callable[[int], float]) -> None:
        """Take an event of the store that came after the entry `number`. `deadline` converts a time of its clock."""
        match event:
            case RulesChanged(rules) if rules.version > self._version:
                self._version = rules.version
                options = Options(rules.message_ttl / 1000, rules.access, rules.locked)
                if options != self.options[-1]:
                    self.options.append(options)
            case MemberMuted(user_id, until):
                self.mutes[user_id] = Mute(until, now)
                self._muted.add((user_id, until))
            case Voted(ballot):
                self.votes.append(Counted(ballot, now, deadline(ballot.expires_at)))
            case MemberRemoved(removal):
                happened = Happened(now, number, removal.reason, removal.until)
                self.removals.setdefault(removal.user_id, []).append(happened)
                self._leaving.add(removal.user_id)
            case Joined(person):
                self._leaving.discard(person.user_id)
            case Left(user_id):
                self.left_at[user_id] = now
                if user_id in self._leaving:
                    self._left_removed[user_id] = now
            case _:
                pass

    def lose(self) -> None:
        """Forget what only the store has."""
        self.mutes.clear()

    def is_muted(self, user_id: str) -> bool:
        """Return whether a user may not write now."""
        return user_id in self.mutes and self.mutes[user_id].until > self.now()

    def ask_removal(self, user_id: str, now: float) -> Callable[[float], None]:
        """Note that a client asks for a removal. Call what this returns with the time of the reply."""
        asked = _Asked(now)
        self._asked.setdefault(user_id, []).append(asked)

        def answered(at: float) -> None:
            asked.end = at

        return answered

    def may_be_removed(self, user_id: str, since: float, reason: str) -> bool:
        """Return whether a user who joined at `since` may have been removed for this reason."""
        if reason == "creator":
            return any(asked.end >= since for asked in self._asked.get(user_id, ()))
        return any(removal.at >= since and removal.reason == reason for removal in self.removals.get(user_id, ()))

    def was_muted(self, user_id: str, until: int) -> bool:
        """Return whether a user was ever muted until this time of the store's clock."""
        return (user_id, until) in self._muted

    def left_removed(self, user_id: str, now: float) -> bool:
        """Return whether a user leaves at this moment because of a removal that the store knows."""
        return self._left_removed.get(user_id) == now


def _as_told(ballot: Ballot) -> tuple[str, int, int, int, bool]:
    """Return what the notice of a vote says of it, but for the end of the ban, of which another one tells."""
    return ballot.user_id, ballot.votes, ballot.needed, ballot.expires_at, ballot.removed


class RuleRecord:
    """What one connection is told of the rules of a room, from `joined` on."""

    def __init__(self, ledger: RuleLedger, broken: Broken) -> None:
        self._ledger = ledger
        self._broken = broken
        self._user_id = ""
        self._since = 0.0
        self.options = ledger.options[-1]
        self._places: set[int] = set()  # of `options` in the ledger: several where they were the same before
        self._votes: int | None = 0  # how many of the ledger's have been told, or were before; None: not known
        self._open_votes: dict[str, Counted] = {}
        self._running: dict[str, Counted] = {}
        self._mutes: dict[str, int] = {}

    def joined(self, event: Event, user_id: str, now: float, *, late: bool) -> None:
        """Begin with a `joined`. It may be `late`: it has waited for this client to read."""
        self._user_id, self._since = user_id, now
        self.options = Options.of(event["room"])
        last = len(self._ledger.options) - 1
        places = range(last + 1) if late else [last]
        self._places = {place for place in places if self._ledger.options[place] == self.options}
        if not self._places:
            self._broken("joined names other rules than the room has")
        self._votes = None if late else len(self._ledger.votes)
        # Who joins is told of those that run, unless this connection was in the room already.
        self._running = {counted.ballot.user_id: counted for counted in self._ledger.votes}

    def updated(self, event: Event) -> None:
        """Take the notice of a change: the members are told each one, in the order of the store."""
        told, options = Options.of(event), self._ledger.options
        self._places = {place + 1 for place in self._places if options[place + 1 : place + 2] == [told]}
        if not self._places:
            self._broken(f"the rules are said to change from {self.options} to {told}")
        self.options = told

    def muted(self, event: Event, *, late: bool) -> None:
        """Take the notice that somebody may not write, or may write again."""
        user_id = event["userId"]
        if "until" not in event:
            self._mutes.pop(user_id, None)
            if not late and self._ledger.is_muted(user_id):
                self._broken("somebody is said to be muted no more who is")
            return
        until = milliseconds(event["until"])
        if not self._ledger.was_muted(user_id, until):
            self._broken("somebody is said to be muted who is not")
        if self._mutes.get(user_id) == until and self._ledger.clock_set_at < self._since:
            self._broken("a mute is told twice")
        self._mutes[user_id] = until

    def vote(self, event: Event, now: float) -> None:
        """Take the notice of a vote, or of its end."""
        user_id, outcome = event["userId"], event.get("outcome")
        told = (user_id, event["votes"], event["needed"], milliseconds(event["expiresAt"]), outcome == "removed")
        if outcome == "expired":
            counted = next((one for one in reversed(self._ledger.votes) if one.ballot.user_id == user_id), None)
            if counted is None or _as_told(counted.ballot) != told:
                self._broken("a vote is said to have ended that there was not")
            elif counted.deadline > now + 0.002 and self._ledger.clock_set_at < counted.at:
                self._broken("a vote is said to have ended before its time")
            self._open_votes.pop(user_id, None)
            return
        if self._votes is None:
            return
        due = self._ledger.votes[self._votes : self._votes + 1]
        is_due = [_as_told(counted.ballot) for counted in due] == [told]
        before = self._running.pop(user_id, None)
        if not is_due and before is not None and _as_told(before.ballot) == told and outcome is None:
            if before.deadline < now - 0.002 and self._ledger.clock_set_at < before.at:
                self._broken("somebody who joined was told of a vote that has ended")
            self._open_votes[user_id] = before
            return
        self._votes += 1
        if not is_due:
            self._broken("a vote differs from what was counted")
            return
        self._open_votes.pop(user_id, None)
        if outcome != "removed":
            self._open_votes[user_id] = due[0]

    def removed(self, event: Event) -> None:
        """Take the notice that this user was removed."""
        if not self._ledger.may_be_removed(self._user_id, self._since, event["reason"]):
            self._broken("somebody was removed without a reason")

    def left(self, event: Event, now: float) -> None:
        """Take the notice that a member left."""
        removed = event.get("removed", False)
        if self._ledger.left_removed(event["userId"], now) and not removed:
            self._broken("nobody said that a member was removed")
        if removed and not any(
            self._ledger.may_be_removed(event["userId"], -math.inf, why) for why in ("creator", "vote")
        ):
            self._broken("a member is said to have been removed who was not")

    def may_hear(self, number: int) -> bool:
        """Return whether an entry of the log may be delivered: nothing that was stored after this user was removed."""
        removals = self._ledger.removals.get(self._user_id, ())
        return not any(removal.at > self._since and number > removal.number for removal in removals)

    def check(self, now: float) -> None:
        """Check that everything has been told that was due."""
        last = len(self._ledger.options) - 1
        if last not in self._places:
            self._broken(f"the rules are {self._ledger.options[last]}, and {self.options} was told")
        for user_id, mute in self._ledger.mutes.items():
            if mute.at > self._since and self._ledger.is_muted(user_id) and self._mutes.get(user_id) != mute.until:
                self._broken("nobody said that a member is muted")
        for user_id, until in self._mutes.items():
            ended_once = self._ledger.clock_set_at >= self._since  # perhaps, by a clock that was set back since
            if until > self._ledger.now() and not self._ledger.is_muted(user_id) and not ended_once:
                self._broken("nobody said that a member is muted no more")
        if self._votes is not None and self._votes < len(self._ledger.votes):
            self._broken("a vote was not told")
        for counted in self._open_votes.values():
            if counted.deadline + EXPIRY_SECONDS < now and self._ledger.clock_set_at < counted.at:
                self._broken("nobody said that a vote has ended")
