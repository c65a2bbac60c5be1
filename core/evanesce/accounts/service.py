"""The account service: sign-ins, profiles, and the rooms that users create.

It serves connections and HTTP requests alike. It checks permissions, and asks the repository and the store.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import msgspec
from msgspec import UNSET

from evanesce.accounts.bans import banned, is_banned
from evanesce.accounts.cache import AccountCache, Mark
from evanesce.accounts.control import ControlPublisher
from evanesce.accounts.erasure import Erasure
from evanesce.accounts.purge import Purge
from evanesce.accounts.revocation import Revocation
from evanesce.accounts.sign_in import Client, Providers
from evanesce.accounts.tokens import Claims, Tokens
from evanesce.config.public import deep_link_base
from evanesce.context import ServerContext
from evanesce.errors import BadRequest, CommandError, ErrorCode, PersistenceUnavailable, StoreUnavailable
from evanesce.interfaces import MOST_CHECKED, Caller
from evanesce.limits.budgets import public_limits
from evanesce.lookups import Lookups, SharedLookups
from evanesce.model import Access, ChatRoom, Timestamp, User, timestamp
from evanesce.protocol import commands, events, fields
from evanesce.rooms.requests import room_not_found
from evanesce.store.control_bus import UserRenamed, ban_mark

PAGE = 100
"""How many rooms the reply to `rooms` has at most."""

ROOM_ATTEMPTS = 8
"""How many ids are tried for a new room."""

CLOSED = "The creator of the room has closed it."


@dataclass(frozen=True, slots=True)
class Principal:
    """A user who has signed in, with the claims of a valid token. `mark` was taken before the database was read."""

    user: User
    claims: Claims
    mark: Mark

    @property
    def expires_at(self) -> Timestamp:
        """When the token expires."""
        return timestamp(self.claims.exp * 1000)


class _Standing(Enum):
    """What the store knows of a sign-in."""

    VALID = auto()
    ENDED = auto()
    BANNED = auto()


def _standing(known: Collection[str], user_id: str, sign_in_id: str) -> _Standing:
    if ban_mark(user_id) in known:
        return _Standing.BANNED
    return _Standing.ENDED if user_id in known or sign_in_id in known else _Standing.VALID


class AccountService:
    """The commands about accounts and rooms. Every method raises `CommandError` when it refuses the command."""

    def __init__(
        self,
        context: ServerContext,
        *,
        tokens: Tokens,
        providers: Providers,
        cache: AccountCache,
        publisher: ControlPublisher,
        revocation: Revocation,
        purge: Purge,
        erasure: Erasure,
    ) -> None:
        self._config = context.config
        self._repository = context.repository
        self._plugins = context.plugins
        self._store = context.store
        self._tokens = tokens
        self._providers = providers
        self._cache = cache
        self._publisher = publisher
        self._revocation = revocation
        self._purge = purge
        self._erasure = erasure
        self._link_base = deep_link_base(context.config)
        self._limits = public_limits(context.config)
        # All clients come back at once after an outage of the network.
        self._standings: Lookups[tuple[str, str], _Standing] = Lookups(self._find_standings, MOST_CHECKED)
        self._signed_in: Lookups[tuple[str, str], User | None] = Lookups(self._find_users, MOST_CHECKED)
        # Members come back at once. A room is closed in the store as well, so an answer may be a little older.
        self._rooms: SharedLookups[str, ChatRoom] = SharedLookups(self._find_room)
        self._versions: Lookups[str, int | None] = Lookups(self._find_versions, MOST_CHECKED)

    # --- who a client is ------------------------------------------------------------------------------------------

    async def authenticate(self, token: str, *, allow_cached: bool = False) -> Principal:
        """Return the user that a token belongs to. Raises `invalid_token`, and `forbidden` for a user who is banned.

        With `allow_cached` the database is not asked for a user whom it has confirmed lately, if the store answers that
        it knows of no end of the sign-in and of no ban. The caller has to let the sign-in be compared with the database
        soon.
        """
        claims = self._tokens.read(token, self._store.clock.now())
        sign_in = claims.sub, claims.sid
        mark = self._cache.mark()
        if allow_cached and (known := self._cache.user(*sign_in)) is not None:
            with suppress(StoreUnavailable):
                standing = await self._standings.get(sign_in)
                if standing is _Standing.BANNED:
                    raise banned()
                if standing is _Standing.ENDED:
                    raise _signed_out()
                return Principal(known, claims, mark)
        user = await self._signed_in.get(sign_in)
        if user is None:
            raise _signed_out()
        if user.user_id != claims.sub:
            raise RuntimeError("the repository returned another user than was asked for")
        if is_banned(user, self._store.clock):
            raise banned(user.banned_until)
        self._cache.keep_user(user, claims.sid, mark)
        return Principal(user, claims, mark)

    async def _find_standings(self, sign_ins: Sequence[tuple[str, str]]) -> Sequence[_Standing]:
        """Return what the store knows of each sign-in, a user id and a sign-in id."""
        known = await self._store.control.revoked(
            [key for user_id, sign_in_id in sign_ins for key in (ban_mark(user_id), user_id, sign_in_id)]
        )
        return [_standing(known, user_id, sign_in_id) for user_id, sign_in_id in sign_ins]

    async def _find_users(self, sign_ins: Sequence[tuple[str, str]]) -> Sequence[User | None]:
        """Return the user of each sign-in, a user id and a sign-in id; None for one that has ended."""
        if len(sign_ins) == 1:
            return [await self._repository.user(*sign_ins[0])]
        return await self._repository.signed_in(sign_ins)

    def check_still_valid(self, principal: Principal) -> None:
        """Raise `invalid_token` when a notice after the database was read said that the sign-in has ended.

        Raises `forbidden` when one said that the user is banned, or is not any more: then the client has to try again.
        """
        if self._cache.banned_since(principal.mark, principal.user.user_id):
            raise banned()
        if self._cache.ended_since(principal.mark, principal.user.user_id, principal.claims.sid):
            raise _signed_out()

    async def sign_in(
        self, credential: Mapping[str, Any], principal: Principal | None, address: str, *, local: bool
    ) -> tuple[Principal, str, bool]:
        """Exchange a credential for a token; return the user, the token, and whether the account is new."""
        mark = self._cache.mark()
        found = await self._providers.sign_in(credential, _client(principal, address, local=local))
        token, claims = self._tokens.issue(found.user.user_id, self._store.clock.now(), found.sign_in_id)
        self._cache.keep_user(found.user, claims.sid, mark)
        return Principal(found.user, claims, mark), token, found.created

    def welcome(
        self, principal: Principal, *, token: str | None = None, ref: commands.Ref | None = None
    ) -> events.Welcome:
        """Return the `welcome` for a user who has signed in, with `token` where there is a new one."""
        config = self._config
        return events.Welcome(
            ref=ref,
            user_id=principal.user.user_id,
            display_name=principal.user.display_name,
            server_time=timestamp(self._store.clock.now()),
            token=UNSET if token is None else token,
            token_expires_at=UNSET if token is None else principal.expires_at,
            message_ttl=config.messages.ttl,
            heartbeat=config.limits.heartbeat_seconds,
            limits=self._limits,
        )

    async def challenge(
        self, command: commands.Challenge, principal: Principal | None, address: str, *, local: bool
    ) -> events.Reply:
        """Ask an identity provider for a challenge."""
        client = _client(principal, address, local=local)
        given = await self._providers.challenge(command.provider, command.request, client)
        return events.ChallengeReply(ref=command.ref, fields=given)

    async def caller(self, provider: str, token: str, address: str) -> Caller:
        """Return the user of a token as a provider sees it. Raises `invalid_token`."""
        principal = await self.authenticate(token)
        return self._providers.caller(provider, _client(principal, address, local=False))

    # --- sign-ins -------------------------------------------------------------------------------------------------

    def refresh(self, command: commands.Refresh, principal: Principal) -> events.Reply:
        """Return a new token of the same sign-in."""
        token, claims = self._tokens.refresh(principal.claims, self._store.clock.now())
        return events.TokenReply(ref=command.ref, token=token, token_expires_at=timestamp(claims.exp * 1000))

    async def sign_out(self, command: commands.SignOut, principal: Principal) -> events.Reply:
        """Revoke a sign-in, with all its tokens."""
        await self._revocation.sign_out(principal.claims)
        return events.Ok(ref=command.ref)

    # --- rooms ----------------------------------------------------------------------------------------------------

    def known_room(self, room_id: str) -> ChatRoom | None:
        """Return a room that was open lately; None where that is not known. `room` says whether it is open now."""
        return self._cache.room(room_id)

    async def room(self, room_id: str, *, allow_cached: bool = False) -> ChatRoom:
        """Return an open room. Raises `room_not_found`.

        While the database is unavailable, a room that was open lately counts as open. With `allow_cached` such a room
        is only compared with the database, together with others: the store would know if it is closed, and whether it
        has newer rules, but it may have just lost its memory.
        """
        if allow_cached and (known := self._cache.room(room_id)) is not None:
            try:
                version = await self._versions.get(room_id)
            except PersistenceUnavailable:
                return known
            if version == known.rules_version:
                return known
        room = await self._rooms.get(room_id)
        if room is None:
            raise room_not_found()
        return room

    async def _find_versions(self, room_ids: Sequence[str]) -> Sequence[int | None]:
        """Return the version of the rules of each room; None for one that is closed."""
        versions = await self._repository.open_rooms(room_ids)
        return [versions.get(room_id) for room_id in room_ids]

    async def _find_room(self, room_id: str) -> ChatRoom | None:
        mark = self._cache.mark()
        try:
            room = await self._repository.room(room_id)
        except PersistenceUnavailable:
            known = self._cache.room(room_id)
            if known is None:
                raise
            return known
        if room is None:
            self._cache.drop_room(room_id)
        else:
            self._cache.keep_room(room, mark)
        return room

    async def create_room(self, command: commands.CreateRoom, principal: Principal) -> events.Reply:
        """Open a room whose creator is the user."""
        if command.message_ttl is not None:
            self.check_message_ttl(command.message_ttl)
        has_rules = command.message_ttl is not None or command.access is Access.INVITE or command.encrypted
        room_id = await self._new_room_id()
        room = ChatRoom(
            room_id=room_id,
            created_by=principal.user.user_id,
            created_at=timestamp(self._store.clock.now()),
            deep_link=self._link_base + room_id,
            message_ttl=command.message_ttl,
            access=command.access or Access.LINK,
            encrypted=command.encrypted,
            # With 0 no server would look for rules in the store.
            rules_version=1 if has_rules else 0,
        )
        most = self._config.limits.rooms_per_user
        mark = self._cache.mark()
        if not await self._repository.create_room(room, most):
            message = f"You have {most} open rooms already. Close one of them."
            raise CommandError(ErrorCode.TOO_MANY_ROOMS, message)
        self._cache.keep_room(room, mark)
        self._plugins.observe("evanesce_room_opened", room=room)
        return self.room_reply(room, 0, command.ref)

    def _message_ttl(self, room: ChatRoom) -> float:
        """Return how long messages live in a room, by the configuration of now."""
        messages = self._config.messages
        return messages.ttl if room.message_ttl is None else min(room.message_ttl, messages.longest_ttl)

    def check_message_ttl(self, seconds: float) -> None:
        """Raise `BadRequest` for a time to live that the configuration does not allow to the creator of a room."""
        messages = self._config.messages
        if not messages.shortest_ttl <= seconds <= messages.longest_ttl:  # NaN is not either
            between = f"{messages.shortest_ttl:g} to {messages.longest_ttl:g} seconds"
            raise BadRequest("messageTtl", f"The messages of a room live for {between}.")

    async def _new_room_id(self) -> str:
        """Return an id for a new room for which the store answers; after `ROOM_ATTEMPTS` failures, any id.

        While one primary of a cluster is unavailable, a part of all ids belongs to it.
        """
        for _ in range(ROOM_ATTEMPTS):
            room_id = str(uuid.uuid4())
            with suppress(StoreUnavailable):
                await self._store.presence.counts([room_id])
                return room_id
        return str(uuid.uuid4())

    async def describe_room(self, command: commands.GetRoom) -> events.Reply:
        """Return the public data of a room."""
        room = await self.room(command.room_id)
        [count] = await self._store.presence.counts([room.room_id])
        return self.room_reply(room, count, command.ref)

    async def list_rooms(self, command: commands.ListRooms, principal: Principal) -> events.Reply:
        """Return one page of the user's open rooms."""
        rooms, after = await self._repository.rooms(principal.user.user_id, command.after, PAGE)
        counts = await self._store.presence.counts([room.room_id for room in rooms])
        return events.RoomsReply(
            ref=command.ref,
            rooms=[self.room_reply(room, count) for room, count in zip(rooms, counts, strict=True)],
            next=UNSET if after is None else after,
        )

    def room_reply(self, room: ChatRoom, count: int, ref: commands.Ref | None = None) -> events.RoomReply:
        """Describe a room in which `count` users are.

        The deep link is that of today: the public address may have changed since the room was opened.
        """
        return events.RoomReply(
            ref=ref,
            room_id=room.room_id,
            created_by=room.created_by,
            created_at=room.created_at,
            deep_link=self._link_base + room.room_id,
            active=count > 0,
            member_count=count,
            message_ttl=self._message_ttl(room),
            access=room.access,
            locked=room.locked,
            encrypted=room.encrypted,
        )

    async def close_room(self, command: commands.CloseRoom, principal: Principal) -> events.Reply:
        """Close a room that the user has created."""
        room_id = command.room_id
        room = await self.room(room_id)
        if room.created_by != principal.user.user_id:
            raise CommandError(ErrorCode.FORBIDDEN, "Only the creator of a room can close it.")
        await self.close(room_id)
        return events.Ok(ref=command.ref)

    async def close(self, room_id: str, reason: str = CLOSED) -> None:
        """Close a room, whoever asks for it. Its members are told the reason."""
        # The store is first. If the database then fails, closing the room again does the rest. In the other order the
        # room's messages and members would stay, and no user would be left who may close it.
        await self._store.messages.close_room(room_id, reason)
        self._cache.drop_room(room_id)
        await self._repository.close_room(room_id, timestamp(self._store.clock.now()))
        self._plugins.observe("evanesce_room_closed", room_id=room_id)

    # --- the profile ----------------------------------------------------------------------------------------------

    async def profile(self, command: commands.GetProfile, principal: Principal) -> events.Reply:
        """Return the user's profile."""
        return await self._profile(await self._user(principal), command.ref)

    async def _user(self, principal: Principal) -> User:
        user = await self._repository.user(principal.user.user_id)
        if user is None:
            raise CommandError(ErrorCode.INVALID_TOKEN, "This account was erased.")
        return user

    async def update_profile(self, command: commands.UpdateProfile, principal: Principal) -> events.ProfileReply:
        """Change the user's name or e-mail address, and announce a new name to all servers."""
        old = await self._user(principal)
        name = old.display_name if command.display_name is UNSET else fields.display_name(command.display_name)
        email = old.email
        if command.email is not UNSET:
            email = None if command.email is None else fields.email_address(command.email)
        new = await self._repository.update_user(msgspec.structs.replace(old, display_name=name, email=email))
        if new is None:
            raise CommandError(ErrorCode.INVALID_TOKEN, "This account was erased.")
        if (new.display_name, new.email) != (old.display_name, old.email):
            self._purge.request()
        if new.display_name != old.display_name:
            await self._publisher.publish(UserRenamed(new.user_id, new.display_name))
        return await self._profile(new, command.ref)

    async def _profile(self, user: User, ref: commands.Ref | None) -> events.ProfileReply:
        account_code = await self._repository.account_code(user.user_id)
        return events.ProfileReply(
            ref=ref,
            user_id=user.user_id,
            display_name=user.display_name,
            email=UNSET if user.email is None else user.email,
            account_code=UNSET if account_code is None else account_code,
            created_at=user.created_at,
        )

    async def erase(self, command: commands.ForgetMe, principal: Principal) -> events.Reply:
        """Erase the user's account, and close its rooms."""
        await self._erasure.erase(principal.user.user_id)
        return events.Ok(ref=command.ref)


def _client(principal: Principal | None, address: str, *, local: bool) -> Client:
    if principal is None:
        return Client(address, local)
    return Client(address, local, principal.user, principal.claims)


def _signed_out() -> CommandError:
    return CommandError(ErrorCode.INVALID_TOKEN, "This token was signed out. Sign in again.")
