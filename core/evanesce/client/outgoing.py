"""The messages that a client sends to a room: each with one id, until it is acknowledged or its time is over."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import trio

from evanesce.client.account import Account
from evanesce.client.clock import Mark, ServerClock
from evanesce.client.connection import Connection, Fields
from evanesce.client.errors import Disconnected, KeyMissing, NotSent, OutcomeUnknown, Refused
from evanesce.client.events import Sent, reply_as
from evanesce.client.membership import Membership, retry_pause
from evanesce.confidential import Confidential
from evanesce.errors import EvanesceError
from evanesce.model import new_id
from evanesce.room_encryption import RoomCipher

WAITING_SENDS = 256
"""How many messages of a room may wait for those before them. More are not sent."""


@dataclass(slots=True, repr=False)
class _Draft(Confidential):
    """A message on its way. `sealed` is its content for the server, as it was made for the account `sealed_by`."""

    content: str
    ttl: float | None
    reply_to: str | None
    message_id: str
    sealed: str = ""
    sealed_by: str | None = None
    written_at: Mark | None = field(default=None)


class Outgoing:
    """Sends the messages of one room one after the other, in the order of the calls."""

    def __init__(
        self,
        membership: Membership,
        account: Account,
        clock: ServerClock,
        cipher: RoomCipher | None,
        dice: random.Random,
    ) -> None:
        self._membership = membership
        self._account = account
        self._clock = clock
        self._cipher = cipher
        self._dice = dice
        self._turn = trio.Lock()  # its order is that of the calls
        self._waiting = 0

    async def send(self, content: str, ttl: float | None, reply_to: str | None, message_id: str | None) -> Sent:
        """Send a message, and return the server's acknowledgement; see `Room.send`."""
        if self._waiting >= WAITING_SENDS:
            raise NotSent(f"{WAITING_SENDS} messages wait to be sent already")
        draft = _Draft(content, ttl, reply_to, message_id or new_id())
        self._waiting += 1
        try:
            # A repetition is safe while the server remembers the id. After its life it could be stored twice.
            with trio.move_on_after(self._life(draft)) as patience:
                async with self._turn:
                    return await self._deliver(draft, patience)
        except EvanesceError as error:
            if isinstance(error, Refused | KeyMissing | OutcomeUnknown):
                raise
            self._give_up(draft, str(error))
        finally:
            self._waiting -= 1
        self._give_up(draft, "there was no connection to the room in time")
        raise AssertionError

    def _give_up(self, draft: _Draft, reason: str) -> None:
        if draft.written_at is not None:
            raise OutcomeUnknown(draft.message_id) from None
        raise NotSent(f"the message was not sent: {reason}") from None

    def _life(self, draft: _Draft) -> float:
        """Return for how many seconds after its first attempt a message may be repeated."""
        usual = self._membership.options.message_ttl
        return usual if draft.ttl is None else min(draft.ttl, usual)

    async def _deliver(self, draft: _Draft, patience: trio.CancelScope) -> Sent:
        attempt = 0
        while True:
            connection = await self._membership.wait()
            command = self._command(draft)
            if draft.written_at is None:
                draft.written_at = self._clock.mark()
                patience.deadline = trio.current_time() + self._life(draft)
            elif self._clock.since(draft.written_at) >= self._life(draft):
                raise OutcomeUnknown(draft.message_id)
            try:
                return reply_as(Sent, await connection.request(command))
            except Disconnected:
                await self._replace(connection)
            except Refused as error:
                if not error.retry:
                    raise
                await trio.sleep(retry_pause(attempt, self._dice, error.retry_after))
                attempt += 1

    async def _replace(self, connection: Connection) -> None:
        """End a connection that does not answer, unless its answer waits behind events that nobody reads."""
        if not connection.delivering:
            self._membership.lose(connection)
            await connection.abort()

    def _command(self, draft: _Draft) -> Fields:
        command: Fields = {
            "type": "send",
            "roomId": self._membership.room_id,
            "messageId": draft.message_id,
            "content": self._seal(draft),
        }
        optional = {"ttl": draft.ttl, "replyTo": draft.reply_to}
        return command | {name: value for name, value in optional.items() if value is not None}

    def _seal(self, draft: _Draft) -> str:
        """Return the content for the server, sealed once for the account that sends it."""
        if self._cipher is None:
            if self._membership.options.encrypted:
                raise KeyMissing
            return draft.content
        if draft.sealed_by != self._account.user_id:
            draft.sealed_by = self._account.user_id
            draft.sealed = self._cipher.seal(draft.content, draft.sealed_by, draft.message_id)
        return draft.sealed
