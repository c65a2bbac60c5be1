"""Sends a test message through Redis, in a room of its own: followed, stored, received, read and erased."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

import trio

from evanesce.errors import StoreUnavailable
from evanesce.model import Draft
from evanesce.store.message_log import RoomClosed
from evanesce.store.redis.client import CALL_SECONDS, Client, Deadline
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.cluster_subscriber import ClusterSubscriber
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.message_log import RedisMessageLog
from evanesce.store.redis.scripts import Command
from evanesce.store.redis.subscriber import Subscriber
from evanesce.store.redis.topology import Node

KEEP_MILLISECONDS = 10_000
"""How long the keys of a probe are kept if they could not be erased. An index has its grace period in addition."""

ATTEMPTS = 1_000
"""How many room names are tried to find one on each primary. This takes milliseconds in which no other task runs."""


def new_room() -> str:
    """Return a random room id for a probe. No room of users has such an id."""
    return f"check-{token_hex(16)}"


def rooms_everywhere(client: Client, keys: Keys, attempts: int = ATTEMPTS) -> dict[Node | None, str]:
    """Return a room id for a probe on each primary of a cluster, or on a single Redis (None).

    A primary with very few slots may be left out, unless there are more `attempts`.
    """
    if not isinstance(client, ClusterClient):
        return {None: new_room()}
    rooms: dict[Node | None, str] = {}
    primaries = client.primaries
    for _ in range(attempts):
        if len(rooms) == len(primaries):
            break
        room_id = new_room()
        node = client.node_of(keys.events(room_id))
        if node in primaries:
            rooms.setdefault(node, room_id)
    return rooms


class _MessageListener:
    """A listener of the room's channel that waits for one message."""

    def __init__(self, message_id: str) -> None:
        self.listening = trio.Event()
        self.received = trio.Event()
        self._message_id = message_id.encode()

    def subscribed(self) -> None:
        self.listening.set()

    def push(self, payloads: Sequence[bytes]) -> None:
        if any(self._message_id in payload for payload in payloads):
            self.received.set()

    def subscription_lost(self, outage: int) -> None:
        """Do nothing: the probe has a deadline."""


class Probe:
    """Sends test messages. They are not reported to the eraser, as each is erased at once."""

    def __init__(self, client: Client, subscriber: Subscriber | ClusterSubscriber, keys: Keys, clock: Clock) -> None:
        self._client = client
        self._subscriber = subscriber
        self._keys = keys
        self._log = RedisMessageLog(client, keys, clock, KEEP_MILLISECONDS, keep=KEEP_MILLISECONDS)

    async def message(self, room_id: str, seconds: float = CALL_SECONDS) -> None:
        """Send one message in a room of `new_room`, and leave nothing in Redis.

        Raises `StoreUnavailable` within `seconds`, with the step that failed.
        """
        draft = Draft(message_id=token_hex(16), room_id=room_id, sender_id="check", sender_name="", content="")
        listener, channel = _MessageListener(draft.message_id), self._keys.events(room_id)
        step, erased = "looked for", False
        self._subscriber.add(channel, listener)
        try:
            with Deadline(seconds):
                await self._log.read(room_id, None, 0)
                step = "followed"
                await listener.listening.wait()
                step = "stored"
                await self._log.append(room_id, [draft])
                step = "received"
                await listener.received.wait()
                step = "read"
                page = await self._log.history(room_id, None, 1, 1)
                if isinstance(page, RoomClosed) or [one.message.message_id for one in page.messages] != [
                    draft.message_id
                ]:
                    raise StoreUnavailable("It is not in the message store.")
                step = "erased"
                await self._client.run(self._erase(draft))
                erased = True
        except StoreUnavailable as error:
            raise StoreUnavailable(f"A message could not be {step}: {error.message}", advice=error.advice) from None
        finally:
            self._subscriber.remove(channel, listener)
            if not erased:
                self._client.post(self._erase(draft))

    def _erase(self, draft: Draft) -> Command:
        keys, room_id, message_id = self._keys, draft.room_id, draft.message_id
        return (
            "UNLINK",
            *(keys.message(room_id, message_id), keys.unsent(room_id, message_id)),
            *(keys.index(room_id), keys.state(room_id)),
        )
