"""The presence of a room: the roster follows the store, and its changes are announced to the members."""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio
from msgspec import UNSET

from evanesce.context import ServerContext
from evanesce.delivery.frame import Outgoing
from evanesce.errors import StoreUnavailable
from evanesce.protocol import events
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.membership import Membership
from evanesce.rooms.requests import MembersRequest, RecountRequest, RenameRequest, RoomRequest, not_member
from evanesce.rooms.roster import PresenceEvent
from evanesce.store.presence import Member, PresenceSnapshot

COUNT_SECONDS = 1.0
"""How often the size of a large room is announced to its members."""


class RoomPresence:
    """The presence of one room. Above `rooms.roster_size` users only their number is known, and announced."""

    def __init__(self, room_id: str, members: Membership, inbox: Inbox[RoomRequest], context: ServerContext) -> None:
        self._room_id = room_id
        self._members = members
        self._roster = members.roster
        self._inbox = inbox
        self._store = context.store
        self._roster_size = context.config.rooms.roster_size
        self._recounting = False  # a request to ask the store for the names waits in the inbox
        self._count_due = False
        self._counted_at = -math.inf
        self._nursery: trio.Nursery

    def start(self, nursery: trio.Nursery) -> None:
        """Announce numbers of members in tasks of `nursery`."""
        self._nursery = nursery

    # --- events from the store ------------------------------------------------------------------------------------

    def replace(self, presence: PresenceSnapshot) -> None:
        """Replace the roster by what the store says, and announce the difference."""
        self._members.announce(self._roster.snapshot(presence))
        self._check_count()

    def apply(self, change: PresenceEvent) -> None:
        """Apply one change to the roster, and announce it."""
        if (event := self._roster.apply(change)) is not None:
            self._members.announce([event])
        self._check_count()

    def _check_count(self) -> None:
        if self._roster.complete:
            return
        if self._roster.count <= self._roster_size:
            self._request_recount()  # the room has become small enough for names, and they are not known
        elif not self._count_due:
            self._count_due = True
            self._nursery.start_soon(self._announce_count)

    def _request_recount(self) -> None:
        if not self._recounting and not self._inbox.closed:
            self._recounting = True
            self._inbox.put_unbounded(RecountRequest())

    async def _announce_count(self) -> None:
        await trio.sleep_until(self._counted_at + COUNT_SECONDS)
        self._count_due = False
        self._counted_at = trio.current_time()
        self._members.announce([events.MemberCount(room_id=self._room_id, member_count=self._roster.count)])

    # --- requests -------------------------------------------------------------------------------------------------

    def answer_members(self, requests: Sequence[MembersRequest]) -> None:
        """Answer requests for the members."""
        members = self._roster.members
        for request in requests:
            if self._members.of(request.subscriber) is None:
                request.subscriber.refuse(request.ref, not_member())
                continue
            reply = events.MembersReply(
                ref=request.ref,
                room_id=self._room_id,
                members=UNSET if members is None else members,
                member_count=self._roster.count,
            )
            request.subscriber.answer([Outgoing(reply)])

    async def rename(self, requests: Sequence[RenameRequest]) -> None:
        """Write the new names of users in the room to the store."""
        for request in requests:
            if self._members.connections(request.user_id):
                try:
                    await self._store.presence.rename(self._room_id, Member(request.user_id, request.display_name))
                except StoreUnavailable:
                    continue  # the store writes all names again when it is back

    async def recount(self) -> None:
        """Ask the store for the roster."""
        self._recounting = False
        try:
            presence = await self._store.presence.snapshot(self._room_id, self._roster_size)
        except StoreUnavailable:
            return  # the feed brings the roster when the store is back
        self._members.announce(self._roster.snapshot(presence))
