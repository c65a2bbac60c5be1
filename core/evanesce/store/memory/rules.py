"""The rules of rooms in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evanesce.store.events import MemberMuted, MemberRemoved, RoomEvent, RulesChanged, Voted
from evanesce.store.memory.room import Room, Vote
from evanesce.store.memory.server import MemoryServer
from evanesce.store.message_log import RoomClosed
from evanesce.store.rules import (
    MOST_MUTES,
    VOTE_BAN_SECONDS,
    VOTE_SECONDS,
    Ballot,
    Person,
    Removal,
    RoomRules,
    VoteRefused,
)


class MemoryRules:
    """See `Rules`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def install(
        self, room_id: str, rules: RoomRules, bans: Mapping[str, int], removal: Removal | None = None
    ) -> Sequence[str] | RoomClosed:
        """See `Rules.install`."""

        def act() -> Sequence[str] | RoomClosed:
            room = self._server.room(room_id)
            if room.closed is not None:
                return RoomClosed()
            told: list[RoomEvent] = []
            if rules.version > (0 if room.rules is None else room.rules.version):
                now = self._server.stamp()
                room.rules, room.bans = rules, {subject: until for subject, until in bans.items() if until > now}
                for subject, until in bans.items():
                    if until >= room.voted.get(subject, math.inf) - VOTE_BAN_SECONDS * 1000:
                        del room.voted[subject]
                told.append(RulesChanged(rules))
            if removal is not None:
                room.note_gone(removal.user_id, self._server.stamp())
                told += [MemberRemoved(removal, self._server.stamp()), *room.remove(removal.user_id)]
            room.publish(told)
            return list(room.names)

        return await self._server.ask(act)

    async def version(self, room_id: str) -> int:
        """See `Rules.version`."""

        def act() -> int:
            rules = self._server.room(room_id).rules
            return 0 if rules is None else rules.version

        return await self._server.ask(act)

    async def mute(
        self, room_id: str, user_id: str, seconds: float, subject: str | None = None
    ) -> int | RoomClosed | None:
        """See `Rules.mute`."""

        def act() -> int | RoomClosed | None:
            room = self._server.room(room_id)
            if room.closed is not None:
                return RoomClosed()
            person, now, until = subject or user_id, self._server.stamp(), 0
            known = {room.mutes.get(user_id), room.muted.get(person), room.muted.get(user_id)}
            others = {end for end in room.muted.values() if end not in known and end > now}
            if seconds and len(others) >= MOST_MUTES:
                return None
            for mutes in (room.mutes, room.muted):
                for key in [key for key, end in mutes.items() if end in known or end <= now]:
                    del mutes[key]
            if seconds:
                until = now + round(seconds * 1000)
                while until in room.muted.values():
                    until += 1
                room.mutes[user_id] = room.muted[person] = until
            room.publish([MemberMuted(user_id, until)])
            return until

        return await self._server.ask(act)

    async def mutes(self, room_id: str) -> Mapping[str, int]:
        """See `Rules.mutes`."""
        return await self._server.ask(lambda: self._server.room(room_id).mutes_at(self._server.stamp()))

    async def votes(self, room_id: str) -> Sequence[Ballot]:
        """See `Rules.votes`."""
        return await self._server.ask(lambda: self._server.room(room_id).votes_at(self._server.stamp()))

    async def vote(
        self, room_id: str, voter: Person, person: Person, created_by: str
    ) -> Ballot | VoteRefused | RoomClosed:
        """See `Rules.vote`."""

        def act() -> Ballot | VoteRefused | RoomClosed:
            room = self._server.room(room_id)
            if room.closed is not None:
                return RoomClosed()
            return self._vote(room, voter, person, created_by)

        return await self._server.ask(act)

    def _vote(self, room: Room, voter: Person, person: Person, created_by: str) -> Ballot | VoteRefused:
        now, user_id = self._server.stamp(), person.user_id
        if voter.user_id not in room.names:
            return VoteRefused.NOT_MEMBER
        if user_id == created_by:
            return VoteRefused.CREATOR
        vote = room.votes.get(person.subject)
        if vote is not None and vote.kept_until <= now:
            vote = None
        if room.banned_until(person.subject, now):
            return (
                vote.result if vote is not None and vote.result and voter.subject in vote.voters else VoteRefused.ABSENT
            )
        if vote is not None and vote.result:
            vote = None  # it has ended, and so has its ban
        if user_id not in room.names and vote is None:
            return VoteRefused.ABSENT
        if created_by in room.names:
            return VoteRefused.CREATOR
        if len(room.names) < 3:
            return VoteRefused.TOO_FEW
        if vote is None:
            expires_at = now + VOTE_SECONDS * 1000
            vote = room.votes[person.subject] = Vote(expires_at, expires_at)
        again = voter.subject in vote.voters
        vote.voters[voter.subject] = voter.user_id
        votes = sum(one in room.names for subject, one in vote.voters.items() if subject != person.subject)
        needed = max(2, (len(room.names) - (user_id in room.names)) // 2 + 1)
        until = now + VOTE_BAN_SECONDS * 1000 if votes >= needed else 0
        ballot = Ballot(user_id, votes, needed, vote.expires_at, until)
        vote.last = ballot
        if ballot.removed:
            vote.result, vote.kept_until = ballot, now + VOTE_SECONDS * 1000
            room.voted[person.subject] = until
            room.note_gone(user_id, now)
            removed = MemberRemoved(Removal(user_id, "vote", until), now)
            room.publish([Voted(ballot), removed, *room.remove(user_id)])
        elif not again:
            room.publish([Voted(ballot)])
        return ballot
