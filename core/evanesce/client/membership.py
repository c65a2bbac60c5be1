"""Whether a client is in a room: joining, joined or left, over one connection after the other."""

from __future__ import annotations

import random
from typing import Literal

import trio

from evanesce.client.connection import Connection, Fields
from evanesce.client.errors import Disconnected, Refused, Stopped
from evanesce.client.events import JoinedReply, RoomOptions, RoomUpdated
from evanesce.client.signal import Signal
from evanesce.errors import EvanesceError

LONGEST_RETRY = 10.0
"""The longest pause before a command is repeated that the server could not carry out, in seconds."""

MembershipState = Literal["joining", "joined", "left"]


def retry_pause(attempt: int, dice: random.Random, demanded: float | None) -> float:
    """Return the seconds before a refused command is repeated: random, or what the server asks for."""
    return dice.uniform(0, min(LONGEST_RETRY, 2.0 ** min(attempt, 10))) if demanded is None else max(demanded, 0.0)


class Membership:
    """The membership in the room `room_id`. `invite` is sent until the server has let the client in.

    `ended` is why the room was left; `stopped` is set while the client does not connect any more.
    """

    def __init__(self, room_id: str, invite: str | None, dice: random.Random) -> None:
        self.room_id = room_id
        self.state: MembershipState = "joining"
        self.options = RoomOptions()
        self.cursor: str | None = None
        self.ended: EvanesceError | None = None
        self.stopped: Stopped | None = None
        self.changed = Signal()
        self._invite = invite
        self._dice = dice
        self._connection: Connection | None = None
        self._in_gap = False
        self._joining: Connection | None = None
        self._again: str | None = None

    async def join(self, connection: Connection) -> None:
        """Join on a connection, until the server has answered, or the connection is lost. Raises `Refused`.

        Where a join on it waits for its answer, the room is joined once more after that, however often this is called.
        """
        if self._joining is connection:
            self._again = self.cursor
            return
        self._joining, self._again = connection, None
        try:
            await self._join(connection)
            while self._again is not None and self.state != "left":
                self.gap(self._again)
                self._again = None
                await self._join(connection)
        finally:
            if self._joining is connection:
                self._joining = None

    async def _join(self, connection: Connection) -> None:
        attempt = 0
        while self.state != "left" and connection.close_reason is None:
            command: Fields = {"type": "join", "roomId": self.room_id}
            if self.cursor is not None:
                command["since"] = self.cursor
            if self._invite is not None:
                command["invite"] = self._invite
            self._connection = connection
            try:
                await connection.request(command)
                return
            except Disconnected:
                if not connection.delivering:
                    await connection.abort()
                    return
            except Refused as error:
                if not error.retry:
                    raise
                with trio.move_on_after(retry_pause(attempt, self._dice, error.retry_after)):
                    await connection.closed.wait()
            attempt += 1

    def joined(self, reply: JoinedReply) -> bool:
        """Take the reply to `join`, and return whether the client was in the room before."""
        resumed = self.cursor is not None
        self.cursor = reply.cursor
        self.options = reply.room
        self._invite = None
        self._in_gap = False
        if self.state != "left":
            self.state = "joined"
        self.changed.set()
        return resumed

    def received(self, cursor: str) -> None:
        """Note the cursor of a message. In a gap that of the gap holds."""
        if not self._in_gap:
            self.cursor = cursor

    def gap(self, since: str) -> None:
        """Note that messages may have been lost after `since`: the room has to be joined again."""
        self.cursor = since
        self._in_gap = True
        self.state = "joining"

    def update(self, changed: RoomUpdated) -> None:
        """Take changed rules."""
        self.options = RoomOptions(
            message_ttl=changed.message_ttl,
            access=changed.access,
            locked=changed.locked,
            encrypted=self.options.encrypted,
        )

    @property
    def reached(self) -> Connection | None:
        """The connection on which the room was joined, or is being joined."""
        return self._connection

    @property
    def connection(self) -> Connection | None:
        """The connection that is in the room; None where there is none at the moment."""
        return self._connection if self.state == "joined" else None

    def lose(self, connection: Connection | None = None) -> None:
        """Note that a connection was lost, or, without one, the present connection."""
        if connection is None or connection is self._connection:
            self._connection = None
            if self.state == "joined":
                self.state = "joining"

    def end(self, error: EvanesceError) -> None:
        """Note that the room was left for good."""
        self.state = "left"
        self.ended = error
        self._connection = None
        self.changed.set()

    def stop(self, stopped: Stopped | None) -> None:
        """Note that the client does not connect any more, or, with None, that it does."""
        self.stopped = stopped
        self.changed.set()

    async def wait(self) -> Connection:
        """Wait until the client is in the room, and return the connection.

        Raises why the room was left, and `Stopped` while the client does not connect any more.
        """
        while (connection := self.connection) is None:
            if self.ended is not None:
                raise self.ended
            if self.stopped is not None:
                raise self.stopped
            await self.changed.wait()
        return connection
