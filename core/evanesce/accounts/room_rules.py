"""The rules of rooms that their creators set: the options, removals, bans and mutes.

A change goes to the database first. Then the store gets a copy of the room's rules, by which it decides about joins,
messages and votes, and tells all members. Where the store fails, the client may repeat the command, and `RuleSync`
installs the copy later in any case.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET

from evanesce.accounts.cache import AccountCache
from evanesce.accounts.owned_rooms import CREATOR, MOST_BANS, OwnedRooms, RoomLimit
from evanesce.accounts.service import AccountService, Principal
from evanesce.accounts.vote_bans import VoteBans
from evanesce.context import ServerContext
from evanesce.errors import BadRequest, CommandError, ErrorCode, PersistenceUnavailable, Unavailable
from evanesce.model import Access, Ban, ChatRoom, milliseconds, timestamp
from evanesce.protocol import commands, events
from evanesce.protocol.codec import FRAME_BYTES
from evanesce.rooms.admissions import MOST_ADMITTED
from evanesce.rooms.requests import room_not_found
from evanesce.rooms.rule_sync import RuleSync, SyncedRules
from evanesce.store.message_log import RoomClosed
from evanesce.store.rules import MOST_MUTES, Removal
from evanesce.subjects import Subjects

CHANGES_A_MINUTE = 20
"""How often the rules of a room may change in a minute, over all servers; as often at once."""

PAGES_A_MINUTE = 100
"""How many pages of a room's bans may be read in a minute, over all servers: for each, the database reads all bans."""

UPDATE_ATTEMPTS = 8
"""How often a change of a room's options is tried where another server changes its rules at the same time."""

BANS_BYTES = FRAME_BYTES - 1_024
"""The most bytes of JSON that the bans in one reply have: with the rest of the reply, they fit into one frame."""


class RuleService:
    """The creators' commands about rules. Every method raises `CommandError` when it refuses the command."""

    def __init__(
        self,
        context: ServerContext,
        *,
        accounts: AccountService,
        rooms: OwnedRooms,
        cache: AccountCache,
        rule_sync: RuleSync,
        vote_bans: VoteBans,
        subjects: Subjects,
        clock: Callable[[], float],
    ) -> None:
        self._repository = context.repository
        self._store = context.store
        self._accounts = accounts
        self._rooms = rooms
        self._cache = cache
        self._rule_sync = rule_sync
        self._vote_bans = vote_bans
        self._subjects = subjects
        self._changes = RoomLimit("rule_changes", CHANGES_A_MINUTE, context.store.rate_limits, clock)
        self._pages = RoomLimit("ban_pages", PAGES_A_MINUTE, context.store.rate_limits, clock)

    # --- options --------------------------------------------------------------------------------------------------

    async def update_room(self, command: commands.UpdateRoom, principal: Principal) -> events.Reply:
        """Change the options of a room."""
        room = await self._rooms.owned(command.room_id, principal)
        if command.message_ttl is not UNSET:
            self._accounts.check_message_ttl(command.message_ttl)
        await self._changes.take(room.room_id, principal.user.user_id)
        # Who is in the room stays admitted. Those who are here now must be able to come back as soon as the change is
        # made; those who join until the store has it are only known afterwards. Each server admits its members too:
        # the store may have forgotten them.
        admits_members = command.access is Access.INVITE
        admitted = {room.created_by}  # may always join
        if admits_members:
            present = await self._store.presence.snapshot(room.room_id, MOST_ADMITTED)
            await self._admit(room.room_id, [member.user_id for member in present.members or ()], admitted)
        room = await self._change(room.room_id, command)
        synced = await self._sync(room.room_id)
        if admits_members:
            await self._admit(room.room_id, synced.user_ids, admitted)
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

    async def _admit(self, room_id: str, user_ids: Sequence[str], admitted: set[str]) -> None:
        """Admit users to a room who are not in `admitted`, and add them to it."""
        others = [user_id for user_id in user_ids if user_id not in admitted]
        if others:
            now = timestamp(self._store.clock.now())
            await self._repository.admit_members(room_id, others, now, MOST_ADMITTED)
            admitted.update(others)

    # --- removals and bans ----------------------------------------------------------------------------------------

    async def remove_member(self, command: commands.RemoveMember, principal: Principal) -> events.Reply:
        """Remove a person, and ban them where `ban_seconds` is above 0: in place of the ban that they have.

        A removal without a ban ends none: only another ban does, which may be shorter, and `unban`.
        """
        await self.remove(await self._rooms.owned(command.room_id, principal), command.user_id, command.ban_seconds)
        return events.Ok(ref=command.ref)

    async def remove(self, room: ChatRoom, user_id: str, ban_seconds: float) -> None:
        """Remove and ban a person in the place of the room's creator."""
        room_id = room.room_id
        if user_id == room.created_by:
            raise BadRequest("userId", "The creator of a room cannot be removed from it.")
        user = await self._rooms.known_user(user_id)
        await self._changes.take(room_id, room.created_by)
        now = self._store.clock.now()
        subject = self._subjects.of(user.world_id)
        known = None if ban_seconds else await self._ban_of(room_id, subject)
        until = now + round(ban_seconds * 1000) if known is None else max(now, milliseconds(known.until))
        ban = Ban(
            room_id=room_id,
            subject=subject,
            user_id=user.user_id,
            display_name=user.display_name,
            reason=CREATOR,
            since=timestamp(now),
            until=timestamp(until),
        )
        if await self._repository.ban(ban, MOST_BANS) is None:
            raise await self._rooms.full(room_id, f"This room has {MOST_BANS} bans. End one of them.")
        self._vote_bans.forget(room_id, subject)
        await self._sync(room_id, Removal(user.user_id, CREATOR, until if until > now else 0))
        self._rooms.observe_removal(ban, banned=ban_seconds > 0)

    async def _ban_of(self, room_id: str, subject: str) -> Ban | None:
        """Return the ban of a person that this server, or the database, knows; None where there is none.

        The store may have the ban of a vote that neither of them knows yet.
        """
        now = timestamp(self._store.clock.now())
        bans = [ban for ban in await self._repository.bans(room_id, now) if ban.subject == subject]
        if (unstored := self._vote_bans.unstored(room_id, subject)) is not None:
            bans.append(unstored)
        return max(bans, key=lambda ban: ban.until, default=None)

    async def bans(self, command: commands.ListBans, principal: Principal) -> events.Reply:
        """List the bans of a room, the newest first, a page as long as fits into one frame."""
        room_id = (await self._rooms.owned(command.room_id, principal)).room_id
        now = timestamp(self._store.clock.now())
        before = None if command.after is None else _place_after(command.after)
        await self._pages.take(room_id, principal.user.user_id)
        bans = await self._repository.bans(room_id, now)
        live = [ban for ban in bans if ban.until > now and (before is None or (ban.since, ban.subject) < before)]
        page = _fitting(live)
        following = UNSET if len(page) == len(live) else _after(live[len(page) - 1])
        return events.BansReply(ref=command.ref, room_id=room_id, bans=page, next=following)

    async def unban(self, command: commands.Unban, principal: Principal) -> events.Reply:
        """End the ban of a person. For somebody who is not banned it changes nothing."""
        room_id = (await self._rooms.owned(command.room_id, principal)).room_id
        user = await self._repository.user(command.user_id)
        subject = _listed_subject(command.user_id) if user is None else self._subjects.of(user.world_id)
        await self._changes.take(room_id, principal.user.user_id)
        self._vote_bans.forget(room_id, subject)
        # Also where the database has no ban: the store may have that of a vote, which this server knows nothing about.
        await self._repository.unban(room_id, subject, timestamp(self._store.clock.now()))
        await self._sync(room_id)
        return events.Ok(ref=command.ref)

    # --- mutes ----------------------------------------------------------------------------------------------------

    async def mute(self, command: commands.Mute, principal: Principal) -> events.Reply:
        """Forbid a person to write for some time. Only the store has mutes: it needs no database.

        Without one, the mute of a person whom this server does not know is that of the account until it joins again.
        """
        room_id = (await self._rooms.owned(command.room_id, principal)).room_id
        if command.user_id == principal.user.user_id:
            raise BadRequest("userId", "The creator of a room cannot be muted in it.")
        subject = await self._subject_of(command.user_id)
        await self._changes.take(room_id, principal.user.user_id)
        until = await self._store.rules.mute(room_id, command.user_id, command.seconds, subject)
        if isinstance(until, RoomClosed):
            raise room_not_found()
        if until is None:
            raise CommandError(ErrorCode.CONFLICT, f"{MOST_MUTES} people are muted in this room. Unmute one of them.")
        return events.Ok(ref=command.ref)

    async def _subject_of(self, user_id: str) -> str | None:
        """Return the subject of a user; None where it is not known, because the database does not answer."""
        user = self._cache.any_user(user_id)
        if user is None:
            try:
                user = await self._rooms.known_user(user_id)
            except Unavailable:
                return None
        return self._subjects.of(user.world_id)

    # --- what the commands have in common -------------------------------------------------------------------------

    async def _sync(self, room_id: str, removal: Removal | None = None) -> SyncedRules:
        synced = await self._rule_sync.sync(room_id, removal)
        if synced is None:
            raise room_not_found()
        return synced


def _listed_id(subject: str) -> str:
    """Return the id with which `bans` lists a person whose account was erased."""
    return str(uuid.UUID(hex=subject))


def _listed_subject(user_id: str) -> str:
    return uuid.UUID(user_id).hex


def _after(ban: Ban) -> str:
    """Return the value of `after` for the bans that follow one: older ones, and no others that are added meanwhile."""
    return f"{ban.since} {ban.subject}"


def _place_after(after: str) -> tuple[str, str]:
    """Return the place in the list to which a value of `after` belongs. Raises `BadRequest`."""
    since, separator, subject = after.partition(" ")
    if not separator:
        raise BadRequest("after", "This is no page of this list.")
    return since, subject


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
