"""A session: the user that has signed in on a connection, the rooms it is in, and the replies that it waits for.

To the Hub it is a `HubSession`, to rooms a `Subscriber`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec
import trio

from evanesce.accounts.service import Principal
from evanesce.delivery.frame import Frame, Outgoing, frames
from evanesce.errors import CloseCode, CommandError, RateLimited
from evanesce.limits.budgets import TOO_FAST, Budget
from evanesce.metrics import Metrics
from evanesce.protocol import codec, commands
from evanesce.rooms.inbox import InboxClosed
from evanesce.rooms.requests import JoinRequest, LeaveRequest, RoomRequest, SendRequest, not_member
from evanesce.rooms.room import Room
from evanesce.sessions.connection import ClientConnection

INBOX_SECONDS = 1.0
"""How long a command waits for space in a room's inbox."""

CONFIRMING_SECONDS = 11.0
"""How long it waits while the room waits for the database: somewhat longer than both calls of it may take."""


class Session:
    """The state of one connection's session. `budget` limits the commands on the connection."""

    __slots__ = (
        "_all_replied",
        "_joins",
        "_metrics",
        "_pending_replies",
        "_rooms",
        "budget",
        "connection",
        "principal",
        "signed_in_at",
        "user_id",
    )

    def __init__(self, connection: ClientConnection, budget: Budget, metrics: Metrics) -> None:
        self.connection = connection
        self.budget = budget
        self.signed_in_at = math.inf
        """When a user was admitted, in seconds of Trio's clock; infinite before that."""
        self._metrics = metrics
        self.principal: Principal | None = None
        """The user who has signed in; None before that."""
        self.user_id = ""
        """The id of that user; empty before."""
        # The rooms that it is in, or will be in once its last join of each is done.
        self._rooms: dict[str, Room] = {}
        self._joins: dict[str, JoinRequest] = {}
        self._pending_replies = 0  # of requests to rooms
        self._all_replied: trio.Event | None = None  # None: nothing waits for it

    # --- the user -------------------------------------------------------------------------------------------------

    def require_principal(self) -> Principal:
        """Return the user who has signed in. There must be one."""
        if self.principal is None:
            raise AssertionError("no user has signed in on this connection")
        return self.principal

    @property
    def display_name(self) -> str:
        """The user's name. A user must have signed in."""
        return self.require_principal().user.display_name

    @property
    def sign_in_id(self) -> str:
        """The id of the sign-in that the token belongs to. A user must have signed in."""
        return self.require_principal().claims.sid

    def identify(self, principal: Principal | None) -> None:
        """Set the user of this session; None takes a sign-in back that was not admitted."""
        self.principal = principal
        self.user_id = "" if principal is None else principal.user.user_id
        self.connection.anonymous = principal is None

    def renamed(self, display_name: str) -> None:
        """Set the user's new name."""
        principal = self.require_principal()
        user = msgspec.structs.replace(principal.user, display_name=display_name)
        self.principal = Principal(user, principal.claims, principal.mark)

    # --- requests to rooms ----------------------------------------------------------------------------------------

    @property
    def rooms(self) -> Collection[Room]:
        """The rooms that it is in."""
        return self._rooms.values()

    def room(self, room_id: str) -> Room | None:
        """Return a room that it is in, or has asked to join; None where it has not."""
        return self._rooms.get(room_id)

    def is_in(self, room_id: str) -> bool:
        """Return whether it is in a room, or has asked to join it."""
        return room_id in self._rooms

    async def join(self, room: Room, request: JoinRequest) -> None:
        """Send a room the request to join it. Raises `InboxClosed` when the room has ended, and `rate_limited`."""
        await self._put(room, request)
        self._rooms[room.room_id], self._joins[room.room_id] = room, request

    async def ask(self, room_id: str, request: RoomRequest) -> None:
        """Send a request to a room that it is in; the room replies. Raises `not_member` and `rate_limited`."""
        room = self._rooms.get(room_id)
        if room is None:
            raise not_member()
        try:
            await self._put(room, request)
        except InboxClosed:
            self.forget(room_id)
            raise not_member() from None

    def send_at_once(self, room_id: str, request: SendRequest) -> bool:
        """Send a room that it is in a message without waiting, and return True; False: `ask` the room."""
        room = self._rooms.get(room_id)
        if room is None or room.inbox.full or room.inbox.closed:
            return False
        self._pending_replies += 1  # the reply may come at once
        try:
            if not room.send_at_once(request):
                room.inbox.put_unbounded(request)
        except BaseException:  # a defect: there will be no reply
            self._pending_replies -= 1
            raise
        return True

    async def _put(self, room: Room, request: RoomRequest) -> None:
        if room.inbox.full:
            with trio.move_on_after(CONFIRMING_SECONDS if room.unconfirmed else INBOX_SECONDS) as waiting:
                await room.inbox.put(request)
            if waiting.cancelled_caught:
                raise RateLimited(TOO_FAST, INBOX_SECONDS)
        else:
            room.inbox.put_unbounded(request)
        self._pending_replies += 1

    def forget(self, room_id: str) -> None:
        """Remove a room from the rooms that it is in."""
        self._rooms.pop(room_id, None)
        self._joins.pop(room_id, None)

    def leave_all(self) -> None:
        """Leave all rooms, without waiting for their replies."""
        for room in self._rooms.values():
            room.inbox.put_unless_closed(LeaveRequest(self, None, lost=True))
        self._rooms.clear()
        self._joins.clear()

    async def wait_idle(self) -> None:
        """Wait for all pending replies, and for the delivery of all messages that its rooms have stored by then."""
        if self._pending_replies:
            self._all_replied = trio.Event()
            await self._all_replied.wait()
        for room in list(self._rooms.values()):
            await room.wait_idle()

    # --- what rooms and the Hub tell it ---------------------------------------------------------------------------

    def answer(self, replies: Sequence[Outgoing], *, requests: int = 1) -> None:
        """Write the replies to `requests` of its requests."""
        for frame in frames(replies):
            self.connection.write(frame)
        self._count_replies(requests)

    def refuse(self, ref: commands.Ref | None, error: CommandError) -> None:
        """Write that one of its requests was refused."""
        self.refuse_command(ref, error)
        self._count_replies(1)

    def refuse_command(self, ref: commands.Ref | None, error: CommandError) -> None:
        """Write that a command was refused before a room was asked."""
        self._metrics.refused.labels(error.code.value).inc()
        self.connection.write(Frame([Outgoing(msgspec.structs.replace(codec.error_reply(error), ref=ref))]))

    def left(self, room_id: str, join: JoinRequest | None = None) -> None:
        """Note that it is no member of a room any more, or, with `join`, that this request did not make it one."""
        if join is None or self._joins.get(room_id) is join:
            self.forget(room_id)

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection; the first reason counts."""
        self.connection.end(code, reason)

    def _count_replies(self, requests: int) -> None:
        self._pending_replies -= requests
        if self._all_replied is not None and not self._pending_replies:
            self._all_replied.set()
