"""What anybody may ask of the server beside talking: signing in, one's account, one's rooms.

The same for a connection and for an HTTP request. Checks who asks; asks the repository and the store.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from evanesce.config.model import Config
from evanesce.errors import CommandError, ErrorCode, PersistenceUnavailable
from evanesce.interfaces import Repository
from evanesce.model import ChatRoom, Timestamp, User, timestamp
from evanesce.plugins import Plugins
from evanesce.protocol import commands, events, fields
from evanesce.rooms.errors import room_not_found
from evanesce.sessions.acquaintances import Acquaintances
from evanesce.sessions.announcements import Announcements
from evanesce.sessions.erasure import Erasure
from evanesce.sessions.providers import Providers
from evanesce.sessions.tokens import Claims, Tokens
from evanesce.store.base import MessageStore, TokenRevoked, UserRenamed

PAGE = 100
"""How many rooms `rooms` gives at once."""

CLOSED = "Its creator closed the room."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who showed a token, or has just been given one."""

    user: User
    claims: Claims

    @property
    def expires_at(self) -> Timestamp:
        """When the token runs out."""
        return timestamp(self.claims.exp * 1000)


class Operations:
    """The commands that need no connection. Every method raises `CommandError` where it is refused."""

    def __init__(
        self,
        config: Config,
        repository: Repository,
        plugins: Plugins,
        store: MessageStore,
        tokens: Tokens,
        providers: Providers,
        erasure: Erasure,
        announcements: Announcements,
        acquaintances: Acquaintances,
    ) -> None:
        self._config = config
        self._repository = repository
        self._plugins = plugins
        self._store = store
        self._tokens = tokens
        self._providers = providers
        self._erasure = erasure
        self._announcements = announcements
        self._acquaintances = acquaintances
        self._public_url = config.server.public_url.rstrip("/")

    # --- who somebody is ------------------------------------------------------------------------------------------

    async def recognise(self, token: str) -> SignedIn:
        """Find out whose token it is. Raises `invalid_token`.

        While the database is away, whom this server has met lately is recognised all the same.
        """
        claims = self._tokens.read(token, self._store.now())
        try:
            user = await self._repository.user(claims.sub, claims.sid)
        except PersistenceUnavailable:
            known = self._acquaintances.user(claims.sub, claims.sid)
            if known is None:
                raise
            return SignedIn(known, claims)
        if user is None:
            raise CommandError(ErrorCode.INVALID_TOKEN, "This token was signed out. Sign in again.")
        self._acquaintances.meet(user, claims.sid)
        return SignedIn(user, claims)

    async def sign_in(
        self, credential: Mapping[str, Any], who: SignedIn | None, address: str
    ) -> tuple[SignedIn, str, bool]:
        """Exchange a credential for a token; with the token, and whether the account is new."""
        user, created = await self._providers.sign_in(credential, None if who is None else who.user, address)
        token, claims = self._tokens.issue(user.user_id, self._store.now())
        self._acquaintances.meet(user, claims.sid)
        return SignedIn(user, claims), token, created

    def welcome(self, who: SignedIn, *, token: str | None = None, ref: commands.Ref | None = None) -> events.Welcome:
        """Greet somebody who has signed in, with the token where there is a new one."""
        config = self._config
        return events.Welcome(
            ref=ref,
            user_id=who.user.user_id,
            display_name=who.user.display_name,
            server_time=timestamp(self._store.now()),
            token=UNSET if token is None else token,
            token_expires_at=UNSET if token is None else who.expires_at,
            message_ttl=config.messages.ttl,
            heartbeat=config.limits.heartbeat_seconds,
            limits=events.Limits(
                content_bytes=config.messages.content_bytes,
                frame_bytes=config.limits.frame_bytes,
                history=config.messages.history,
                rooms_per_connection=config.limits.rooms_per_connection,
                messages_per_second=config.limits.messages_per_second,
                burst=config.limits.burst,
            ),
        )

    async def challenge(self, command: commands.Challenge, who: SignedIn | None, address: str) -> events.Reply:
        """Ask an identity provider for what its credential must answer."""
        user = None if who is None else who.user
        given = await self._providers.challenge(command.provider, command.request, user, address)
        return events.ChallengeReply(ref=command.ref, fields=given)

    # --- what they ask --------------------------------------------------------------------------------------------

    async def execute(self, command: commands.Command, who: SignedIn) -> events.Reply:
        """Do what somebody who is signed in asks."""
        match command:
            case commands.Refresh():
                token, claims = self._tokens.refresh(who.claims, self._store.now())
                return events.TokenReply(ref=command.ref, token=token, token_expires_at=timestamp(claims.exp * 1000))
            case commands.SignOut():
                await self._repository.revoke_sign_in(who.claims.sid, self._tokens.last_use(who.claims))
                await self._announcements.make(TokenRevoked(who.claims.sid))
                return events.Ok(ref=command.ref)
            case commands.CreateRoom():
                return await self._create_room(command, who)
            case commands.GetRoom(room_id=room_id):
                room = await self.room(room_id)
                [count] = await self._store.counts([room_id])
                return _room(room, count, command.ref)
            case commands.ListRooms():
                return await self._rooms(command, who)
            case commands.CloseRoom(room_id=room_id):
                return await self._close_room(room_id, command, who)
            case commands.GetProfile():
                return _profile(await self._user(who), command.ref)
            case commands.UpdateProfile():
                return await self._update_profile(command, who)
            case commands.ForgetMe():
                return await self._forget(command, who)
            case _:
                raise CommandError(ErrorCode.BAD_REQUEST, "This command needs a connection.", field="type")

    async def room(self, room_id: str) -> ChatRoom:
        """Give an open room. Raises `room_not_found`.

        While the database is away, one that was open lately counts as open: the store knows whether it was closed.
        """
        try:
            room = await self._repository.room(room_id)
        except PersistenceUnavailable:
            known = self._acquaintances.room(room_id)
            if known is None:
                raise
            return known
        if room is None:
            self._acquaintances.leave(room_id)
            raise room_not_found()
        self._acquaintances.visit(room)
        return room

    async def _create_room(self, command: commands.Command, who: SignedIn) -> events.Reply:
        room_id = str(uuid.uuid4())
        room = ChatRoom(
            room_id=room_id,
            created_by=who.user.user_id,
            created_at=timestamp(self._store.now()),
            deep_link=f"{self._public_url}/r/{room_id}",
        )
        most = self._config.limits.rooms_per_user
        if not await self._repository.create_room(room, most):
            message = f"You have {most} open rooms already. Close one of them."
            raise CommandError(ErrorCode.TOO_MANY_ROOMS, message)
        self._acquaintances.visit(room)
        self._plugins.observe("evanesce_room_opened", room=room)
        return _room(room, 0, command.ref)

    async def _rooms(self, command: commands.ListRooms, who: SignedIn) -> events.Reply:
        rooms, after = await self._repository.rooms(who.user.user_id, command.after, PAGE)
        counts = await self._store.counts([room.room_id for room in rooms])
        return events.RoomsReply(
            ref=command.ref,
            rooms=[_room(room, count) for room, count in zip(rooms, counts, strict=True)],
            next=UNSET if after is None else after,
        )

    async def _close_room(self, room_id: str, command: commands.Command, who: SignedIn) -> events.Reply:
        room = await self.room(room_id)
        if room.created_by != who.user.user_id:
            raise CommandError(ErrorCode.FORBIDDEN, "Only its creator can close a room.")
        # The store first: should the database fail then, closing again does the rest; the other way round the room's
        # messages and members would stay with nobody left who may close it.
        await self._store.close_room(room_id, CLOSED)
        self._acquaintances.leave(room_id)
        await self._repository.close_room(room_id, timestamp(self._store.now()))
        self._plugins.observe("evanesce_room_closed", room_id=room_id)
        return events.Ok(ref=command.ref)

    async def _user(self, who: SignedIn) -> User:
        user = await self._repository.user(who.user.user_id)
        if user is None:
            raise CommandError(ErrorCode.INVALID_TOKEN, "This account was erased.")
        return user

    async def _update_profile(self, command: commands.UpdateProfile, who: SignedIn) -> events.Reply:
        old = await self._user(who)
        name = old.display_name if command.display_name is UNSET else fields.display_name(command.display_name)
        email = old.email
        if command.email is not UNSET:
            email = None if command.email is None else fields.email_address(command.email)
        new = await self._repository.update_user(msgspec.structs.replace(old, display_name=name, email=email))
        if new is None:
            raise CommandError(ErrorCode.INVALID_TOKEN, "This account was erased.")
        if new.display_name != old.display_name:
            await self._announcements.make(UserRenamed(new.user_id, new.display_name))
        return _profile(new, command.ref)

    async def _forget(self, command: commands.Command, who: SignedIn) -> events.Reply:
        await self._erasure.erase(who.user.user_id)
        return events.Ok(ref=command.ref)


def _room(room: ChatRoom, count: int, ref: commands.Ref | None = None) -> events.RoomReply:
    return events.RoomReply(
        ref=ref,
        room_id=room.room_id,
        created_by=room.created_by,
        created_at=room.created_at,
        deep_link=room.deep_link,
        active=count > 0,
        member_count=count,
    )


def _profile(user: User, ref: commands.Ref | None) -> events.ProfileReply:
    return events.ProfileReply(
        ref=ref,
        user_id=user.user_id,
        display_name=user.display_name,
        email=UNSET if user.email is None else user.email,
        created_at=user.created_at,
    )
