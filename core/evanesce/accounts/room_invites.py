"""The invites of rooms that admit only those who were invited. They are in the database alone."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from evanesce.accounts.owned_rooms import OwnedRooms, RoomLimit
from evanesce.accounts.service import Principal
from evanesce.config.public import deep_link_base
from evanesce.context import ServerContext
from evanesce.model import Invite, new_id, timestamp
from evanesce.protocol import commands, events
from evanesce.rooms.admissions import secret_hash

MOST_INVITES = 100
"""How many live invites a room has."""

SECRET_BYTES = 16
"""The length of an invite's secret. It cannot be guessed, so nothing but its hash is stored."""


class InviteService:
    """The commands about invites. Every method raises `CommandError` when it refuses the command."""

    def __init__(self, context: ServerContext, rooms: OwnedRooms, clock: Callable[[], float]) -> None:
        self._repository = context.repository
        self._store = context.store
        self._plugins = context.plugins
        self._rooms = rooms
        self._link_base = deep_link_base(context.config)
        # Invites change nothing that members see, but each is a row: a creator may replace all of them in a minute.
        self._limit = RoomLimit("invites", MOST_INVITES, context.store.rate_limits, clock)

    async def invite(self, command: commands.CreateInvite, principal: Principal) -> events.Reply:
        """Create an invite. Its secret is only in the reply."""
        room_id = (await self._rooms.owned(command.room_id, principal)).room_id
        await self._limit.take(room_id, principal.user.user_id)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = self._store.clock.now()
        invite = Invite(
            invite_id=new_id(),
            room_id=room_id,
            secret_hash=secret_hash(secret),
            people=int(command.people),
            created_at=timestamp(now),
            expires_at=timestamp(now + round(command.seconds * 1000)),
        )
        if not await self._repository.create_invite(invite, MOST_INVITES):
            raise await self._rooms.full(room_id, f"This room has {MOST_INVITES} invites. Revoke one of them.")
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
        room_id = (await self._rooms.owned(command.room_id, principal)).room_id
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
        room_id = (await self._rooms.owned(command.room_id, principal)).room_id
        await self._limit.take(room_id, principal.user.user_id)
        await self._repository.revoke_invite(room_id, command.invite_id, timestamp(self._store.clock.now()))
        return events.Ok(ref=command.ref)
