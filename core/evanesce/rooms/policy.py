"""The rules of one room as this server knows them: whatever changes them is told to the members here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import trio
from msgspec import UNSET

from evanesce.context import ServerContext
from evanesce.errors import CommandError, ErrorCode, Unavailable
from evanesce.jobs import report_repository_fault
from evanesce.model import Access, Ban, ChatRoom, timestamp
from evanesce.protocol import events
from evanesce.rooms.admissions import Admissions
from evanesce.rooms.membership import Membership
from evanesce.rooms.rule_sync import RuleSync
from evanesce.store.rules import MOST_MUTES, MOST_TOLD, Ballot, RoomRules

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""The delay before the database is asked again for the rules of a room."""

Removed = Callable[[Sequence[Ban]], None]
"""What handles removals. It is passed on and not kept: it belongs to a part that has this one."""

MOST_VOTES = 1_000
"""How many votes of a room have their end announced; each waits in a task of its own."""

EXPIRED = "expired"
REMOVED = "removed"
"""The outcomes of a vote."""


class RoomPolicy:
    """The rules, mutes and votes of one room. Only what is said to be async awaits."""

    def __init__(
        self,
        room: ChatRoom,
        members: Membership,
        sync: RuleSync,
        admissions: Admissions,
        context: ServerContext,
    ) -> None:
        self.rules = sync.rules_of(room)
        """The newest rules that are known."""
        self._room_id = room.room_id
        self._members = members
        self._sync = sync
        self._admissions = admissions
        self._store = context.store
        self._metrics = context.metrics
        self._mutes: dict[str, int] = {}
        self.mutes_told = 0
        """How often the store has told of a mute."""
        self._votes: dict[str, Ballot] = {}  # by the person in question
        self._votes_told = 0
        self._checking = False
        self._check_due = False
        self._nursery: trio.Nursery | None = None

    def confirmed(self, room: ChatRoom) -> None:
        """Take the rules that the database has, before there are members who would have to be told."""
        self.rules = self._sync.rules_of(room)

    def start(self, nursery: trio.Nursery, removed: Removed) -> None:
        """Ask the database, and end votes, in tasks of `nursery`. `removed` handles removals that were missed."""
        self._nursery = nursery
        if self._check_due:
            self.check(removed)

    @property
    def options(self) -> events.RoomOptions:
        """The rules, for the reply to `join`."""
        rules = self.rules
        return events.RoomOptions(
            message_ttl=rules.message_ttl / 1000, access=rules.access, locked=rules.locked, encrypted=rules.encrypted
        )

    # --- rules ----------------------------------------------------------------------------------------------------

    def replace(self, rules: RoomRules, *, confirmed: bool = False) -> None:
        """Take newer rules, and announce them where they differ.

        `confirmed` are those of the database. The store may have those of a server with another configuration.
        """
        old = self.rules
        if rules.version < old.version or (rules.version == old.version and not confirmed):
            return
        self.rules = rules
        if rules.access is Access.INVITE and old.access is Access.LINK and self._nursery is not None:
            self._nursery.start_soon(self._admit_members)
        if (rules.message_ttl, rules.access, rules.locked) != (old.message_ttl, old.access, old.locked):
            changed = events.RoomUpdated(
                room_id=self._room_id,
                message_ttl=rules.message_ttl / 1000,
                access=rules.access,
                locked=rules.locked,
            )
            self._members.announce([changed])

    async def _admit_members(self) -> None:
        """Admit the members here: the store may have forgotten them when the room began to admit only the invited."""
        present = {one.subscriber.user_id for one in self._members.subscriptions if one.welcomed}
        present.discard(self.rules.created_by)
        while present:
            try:
                await self._admissions.admit_members(self._room_id, present)
            except Unavailable:
                await trio.sleep(RETRY_SECONDS)
                continue
            except Exception as error:
                report_repository_fault("admitting the members of a room", error, self._metrics)
            return

    def changed(self, rules: RoomRules, removed: Removed) -> None:
        """Take rules that the store has published, and look for removals: one may have failed to be told with them."""
        self.replace(rules)
        self.check(removed)

    def check(self, removed: Removed) -> None:
        """Ask the database for the rules and removals, and the store for mutes and votes: changes may have been missed.

        `removed` handles the removals.
        """
        self._check_due = True
        if self._nursery is not None and not self._checking:
            self._checking = True
            self._nursery.start_soon(self._check_until_done, removed)

    async def _check_until_done(self, removed: Removed) -> None:
        while self._check_due:
            self._check_due = False
            told = self.mutes_told, self._votes_told
            try:
                synced = await self._sync.check(self._room_id, self.rules)
                mutes = await self._store.rules.mutes(self._room_id)
                votes = await self._store.rules.votes(self._room_id)
            except Unavailable:
                logger.debug("the rules of a room are not known: the database or the store does not answer")
                self._check_due = True
                await trio.sleep(RETRY_SECONDS)
                continue
            except Exception as error:
                report_repository_fault("reading the rules of a room", error, self._metrics)
                break
            if synced is not None:
                self.replace(synced.rules, confirmed=True)
                removed(synced.removals)
            if told == (self.mutes_told, self._votes_told):
                self.replace_mutes(mutes)
                self._replace_votes(votes)
            else:  # the answer may be older than what was told meanwhile
                self._check_due = True
        self._checking = False

    # --- mutes ----------------------------------------------------------------------------------------------------

    def replace_mutes(self, mutes: Mapping[str, int]) -> None:
        """Take the mutes that the store has, and announce those that are new."""
        for user_id in [user_id for user_id in self._mutes if user_id not in mutes]:
            self.mute(user_id, 0)
        for user_id, until in mutes.items():
            self.mute(user_id, until)

    def muted(self, user_id: str, until: int) -> None:
        """Take what the store tells of one user."""
        self.mutes_told += 1
        self.mute(user_id, until)

    def mute(self, user_id: str, until: int) -> None:
        """Note until when a user may not write, and announce it where it is new."""
        now = self._store.clock.now()
        known = self._mutes.get(user_id, 0)
        if until > now:
            self._mutes[user_id] = until
            if len(self._mutes) > MOST_MUTES:
                self._drop_mutes(now)
        else:
            self._mutes.pop(user_id, None)
            until = 0
        if until == known or (not until and known <= now):
            return
        self._members.announce([self._muted(user_id, until)])

    def _muted(self, user_id: str, until: int) -> events.MemberMuted:
        return events.MemberMuted(room_id=self._room_id, user_id=user_id, until=timestamp(until) if until else UNSET)

    def _drop_mutes(self, now: int) -> None:
        """Forget the mutes that have ended, and, where there are still too many, the one that ends first.

        The store refuses messages in any case; there may be more than `MOST_MUTES` accounts of those who are muted.
        """
        self._mutes = {user_id: until for user_id, until in self._mutes.items() if until > now}
        if len(self._mutes) > MOST_MUTES:
            del self._mutes[min(self._mutes, key=self._mutes.__getitem__)]

    def refusal_of(self, user_id: str) -> CommandError | None:
        """Return the refusal of a user who may not write; None where the user may."""
        until = self._mutes.get(user_id)
        if until is None:
            return None
        now = self._store.clock.now()
        if until <= now:
            del self._mutes[user_id]
            return None
        return mute_refusal(until - now)

    # --- votes ----------------------------------------------------------------------------------------------------

    def vote(self, ballot: Ballot) -> None:
        """Take a vote of which the store tells."""
        self._votes_told += 1
        self._vote(ballot)

    def _vote(self, ballot: Ballot) -> None:
        """Announce a vote; when its time is up, announce that too, unless it has removed the person."""
        known = self._votes.get(ballot.user_id)
        self._members.announce([self._told(ballot, REMOVED if ballot.removed else None)])
        if known is None and len(self._votes) >= MOST_VOTES:
            return
        self._votes[ballot.user_id] = ballot
        if self._nursery is not None and (known is None or known.expires_at != ballot.expires_at):
            self._nursery.start_soon(self._end_vote, ballot.user_id, ballot.expires_at)

    def add_votes(self, ballots: Sequence[Ballot]) -> None:
        """Take the votes that run in the store, as far as the events have not told of them."""
        for ballot in ballots:
            if ballot.user_id not in self._votes:
                self._vote(ballot)

    def _replace_votes(self, ballots: Sequence[Ballot]) -> None:
        """Take the votes that the store has, and announce what is new; no removal by an unknown vote: that is over."""
        for ballot in ballots:
            known = self._votes.get(ballot.user_id)
            if known != ballot and (known is not None or not ballot.removed):
                self._vote(ballot)

    async def _end_vote(self, user_id: str, expires_at: int) -> None:
        await trio.sleep(max(0.0, (expires_at - self._store.clock.now()) / 1000))
        ballot = self._votes.get(user_id)
        if ballot is not None and ballot.expires_at == expires_at:
            del self._votes[user_id]
            if not ballot.removed:
                self._members.announce([self._told(ballot, EXPIRED)])

    def _told(self, ballot: Ballot, outcome: str | None = None) -> events.Vote:
        return events.Vote(
            room_id=self._room_id,
            user_id=ballot.user_id,
            votes=ballot.votes,
            needed=ballot.needed,
            expires_at=timestamp(ballot.expires_at),
            outcome=UNSET if outcome is None else outcome,
        )

    # --- those who join -------------------------------------------------------------------------------------------

    def introduction(self, user_id: str) -> list[events.Event]:
        """Return what a user who joins is told after `joined`: the mutes and the votes that run, the latest first.

        At most `MOST_TOLD` of each, and the user's own mute in any case.
        """
        if not (self._mutes or self._votes):  # as in most rooms
            return []
        now = self._store.clock.now()
        others = (one for one in reversed(self._mutes) if self._mutes[one] > now and one != user_id)
        muted = [user_id, *others] if self._mutes.get(user_id, 0) > now else [*others]
        running = [one for one in reversed(self._votes.values()) if not one.removed and one.expires_at > now]
        return [
            *(self._muted(one, self._mutes[one]) for one in muted[:MOST_TOLD]),
            *map(self._told, running[:MOST_TOLD]),
        ]


def mute_refusal(milliseconds: int) -> CommandError:
    """Return the refusal of a user who may not write for some time."""
    return CommandError(
        ErrorCode.MUTED, "The room's creator has muted you.", retry_after=max(0.001, milliseconds / 1000)
    )
