"""Subscriptions to Redis: one thread reads all channels and hands the messages over in batches."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol
from uuid import uuid4

from redis.exceptions import MovedError

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.connection import BROKEN, Address, Connection, refused
from evanesce.store.redis.connection_thread import ConnectionThread
from evanesce.store.redis.faults import code, unavailable
from evanesce.store.redis.heartbeat import SILENCE, Heartbeat
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.node_client import NodeClient

logger = logging.getLogger(__name__)

BATCH = 512
"""How many replies are handed to the Trio thread at once."""

BATCHES = 4
"""How many batches may wait for the Trio thread. Beyond that, messages wait in Redis's buffer, not in this process."""

POLL_SECONDS = 0.5
"""How long the thread waits for messages before it looks for other work, if nothing wakes it."""

PING_SECONDS = 2.0
"""How long nothing may arrive before the thread sends a PING. After twice this time the connection counts as dead."""

LONGEST_DELAY = 0.2
"""The longest delay between two attempts to connect, in seconds."""

POLLED = 500
"""How many listeners are told at each heartbeat to poll the store while the subscription is lost. They take turns."""


class _Silent(OSError):
    """The connection is open, and nothing arrives on it."""


class Listener(Protocol):
    """A subscriber of a channel. All methods are called on the Trio thread."""

    def subscribed(self) -> None:
        """Learn that the channel is subscribed to. At the second call and later, messages before it may be lost."""
        ...

    def push(self, payload: bytes) -> None:
        """Take a published message."""
        ...

    def subscription_lost(self, outage: int) -> None:
        """Learn that published messages do not arrive: poll the store. Called repeatedly with the outage's number."""
        ...


class Subscriber(ConnectionThread):
    """One connection to Redis and the thread that owns it. Use it as a context, from the Trio thread alone.

    Channels are sharded ones (Redis 7), each with a command of its own: in a cluster, one command can only name
    channels of one slot. The thread wakes itself by a message to a plain channel, which `client` publishes on the same
    node. `on_disconnect` is called on the thread when the connection breaks. `on_move` is called on the Trio thread,
    with a channel or a slot, when a cluster has moved that to another node.
    """

    def __init__(
        self,
        address: Address,
        keys: Keys,
        client: NodeClient,
        on_disconnect: Callable[[], None],
        on_move: Callable[[str | None, int | None], None] | None = None,
    ) -> None:
        super().__init__("evanesce-redis-subscriber")
        self._address = address
        self._wake_channel = keys.wake(uuid4().hex)
        self._client = client
        self._on_disconnect = on_disconnect
        self._on_move = on_move
        self._listeners: dict[bytes, list[Listener]] = {}
        self._orders: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._wanted: set[str] = set()
        self._heartbeat = Heartbeat()
        self._polled = 0  # how many listeners were told to poll in this round
        self._reconnect = threading.Event()
        self._batches = threading.Semaphore(BATCHES)

    # On the Trio thread

    async def __aenter__(self) -> Subscriber:
        """Start the thread."""
        self.start()
        return self

    def stop(self) -> None:
        """Make the thread end."""
        self._stopping.set()
        self._wake()

    def add(self, channel: str, listener: Listener) -> None:
        """Add a listener to a channel. After `subscribed` it gets every message, or another `subscribed`."""
        listeners = self._listeners.setdefault(channel.encode(), [])
        listeners.append(listener)
        self._order("SSUBSCRIBE", channel)
        if not self.up:
            listener.subscription_lost(self._heartbeat.outage)

    def remove(self, channel: str, listener: Listener) -> None:
        """Remove a listener from a channel."""
        listeners = self._listeners[channel.encode()]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[channel.encode()]
            self._order("SUNSUBSCRIBE", channel)

    def ask_again(self, channel: str) -> None:
        """Subscribe again to a channel that Redis has dropped or refused."""
        self._order("SSUBSCRIBE", channel)

    @property
    def up(self) -> bool:
        """Whether published messages arrive here, as far as the heartbeats tell."""
        return self._heartbeat.up

    async def beat(self) -> None:
        """Publish a heartbeat, and evaluate the last one. Call it every `HEARTBEAT_SECONDS`.

        While no heartbeat arrives, the thread reconnects again and again, and listeners are told to poll the store.
        Ends within `CALL_SECONDS`.
        """
        if self._heartbeat.begin():
            self._reconnect.set()
        if not self.up:
            self._make_listeners_poll()
        try:
            answers = await self._client.exchange(("PUBLISH", self._wake_channel, ""), urgent=True)
        except StoreUnavailable:
            return  # Redis does not answer: those who send commands notice it
        if (refusal := refused(answers)) is not None:
            self._heartbeat.failed(unavailable(refusal).message)
        self._heartbeat.published()

    def _make_listeners_poll(self) -> None:
        listeners = list(chain.from_iterable(self._listeners.values()))
        if self._polled >= len(listeners):
            self._polled = 0
        for listener in listeners[self._polled : self._polled + POLLED]:
            listener.subscription_lost(self._heartbeat.outage)
        self._polled += POLLED

    def _wake(self) -> None:
        self._client.post(("PUBLISH", self._wake_channel, ""))

    def _order(self, command: str, channel: str) -> None:
        self._orders.put((command, channel))
        self._wake()

    def _deliver(self, batch: Sequence[Any]) -> None:
        self._batches.release()
        for reply in batch:
            if isinstance(reply, MovedError):
                if self._on_move is not None:
                    self._on_move(None, reply.slot_id)
                continue
            kind, channel = reply[0], reply[1]
            if kind in (b"message", b"smessage"):
                self._heartbeat.received()
            if kind == b"sunsubscribe" and channel in self._listeners and self._on_move is not None:
                self._on_move(channel.decode(), None)
            # A copy: listeners may be added or removed meanwhile.
            for listener in tuple(self._listeners.get(channel, ())):
                if kind == b"smessage":
                    listener.push(reply[2])
                elif kind == b"ssubscribe":
                    listener.subscribed()

    # On the own thread

    def _work(self) -> None:
        delay = 0.0
        while not self._stopping.wait(delay):
            connection: Connection | None = None
            started = time.monotonic()
            try:
                connection = self._address.connection()
                connection.connect()
                connection.greet()
                self._listen(connection)
            except BROKEN as error:
                logger.debug("the subscriber's connection broke: %s", code(error))
                self._call_soon(
                    self._heartbeat.failed, SILENCE if isinstance(error, _Silent) else unavailable(error).message
                )
            except Exception as error:
                # A defect, in this code or in the driver: the thread must go on.
                logger.error("the subscriber failed: %s", code(error))
            if connection is not None:
                connection.close()
            self._on_disconnect()
            lasted = time.monotonic() - started > 1
            delay = 0.01 if lasted else min(max(0.01, delay * 2), LONGEST_DELAY)
        self._call_soon(self._ended.set)

    def _listen(self, connection: Connection) -> None:
        self._reconnect.clear()
        self._take_orders(connection, send=False)
        connection.send(("SUBSCRIBE", self._wake_channel), *(("SSUBSCRIBE", channel) for channel in self._wanted))
        received_at = time.monotonic()
        asked = False
        while not self._stopping.is_set():
            self._take_orders(connection, send=True)
            if self._reconnect.is_set():
                raise _Silent()
            if connection.readable(POLL_SECONDS):
                self._hand_over(self._batch(connection))
                received_at, asked = time.monotonic(), False
                continue
            silence = time.monotonic() - received_at
            if silence > 2 * PING_SECONDS:
                raise _Silent()
            if silence > PING_SECONDS and not asked:
                connection.send(("PING",))
                asked = True

    def _take_orders(self, connection: Connection, *, send: bool) -> None:
        orders: list[tuple[str, str]] = []
        while not self._orders.empty():
            orders.append(self._orders.get())
        for command, channel in orders:
            if command == "SSUBSCRIBE":
                self._wanted.add(channel)
            else:
                self._wanted.discard(channel)
        if send and orders:
            connection.send(*orders)

    def _batch(self, connection: Connection) -> list[Any]:
        # The driver waits for the rest of an incomplete reply. If that does not arrive, it raises, and the connection
        # is discarded.
        batch = [_read(connection)]
        while len(batch) < BATCH and connection.readable(0):
            batch.append(_read(connection))
        return batch

    def _hand_over(self, batch: Sequence[Any]) -> None:
        while not self._batches.acquire(timeout=POLL_SECONDS):
            if self._stopping.is_set():
                return
        self._call_soon(self._deliver, batch)


def _read(connection: Connection) -> Any:
    try:
        return connection.read()
    except MovedError as moved:  # this is about one subscription: the connection still works
        return moved
