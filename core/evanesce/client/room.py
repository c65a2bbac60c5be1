"""A room as the application sees it: its events, and what can be done in it."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import trio

from evanesce.client.account import Account
from evanesce.client.clock import ServerClock
from evanesce.client.connection import ANSWER_SECONDS, Connection, Fields
from evanesce.client.errors import Disconnected, NotSent, Refused, Stopped
from evanesce.client.events import (
    PROTOCOL_EVENTS,
    JoinedReply,
    Left,
    Members,
    Message,
    Missed,
    Removed,
    RoomClosed,
    RoomEvent,
    RoomOptions,
    RoomUpdated,
    Sent,
    reply_as,
)
from evanesce.client.feed import RoomFeed
from evanesce.client.membership import Membership, MembershipState
from evanesce.client.outgoing import Outgoing
from evanesce.client.signal import Signal
from evanesce.room_encryption import CannotOpen, RoomCipher, RoomKey


class Room:
    """A room. Iterate over it for its events, in one task, until it is left.

    `Client.join` returns it. Read its events all the time: 1,024 may wait; with more the client reads nothing from the
    network, also not for other rooms, until some are read.
    """

    def __init__(
        self,
        room_id: str,
        invite: str | None,
        key: RoomKey | None,
        account: Account,
        clock: ServerClock,
        dice: random.Random,
        forget: Callable[[Room], None],
        rejoin: Callable[[Room], None],
    ) -> None:
        self.room_id = room_id
        self._account = account
        self._cipher = None if key is None else RoomCipher(key, room_id)
        self._membership = Membership(room_id, invite, dice)
        self._feed = RoomFeed(room_id, clock, self._open)
        self._outgoing = Outgoing(self._membership, account, clock, self._cipher, dice)
        self._forget = forget
        self._rejoin = rejoin
        self._came = Signal()
        self._read = Signal()

    @property
    def state(self) -> MembershipState:
        """Return `joining`, `joined` or `left`."""
        return self._membership.state

    @property
    def options(self) -> RoomOptions:
        """The rules of the room, as the server told them last."""
        return self._membership.options

    @property
    def refused(self) -> Refused | None:
        """With which error the server refused to let the client in, if it did."""
        return self._membership.ended if isinstance(self._membership.ended, Refused) else None

    # For the application

    def __aiter__(self) -> Room:
        return self

    async def __anext__(self) -> RoomEvent:
        """Wait for the next event. Raises `Stopped` while the client does not connect any more.

        It has no deadline, as nobody may have anything to say, and a connection that is lost is no end: use
        `trio.move_on_after` to wait for less. A dead connection is noticed within a minute, and made again.
        """
        await trio.lowlevel.checkpoint()
        while True:
            event = self._feed.next()
            if event is not None:
                self._read.set()
                return event
            if self._membership.state == "left":
                raise StopAsyncIteration
            if self._membership.stopped is not None:
                raise self._membership.stopped
            wait = self._feed.wait_seconds()
            with trio.CancelScope(deadline=trio.current_time() + wait) if wait is not None else trio.CancelScope():
                await self._came.wait()

    async def send(
        self,
        content: str,
        *,
        ttl: float | None = None,
        reply_to: str | None = None,
        message_id: str | None = None,
    ) -> Sent:
        """Send a message, and return when the server has it.

        It is sent again, with the same id, after a lost connection and after an error that passes, until its time to
        live (`ttl` in seconds, or that of the room) is over. Messages of a room go one after the other.
        Raises `Refused`, `KeyMissing`, `NotSent` if it was never written, and `OutcomeUnknown` if it was written, and
        there was no answer in its time. Read the events of the room meanwhile, in another task.
        """
        return await self._outgoing.send(content, ttl, reply_to, message_id)

    async def unsend(self, message_id: str) -> None:
        """Take back an own message. Raises `Refused` and `Disconnected`."""
        await self.request({"type": "unsend", "messageId": message_id})

    async def typing(self) -> None:
        """Tell the others that this user is typing; nothing, where there is no connection."""
        connection = self._membership.connection
        if connection is not None:
            try:
                await connection.send({"type": "typing", "roomId": self.room_id})
            except Disconnected:
                return

    async def members(self) -> Members:
        """Return who is in the room. Raises `Refused` and `Disconnected`."""
        return reply_as(Members, await self.request({"type": "members"}))

    async def request(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command of the protocol about this room, such as `{"type": "invite"}`, and return its reply.

        It is sent once. Raises `Refused`, `Disconnected` where there is no answer in 15 s, and `Stopped`.
        """
        connection: Connection | None = None
        with trio.move_on_after(ANSWER_SECONDS):
            connection = await self._membership.wait()
        if connection is None:
            raise Disconnected("there was no connection to the room in time")
        return await connection.request(command | {"roomId": self.room_id})

    async def leave(self) -> None:
        """Leave the room. The last event says so."""
        connection = self._membership.reached
        if self.state == "left":
            return
        self._leave(Left(room_id=self.room_id, reason="left"))
        if connection is not None:
            try:
                await connection.request({"type": "leave", "roomId": self.room_id})
            except (Disconnected, Refused):
                return  # the server ends it with the connection

    # For the client

    async def joined(self) -> None:
        """Wait until the client is in the room. Raises `Refused` and `Stopped`."""
        await self._membership.wait()

    async def join(self, connection: Connection) -> None:
        """Join, or join again, on a connection."""
        try:
            await self._membership.join(connection)
        except Refused as error:
            self._leave(Left(room_id=self.room_id, reason="refused", code=error.code, message=str(error)), error)

    def take(self, frame: list[Fields]) -> None:
        """Take the events of a frame that are of this room. Raises `ValueError` and `KeyError`."""
        events: list[RoomEvent] = []
        left: Left | None = None
        for fields in frame:
            kind = fields["type"]
            if kind == "joined":
                self._feed.take(events)
                events = []
                reply = msgspec.convert(fields, JoinedReply)
                self._feed.joined(reply, resumed=self._membership.joined(reply))
            elif kind == "gap":
                self._membership.gap(str(fields["since"]))
                self._rejoin(self)
            elif kind == "skipped":
                events.append(Missed(room_id=self.room_id, count=int(fields["count"]), reason="skipped"))
            elif kind in PROTOCOL_EVENTS and "ref" not in fields:
                event = msgspec.convert(fields, PROTOCOL_EVENTS[kind])
                events.append(event)
                left = left or self._note(event)
        self._feed.take(events)
        if left is not None:
            self._leave(left)
        self._came.set()

    def _note(self, event: RoomEvent) -> Left | None:
        """Note what an event says of the room, and return how it was left by it."""
        match event:
            case Message():
                self._membership.received(event.cursor)
            case RoomUpdated():
                self._membership.update(event)
            case Removed():
                return Left(room_id=self.room_id, reason="removed")
            case RoomClosed():
                return Left(room_id=self.room_id, reason="closed")
            case _:
                pass
        return None

    def _leave(self, left: Left, error: Refused | None = None) -> None:
        self._feed.take([left])
        self._membership.end(error or NotSent(f"the room was left ({left.reason})"))
        self._forget(self)
        self._came.set()
        self._read.set()

    async def has_space(self) -> None:
        """Wait until the application has read so many events that there is space for others."""
        while self._feed.full and self.state != "left":
            await self._read.wait()

    def lose(self) -> None:
        """Note that the connection was lost."""
        self._membership.lose()

    def stop(self, stopped: Stopped | None) -> None:
        """Note that the client does not connect any more, or, with None, that it does."""
        self._membership.stop(stopped)
        self._came.set()

    def check_time(self) -> None:
        """Check again which messages have expired: the clock was set."""
        self._came.set()

    def _open(self, message: Message) -> Message:
        """Return a message as the application gets it. With a key, all content has to be encrypted."""
        text: str | None = None
        if self._cipher is not None:
            with suppress(CannotOpen):
                text = self._cipher.open(message.content or "", message.sender_id, message.message_id)
        elif not self.options.encrypted:
            return message
        return msgspec.structs.replace(message, content=text, encrypted=True, unreadable=text is None)
