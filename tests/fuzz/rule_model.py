"""The rules of one room, as the protocol page says what follows from its commands.

Where a command was not acknowledged, it may have been carried out or not: then there are several possible states, until
a reply tells which one it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.promises.rules import Options

COME_BACK_SECONDS = 60.0
VOTE_SECONDS = 60.0
VOTE_BAN_SECONDS = 3600.0

SLACK_SECONDS = 0.5
"""How exactly the model knows when something ends: a command takes some time."""

CHANGES_A_MINUTE = 20
"""How often the rules of a room, and the votes of a person, are changed in a minute without a refusal."""

NEVER = -math.inf


@dataclass
class InviteModel:
    """An invite. `left` is how many people it still admits, and `expires_at` a time of Trio's clock."""

    secret: str = field(repr=False)
    people: int
    left: int
    expires_at: float
    expires_text: str


@dataclass
class VoteModel:
    """A vote on a member, or the last one. `certain`: every vote that the store has counted is in `voters`."""

    expires_at: float
    voters: set[str] = field(default_factory=set[str])
    certain: bool = True
    removed: bool = False


@dataclass
class RoomModel:
    """The rules of one room. Times are seconds of Trio's clock.

    `options` are the possible ones. `bans` and `mutes` have the possible ends of each person's; those of `unstored` may
    be lost with the memory of the store. `leavers` left on their own will, or were removed.
    """

    creator: str
    options: set[Options]
    admitted: set[str] = field(default_factory=set[str])
    bans: dict[str, set[float]] = field(default_factory=dict[str, set[float]])
    unstored: set[str] = field(default_factory=set[str])
    mutes: dict[str, set[float]] = field(default_factory=dict[str, set[float]])
    invites: dict[str, InviteModel] = field(default_factory=dict[str, InviteModel])
    spent: list[str] = field(default_factory=list[str])
    """The secrets of invites that were revoked."""
    votes: dict[str, VoteModel] = field(default_factory=dict[str, VoteModel])
    leavers: set[str] = field(default_factory=set[str])
    unsure: set[str] = field(default_factory=set[str])
    """Those who may have been removed, by a command that was not acknowledged."""
    changes: list[float] = field(default_factory=list[float])

    # --- what is due ----------------------------------------------------------------------------------------------

    def due_to_join(
        self,
        user_id: str,
        secret: str | None,
        *,
        present: Collection[str],
        left_at: Collection[float],
        full: bool,
        now: float,
    ) -> set[str]:
        """Return what a join may come to. `left_at` are the times at which the user may have lost the connection."""
        due = {"banned"} if True in set(possible(self.bans, user_id, now)) else set[str]()
        if False not in set(possible(self.bans, user_id, now)):
            return due
        if user_id in present:
            return due | {"joined"}
        for options in self.options:
            if options.locked and user_id != self.creator:
                back = set[bool]()
                for at in left_at:
                    back |= over(now, at + COME_BACK_SECONDS)
                comes_back = {not ended for ended in back} if user_id not in self.leavers else {False}
                comes_back |= {False} if user_id in self.unsure or not left_at else set()
                if False in comes_back:
                    due.add("room_locked")
                if True not in comes_back:
                    continue
            if options.access == "invite" and user_id not in (self.creator, *self.admitted):
                due |= {
                    "invite_required"
                    if secret is None
                    else "invite_spent"
                    if not admits
                    else "room_full"
                    if full
                    else "joined"
                    for admits in ([False] if secret is None else self._admits(secret, now))
                }
            else:
                due.add("room_full" if full else "joined")
        return due

    def _admits(self, secret: str, now: float) -> Iterator[bool]:
        for invite in self.invites.values():
            if invite.secret == secret:
                if not invite.left:
                    break
                yield from (not ended for ended in over(now, invite.expires_at))
                return
        yield False

    def is_muted(self, user_id: str, now: float) -> set[bool]:
        """Return whether somebody may be muted, and may be not."""
        return set(possible(self.mutes, user_id, now))

    def is_banned(self, user_id: str, now: float) -> set[bool]:
        """Return whether somebody may be banned, and may be not."""
        return set(possible(self.bans, user_id, now))

    def may_be_too_fast(self, now: float) -> bool:
        """Count a change of the rules; return whether there may have been too many in the last minute."""
        self.changes = [at for at in self.changes if at > now - 60] + [now]
        return len(self.changes) > CHANGES_A_MINUTE - 2

    @property
    def shortest_ttl(self) -> float:
        """The time to live that a message may have in any case."""
        return min(options.message_ttl for options in self.options)

    # --- what was done --------------------------------------------------------------------------------------------

    def change(self, fields: dict[str, Any], *, certain: bool) -> None:
        """Change some options, or, unless `certain`, perhaps."""
        names = {"messageTtl": "message_ttl"}
        changes = {names.get(name, name): value for name, value in fields.items()}
        changed = {options._replace(**changes) for options in self.options}
        self.options = changed if certain else self.options | changed

    def joined(self, user_id: str, options: Options, secret: str | None, present: Collection[str], now: float) -> None:
        """Note that somebody has joined; `present` are those who were there before."""
        self.options = {options}
        self.learn_banned(user_id, False, now)
        self.leavers.discard(user_id)
        self.unsure.discard(user_id)
        if user_id not in present:
            self.admit(user_id, secret)

    def admit(self, user_id: str, secret: str | None) -> None:
        """Admit somebody by an invite, where the room admits only those who are invited."""
        [options] = self.options
        if options.access != "invite" or user_id in (self.creator, *self.admitted):
            return
        for invite in self.invites.values():
            if invite.secret == secret and invite.left:
                invite.left -= 1
                self.admitted.add(user_id)

    def ban(self, user_id: str, until: float, *, certain: bool) -> None:
        """Ban somebody until a time, in place of an earlier ban, or, unless `certain`, perhaps."""
        self.bans[user_id] = {until} if certain else {until} | self.bans.get(user_id, {NEVER})
        if certain:
            self.unstored.discard(user_id)

    def learn_banned(self, user_id: str, banned: bool, now: float) -> None:
        """Note that somebody is banned, or is not."""
        untils = self.bans.get(user_id, {NEVER})
        self.bans[user_id] = {until for until in untils if banned in over_not(now, until)} or untils

    def mute(self, user_id: str, until: float, *, certain: bool) -> None:
        """Mute somebody until a time, or, unless `certain`, perhaps."""
        self.mutes[user_id] = {until} if certain else {until} | self.mutes.get(user_id, {NEVER})

    def removed_by_vote(self, user_id: str, now: float, *, stored: bool) -> None:
        """Note that a vote has removed somebody. Unless `stored`, only the memory of the store has the ban."""
        self.bans[user_id] = {now + VOTE_BAN_SECONDS}
        self.leavers.add(user_id)
        if not stored:
            self.unstored.add(user_id)

    def lose_memory(self) -> None:
        """Forget what is lost with the memory of the store."""
        self.mutes.clear()
        self.votes.clear()
        for user_id in self.unstored:
            self.bans[user_id].add(NEVER)


def over(now: float, end: float) -> set[bool]:
    """Return whether a time has ended: both, right at its end."""
    if abs(now - end) < SLACK_SECONDS:
        return {False, True}
    return {now >= end}


def over_not(now: float, end: float) -> set[bool]:
    """Return whether a time has not ended yet: both, right at its end."""
    return {not ended for ended in over(now, end)}


def possible(untils: dict[str, set[float]], user_id: str, now: float) -> Iterator[bool]:
    """Return whether one of the times of a user has not ended yet, for each that is possible."""
    for until in untils.get(user_id, {NEVER}):
        yield from over_not(now, until)
