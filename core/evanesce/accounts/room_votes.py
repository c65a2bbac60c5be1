"""The votes of members on the removal of another member. The store counts them, and removes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection

from evanesce.accounts.owned_rooms import VOTE, OwnedRooms, RoomLimit
from evanesce.accounts.service import AccountService, Principal
from evanesce.accounts.vote_bans import VoteBans
from evanesce.context import ServerContext
from evanesce.errors import BadRequest, CommandError, ErrorCode
from evanesce.model import Ban, User, timestamp
from evanesce.protocol import commands, events
from evanesce.rooms.requests import not_member, room_not_found
from evanesce.store.message_log import RoomClosed
from evanesce.store.rules import VOTE_BAN_SECONDS, Ballot, Person, VoteRefused
from evanesce.subjects import Subjects

VOTES_A_MINUTE = 20
"""How often a person may vote in a room in a minute, over all servers: votes are told to all members."""

MOST_OBSERVED = 10_000
"""How many removals by votes are remembered, so that observers are told once where voters ask again."""


class VoteService:
    """The command `vote_remove`. It raises `CommandError` when it refuses the command.

    `providers` are the names of the ways to sign in.
    """

    def __init__(
        self,
        context: ServerContext,
        *,
        accounts: AccountService,
        rooms: OwnedRooms,
        bans: VoteBans,
        subjects: Subjects,
        providers: Collection[str],
        clock: Callable[[], float],
    ) -> None:
        self._store = context.store
        self._accounts = accounts
        self._rooms = rooms
        self._bans = bans
        self._subjects = subjects
        self._guests_vote = context.config.rooms.guests_vote or set(providers) == {"guest"}
        self._limit = RoomLimit("votes", VOTES_A_MINUTE, context.store.rate_limits, clock)
        self._observed: OrderedDict[tuple[str, str], int] = OrderedDict()  # the ends of bans, by room and subject

    async def vote_remove(self, command: commands.VoteRemove, principal: Principal) -> events.Reply:
        """Vote for the removal of a member. The store counts, and removes."""
        room = await self._accounts.room(command.room_id)
        voter = principal.user
        if voter.guest and not self._guests_vote:
            raise CommandError(ErrorCode.FORBIDDEN, "Guests may not vote: one person can be many guests.")
        if command.user_id == voter.user_id:
            raise BadRequest("userId", "Leave the room, rather than vote for your own removal.")
        user = await self._rooms.known_user(command.user_id)
        await self._limit.take(room.room_id, voter.user_id)
        subject = self._subjects.of(user.world_id)
        ballot = await self._store.rules.vote(
            room.room_id,
            Person(voter.user_id, self._subjects.of(voter.world_id)),
            Person(user.user_id, subject),
            room.created_by,
        )
        if isinstance(ballot, RoomClosed):
            raise room_not_found()
        if isinstance(ballot, VoteRefused):
            raise _vote_refused(ballot)
        if ballot.removed:
            self._removed_by_vote(room.room_id, user, subject, ballot.until)
        return _vote_reply(room.room_id, ballot, command.ref)

    def _removed_by_vote(self, room_id: str, user: User, subject: str, until: int) -> None:
        """Queue the ban, which the store has already, for the database.

        Each voter who asks again hears of the removal for a minute, and then the same ban is queued again: the answer
        to the one whose vote decided may have been lost with their server.
        """
        ban = Ban(
            room_id=room_id,
            subject=subject,
            user_id=user.user_id,
            display_name=user.display_name,
            reason=VOTE,
            since=timestamp(until - VOTE_BAN_SECONDS * 1000),
            until=timestamp(until),
        )
        self._bans.store_soon(ban)
        if self._observed.get((room_id, subject)) != until:
            self._observed[room_id, subject] = until
            if len(self._observed) > MOST_OBSERVED:
                self._observed.popitem(last=False)
            self._rooms.observe_removal(ban, banned=True)


def _vote_refused(refused: VoteRefused) -> CommandError:
    match refused:
        case VoteRefused.NOT_MEMBER:
            return not_member()
        case VoteRefused.ABSENT:
            return BadRequest("userId", "This person is not in the room.")
        case VoteRefused.CREATOR:
            message = "While the creator of the room is present, members do not vote, and never on the creator."
            return CommandError(ErrorCode.FORBIDDEN, message)
        case VoteRefused.TOO_FEW:
            return CommandError(ErrorCode.FORBIDDEN, "A vote needs at least three people in the room.")


def _vote_reply(room_id: str, ballot: Ballot, ref: commands.Ref | None) -> events.VoteReply:
    return events.VoteReply(
        ref=ref,
        room_id=room_id,
        user_id=ballot.user_id,
        votes=ballot.votes,
        needed=ballot.needed,
        expires_at=timestamp(ballot.expires_at),
    )
