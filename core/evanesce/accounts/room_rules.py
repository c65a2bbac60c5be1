"""The rules of rooms: their options, invites, removals, bans, mutes and votes.

A change goes to the database first. Then the store gets a copy of the room's rules, by which it decides about joins,
messages and votes, and tells all members. Where the store fails, the client may repeat the command, and `RuleSync`
installs the copy later in any case.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec
import trio
from msgspec import UNSET

from evanesce.accounts.cache import AccountCache
from evanesce.accounts.service import AccountService, Principal
from evanesce.config.public import deep_link_base
from evanesce.context import ServerContext
from evanesce.errors import (
    BadRequest,
    CommandError,
    ErrorCode,
    PersistenceUnavailable,
    RateLimited,
    Unavailable,
)
from evanesce.jobs import report_repository_fault
from evanesce.limits.budgets import TOO_FAST
from evanesce.limits.distributed import DistributedRateLimit
from evanesce.model import Access, Ban, ChatRoom, Invite, Timestamp, User, milliseconds, new_id, timestamp
from evanesce.protocol import commands, events
from evanesce.protocol.codec import FRAME_BYTES
from evanesce.rooms.admissions import MOST_ADMITTED, secret_hash
from evanesce.rooms.requests import not_member, room_not_found
from evanesce.rooms.rule_sync import RuleSync, SyncedRules
from evanesce.store.message_log import RoomClosed
from evanesce.store.rules import VOTE_BAN_SECONDS, Ballot, Removal, VoteRefused
from evanesce.subjects import Subjects

logger = logging.getLogger(__name__)

MOST_INVITES = 100
"""How many live invites a room has."""

MOST_BANS = 10_000
"""How many bans a room has that have not ended."""

CHANGES_A_MINUTE = 20
"""How often the rules of a room may change in a minute, over all servers; as often at once."""

VOTES_A_MINUTE = 20
"""How often a person may vote in a room in a minute, over all servers: votes are told to all members."""

UPDATE_ATTEMPTS = 8
"""How often a change of a room's options is tried where another server changes its rules at the same time."""

SECRET_BYTES = 16
"""The length of an invite's secret. It cannot be guessed, so nothing but its hash is stored."""

BANS_BYTES = FRAME_BYTES - 1_024
"""The most bytes of JSON that the bans in one reply have: with the rest of the reply, they fit into one frame."""

MOST_UNSTORED_BANS = 10_000
"""How many bans by votes may wait for the database; further ones are in the store alone, which holds them too."""

MOST_OBSERVED = 10_000
"""How many removals by votes are remembered, so that observers are told once where voters ask again."""

RETRY_SECONDS = 1.0
"""The delay before the database is asked again to store the bans of votes."""

CREATOR, VOTE = "creator", "vote"
"""The reasons of a removal."""


class RuleService:
    """The commands about the rules of rooms. Every method raises `CommandError` when it refuses the command.

    `providers` are the names of the ways to sign in. `run` must run beside it.
    """

    def __init__(
        self,
        context: ServerContext,
        *,
        accounts: AccountService,
        cache: AccountCache,
        rule_sync: RuleSync,
        subjects: Subjects,
        providers: Collection[str],
        clock: Callable[[], float],
    ) -> None:
        self._repository = context.repository
        self._store = context.store
        self._plugins = context.plugins
        self._metrics = context.metrics
        self._accounts = accounts
        self._cache = cache
        self._rule_sync = rule_sync
        self._subjects = subjects
        self._link_base = deep_link_base(context.config)
        self._guests_vote = context.config.rooms.guests_vote or set(providers) == {"guest"}
        shared = context.store.rate_limits

        def limit(name: str, a_minute: int) -> DistributedRateLimit:
            return DistributedRateLimit(name, a_minute / 60, a_minute, shared, clock)

        self._changes = limit("rule_changes", CHANGES_A_MINUTE)
        # Invites change nothing that members see, but each is a row: a creator may replace all of them in a minute.
        self._invites = limit("invites", MOST_INVITES)
        self._votes = limit("votes", VOTES_A_MINUTE)
        self._unstored: OrderedDict[tuple[str, str], Ban] = OrderedDict()  # by room and subject
        self._observed: OrderedDict[tuple[str, str], int] = OrderedDict()  # the ends of bans by votes, in the same way
        self._work = trio.Event()

    # --- options --------------------------------------------------------------------------------------------------

    async def update_room(self, command: commands.UpdateRoom, principal: Principal) -> events.Reply:
        """Change the options of a room."""
        room = await self._own_room(command.room_id, principal)
        if command.message_ttl is not UNSET:
            self._accounts.check_message_ttl(command.message_ttl)
        await _take(self._changes, room.room_id)
        # Who is in the room stays admitted. Those who are here now must be able to come back as soon as the change is
        # made; those who join until the store has it are only known afterwards.
        admits_members = command.access is Access.INVITE
        if admits_members:
            present = await self._store.presence.snapshot(room.room_id, MOST_ADMITTED)
            await self._admit(room, [member.user_id for member in present.members or ()])
        room = await self._change(room.room_id, command)
        synced = await self._sync(room.room_id)
        if admits_members:
            await self._admit(room, synced.user_ids)
        return self._accounts.room_reply(room, len(synced.user_ids), command.ref)

    async def _change(self, room_id: str, command: commands.UpdateRoom) -> ChatRoom:
        """Store the options; another server may change the rules at the same time."""
        for _ in range(UPDATE_ATTEMPTS):
            mark = self._cache.mark()
            current = await self._repository.room(room_id)  # not from the cache: what is old must not be compared
            if current is None:
                raise room_not_found()
            wanted = msgspec.structs.replace(
                current,
                message_ttl=current.message_ttl if command.message_ttl is UNSET else command.message_ttl,
                access=current.access if command.access is UNSET else command.access,
                locked=current.locked if command.locked is UNSET else command.locked,
            )
            changed = current if wanted == current else await self._repository.update_room(wanted)
            if changed is not None:
                self._cache.keep_room(changed, mark)
                return changed
        raise PersistenceUnavailable("The rules of this room are being changed. Try again in a moment.")

    async def _admit(self, room: ChatRoom, user_ids: Iterable[str]) -> None:
        others = [user_id for user_id in user_ids if user_id != room.created_by]
        if others:
            now = timestamp(self._store.clock.now())
            await self._repository.admit_members(room.room_id, others, now, MOST_ADMITTED)

    # --- invites --------------------------------------------------------------------------------------------------

    async def invite(self, command: commands.CreateInvite, principal: Principal) -> events.Reply:
        """Create an invite. Its secret is only in the reply."""
        room_id = (await self._own_room(command.room_id, principal)).room_id
        await _take(self._invites, room_id)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = self._store.clock.now()
        invite = Invite(
            invite_id=new_id(),
            room_id=room_id,
            secret_hash=secret_hash(secret),
            people=command.people,
            created_at=timestamp(now),
            expires_at=timestamp(now + round(command.seconds * 1000)),
        )
        if not await self._repository.create_invite(invite, MOST_INVITES):
            raise await self._full(room_id, f"This room has {MOST_INVITES} invites. Revoke one of them.")
        self._plugins.observe(
            "evanesce_invite_created",
            room_id=room_id,
            invite_id=invite.invite_id,
            people=invite.people,
            expires_at=invite.expires_at,
        )
        return events.InviteReply(
            ref=command.ref,
            room_id=room_id,
            invite_id=invite.invite_id,
            link=f"{self._link_base}{room_id}#invite={secret}",
            people=invite.people,
            left=invite.people,
            expires_at=invite.expires_at,
        )

    async def invites(self, command: commands.ListInvites, principal: Principal) -> events.Reply:
        """List the live invites of a room."""
        room_id = (await self._own_room(command.room_id, principal)).room_id
        live = await self._repository.invites(room_id, timestamp(self._store.clock.now()))
        return events.InvitesReply(
            ref=command.ref,
            room_id=room_id,
            invites=[
                events.InviteInfo(
                    room_id=room_id,
                    invite_id=invite.invite_id,
                    people=invite.people,
                    left=invite.people - invite.used,
                    expires_at=invite.expires_at,
                )
                for invite in live
            ],
        )

    async def revoke_invite(self, command: commands.RevokeInvite, principal: Principal) -> events.Reply:
        """Revoke an invite. One that is not live, and one that never was, changes nothing."""
        room_id = (await self._own_room(command.room_id, principal)).room_id
        await _take(self._invites, room_id)
        await self._repository.revoke_invite(room_id, command.invite_id, timestamp(self._store.clock.now()))
        return events.Ok(ref=command.ref)

    # --- removals and bans ----------------------------------------------------------------------------------------

    async def remove_member(self, command: commands.RemoveMember, principal: Principal) -> events.Reply:
        """Remove a person, and ban them where `ban_seconds` is above 0: in place of the ban that they have."""
        room_id = (await self._own_room(command.room_id, principal)).room_id
        if command.user_id == principal.user.user_id:
            raise BadRequest("userId", "The creator of a room cannot be removed from it.")
        user = await self._known_user(command.user_id)
        await _take(self._changes, room_id)
        now = self._store.clock.now()
        until = now + round(command.ban_seconds * 1000)
        ban = Ban(
            room_id=room_id,
            subject=self._subjects.of(user.world_id),
            user_id=user.user_id,
            display_name=user.display_name,
            reason=CREATOR,
            since=timestamp(now),
            until=timestamp(until),
        )
        if await self._repository.ban(ban, MOST_BANS) is None:
            raise await self._full(room_id, f"This room has {MOST_BANS} bans. End one of them.")
        self._unstored.pop((room_id, ban.subject), None)
        await self._sync(room_id, Removal(user.user_id, CREATOR, until if until > now else 0))
        self._observe_removal(ban)
        return events.Ok(ref=command.ref)

    async def bans(self, command: commands.ListBans, principal: Principal) -> events.Reply:
        """List the bans of a room, the newest first, as many as fit into one frame."""
        room_id = (await self._own_room(command.room_id, principal)).room_id
        now = timestamp(self._store.clock.now())
        live = [ban for ban in await self._repository.bans(room_id, now) if ban.until > now]
        return events.BansReply(ref=command.ref, room_id=room_id, bans=_fitting(live))

    async def unban(self, command: commands.Unban, principal: Principal) -> events.Reply:
        """End the ban of a person. For somebody who is not banned it changes nothing."""
        room_id = (await self._own_room(command.room_id, principal)).room_id
        user = await self._repository.user(command.user_id)
        subject = _listed_subject(command.user_id) if user is None else self._subjects.of(user.world_id)
        await _take(self._changes, room_id)
        self._unstored.pop((room_id, subject), None)
        # Also where the database has no ban: the store may have that of a vote, which this server knows nothing about.
        await self._repository.unban(room_id, subject, timestamp(self._store.clock.now()))
        await self._sync(room_id)
        return events.Ok(ref=command.ref)

    # --- mutes ----------------------------------------------------------------------------------------------------

    async def mute(self, command: commands.Mute, principal: Principal) -> events.Reply:
        """Forbid a person to write for some time. Only the store has mutes: it needs no database."""
        room_id = (await self._own_room(command.room_id, principal)).room_id
        if command.user_id == principal.user.user_id:
            raise BadRequest("userId", "The creator of a room cannot be muted in it.")
        await _take(self._changes, room_id)
        if isinstance(await self._store.rules.mute(room_id, command.user_id, command.seconds), RoomClosed):
            raise room_not_found()
        return events.Ok(ref=command.ref)

    # --- votes ----------------------------------------------------------------------------------------------------

    async def vote_remove(self, command: commands.VoteRemove, principal: Principal) -> events.Reply:
        """Vote for the removal of a member. The store counts, and removes."""
        room = await self._accounts.room(command.room_id)
        voter = principal.user
        if voter.guest and not self._guests_vote:
            raise CommandError(ErrorCode.FORBIDDEN, "Guests may not vote: one person can be many guests.")
        if command.user_id == voter.user_id:
            raise BadRequest("userId", "Leave the room, rather than vote for your own removal.")
        user = await self._known_user(command.user_id)
        await _take(self._votes, f"{room.room_id}:{voter.user_id}")
        subject = self._subjects.of(user.world_id)
        ballot = await self._store.rules.vote(room.room_id, voter.user_id, user.user_id, subject, room.created_by)
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
        self._queue(ban)
        if self._observed.get((room_id, subject)) != until:
            self._observed[room_id, subject] = until
            if len(self._observed) > MOST_OBSERVED:
                self._observed.popitem(last=False)
            self._observe_removal(ban)

    def _queue(self, ban: Ban) -> None:
        self._unstored[ban.room_id, ban.subject] = ban
        if len(self._unstored) > MOST_UNSTORED_BANS:
            self._unstored.popitem(last=False)
        self._work.set()

    async def run(self) -> None:
        """Store the bans of votes in the database, each until it has answered or the ban has ended, until cancelled."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._unstored:
                key, ban = self._unstored.popitem(last=False)
                if not await self._is_stored(ban):
                    if key not in self._unstored:
                        self._queue(ban)
                    await trio.sleep(RETRY_SECONDS)

    async def _is_stored(self, ban: Ban) -> bool:
        """Store the ban of a vote. Returns False where it has to be tried again."""
        if ban.until <= timestamp(self._store.clock.now()):
            return True
        try:
            # All that ended at or after the vote, to the millisecond.
            rows = await self._repository.bans(ban.room_id, timestamp(milliseconds(ban.since) - 1))
            now = timestamp(self._store.clock.now())
            if not any(_is_superseded(ban, row, now) for row in rows):
                # Without effect where the room has been closed, or has too many bans: then only the store has this one.
                await self._repository.ban(ban, MOST_BANS)
        except Unavailable:
            logger.debug("the ban of a vote is stored later: the database does not answer")
            return False
        except Exception as error:
            report_repository_fault("storing the ban of a vote", error, self._metrics)
            return True
        self._rule_sync.sync_soon(ban.room_id)
        return True

    # --- what the commands have in common -------------------------------------------------------------------------

    async def _own_room(self, room_id: str, principal: Principal) -> ChatRoom:
        """Return a room that the user has created. Raises `room_not_found` and `forbidden`."""
        room = await self._accounts.room(room_id)
        if room.created_by != principal.user.user_id:
            raise CommandError(ErrorCode.FORBIDDEN, "Only the creator of a room can do this.")
        return room

    async def _known_user(self, user_id: str) -> User:
        user = await self._repository.user(user_id)
        if user is None:
            raise BadRequest("userId", "There is no such user.")
        return user

    async def _sync(self, room_id: str, removal: Removal | None = None) -> SyncedRules:
        synced = await self._rule_sync.sync(room_id, removal)
        if synced is None:
            raise room_not_found()
        return synced

    async def _full(self, room_id: str, message: str) -> CommandError:
        """Return why the database has stored nothing for a room: the room was closed, or it is full of something."""
        if await self._repository.room(room_id) is None:
            return room_not_found()
        return CommandError(ErrorCode.CONFLICT, message)

    def _observe_removal(self, ban: Ban) -> None:
        about = {"room_id": ban.room_id, "user_id": ban.user_id, "reason": ban.reason}
        self._plugins.observe("evanesce_member_removed", **about)
        if ban.until > ban.since:
            self._plugins.observe("evanesce_member_banned", **about, until=ban.until)


async def _take(limit: DistributedRateLimit, key: str) -> None:
    """Count a command. Raises `RateLimited`."""
    wait = await limit.take(key)
    if wait:
        raise RateLimited(TOO_FAST, wait)


def _is_superseded(ban: Ban, row: Ban, now: Timestamp) -> bool:
    """Return whether the database has already the ban of a vote, a longer one, or what the creator decided since.

    `row` has not ended before the vote: where it has ended, the creator has ended it, also for the ban of the vote.
    Another server may have told the database, while this one had no answer from it, or a voter may have asked again.
    """
    return row.subject == ban.subject and (row.since >= ban.since or row.until >= ban.until or row.until <= now)


def _listed_id(subject: str) -> str:
    """Return the id with which `bans` lists a person whose account was erased."""
    return str(uuid.UUID(hex=subject))


def _listed_subject(user_id: str) -> str:
    return uuid.UUID(user_id).hex


def _fitting(bans: Sequence[Ban]) -> list[events.BanInfo]:
    """Describe bans, the first ones that have at most `BANS_BYTES` of JSON together."""
    fitting: list[events.BanInfo] = []
    size = 0
    for ban in bans:
        user_id = _listed_id(ban.subject) if ban.user_id is None else ban.user_id
        described = events.BanInfo(user_id=user_id, display_name=ban.display_name, until=ban.until)
        size += len(msgspec.json.encode(described)) + 1
        if size > BANS_BYTES:
            break
        fitting.append(described)
    return fitting


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
