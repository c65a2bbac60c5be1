"""What the session log and the plugins are told of who is in a room on this server."""

from __future__ import annotations

from evanesce.context import ServerContext
from evanesce.model import RoomActivity, SessionEnded, SessionStarted, timestamp
from evanesce.rooms.membership import Membership
from evanesce.rooms.subscription import Subscription


class MemberRecords:
    """Records of one room."""

    def __init__(self, room_id: str, members: Membership, context: ServerContext) -> None:
        self._room_id = room_id
        self._members = members
        self._store = context.store
        self._records = context.records
        self._plugins = context.plugins
        self._session_log = context.config.server.session_log
        self._active = False

    def joined(self, subscription: Subscription) -> None:
        """Record a subscription that has got its `joined`."""
        subscriber = subscription.subscriber
        if self._session_log:
            self._records.record(
                SessionStarted(
                    session_id=subscription.session_id,
                    user_id=subscriber.user_id,
                    room_id=self._room_id,
                    join_time=timestamp(self._store.clock.now()),
                    server=self._store.servers.server_name,
                )
            )
        if not self._active:
            self._active = True
            self._records.record(RoomActivity(room_id=self._room_id, active=True))
        if self._members.connections(subscriber.user_id) == 1:
            self._plugins.observe(
                "evanesce_member_joined",
                room_id=self._room_id,
                user_id=subscriber.user_id,
                display_name=subscriber.display_name,
            )

    def left(self, subscription: Subscription, *, last: bool, lost: bool) -> None:
        """Record the end of a subscription that was recorded, which was `lost` where nobody wanted it.

        `last`: its user has no other one here.
        """
        if self._session_log:
            leave_time = timestamp(self._store.clock.now())
            self._records.record(SessionEnded(session_id=subscription.session_id, leave_time=leave_time, lost=lost))
        if last:
            user_id = subscription.subscriber.user_id
            self._plugins.observe("evanesce_member_left", room_id=self._room_id, user_id=user_id)

    def emptied(self) -> None:
        """Record that nobody is in the room any more, on any server."""
        if self._active:
            self._active = False
            self._records.record(RoomActivity(room_id=self._room_id, active=False))
