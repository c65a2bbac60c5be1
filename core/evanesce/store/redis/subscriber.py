"""What Redis publishes: one thread that listens to every channel that anybody here wants, and hands batches over."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import uuid4

import trio
from redis.exceptions import MovedError

from evanesce.store.redis.connection import BROKEN, Address, Connection
from evanesce.store.redis.faults import code

logger = logging.getLogger(__name__)

BATCH = 512
"""How many replies go to the Trio thread in one hop."""

HOPS = 4
"""How many hops may be on their way: a slow event loop is felt in Redis's own buffer, not in this process."""

POLL_SECONDS = 0.5
"""How long the thread listens before it looks for other work, where nothing wakes it."""

PING_SECONDS = 2.0
"""How long nothing may come before Redis is asked for a sign of life; after twice as long the connection is dead."""

LONGEST_DELAY = 0.2
"""The longest delay between two attempts to connect, in seconds."""


def _nothing(_channel: str | None, _slot: int | None) -> None:
    """Learn of what only a cluster does."""


class Listener(Protocol):
    """Who wants a channel. Called on the Trio thread."""

    def acknowledged(self) -> None:
        """The channel is subscribed to. From the second time on: and it was not for a while, what came then is lost."""
        ...

    def push(self, payload: bytes) -> None:
        """This was published."""
        ...


class Subscriber:
    """One connection to Redis and the thread that owns it. Use it as a context, from the Trio thread alone.

    Channels are sharded ones (Redis 7), each with a command of its own: in a cluster one command takes one slot alone.
    `wake` publishes on a plain channel, if it can: so the thread wakes itself. `broken` is called on the thread when
    its connection breaks, `given_up` on the Trio thread, with a channel or a slot, when a cluster has moved that.
    """

    def __init__(
        self,
        address: Address,
        channel: Callable[[str], str],
        wake: Callable[[str], None],
        broken: Callable[[], None],
        given_up: Callable[[str | None, int | None], None] = _nothing,
    ) -> None:
        self._address = address
        self._wake_channel = channel(uuid4().hex)
        self._wake = wake
        self._broken = broken
        self._given_up = given_up
        self._listeners: dict[bytes, list[Listener]] = {}
        self._orders: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._wanted: set[str] = set()
        self._token = trio.lowlevel.current_trio_token()
        self._hops = threading.Semaphore(HOPS)
        self._stopping = threading.Event()
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._work, name="evanesce-redis-subscriber", daemon=True)

    # On the Trio thread

    async def __aenter__(self) -> Subscriber:
        """Start the thread."""
        self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the thread. It is left behind where Redis keeps it waiting: it ends with the process at the latest."""
        self.stop()
        with trio.move_on_after(1) as patience:
            patience.shield = True
            await self._ended.wait()

    def start(self) -> None:
        """Start the thread. Whoever does so sees to its end as well."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end."""
        self._stopping.set()
        self._wake(self._wake_channel)

    def add(self, channel: str, listener: Listener) -> None:
        """Tell `listener` of `channel` from now on; what is published after `acknowledged` reaches it, or that does."""
        listeners = self._listeners.setdefault(channel.encode(), [])
        listeners.append(listener)
        self._order("SSUBSCRIBE", channel)

    def remove(self, channel: str, listener: Listener) -> None:
        """Tell `listener` no more."""
        listeners = self._listeners[channel.encode()]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[channel.encode()]
            self._order("SUNSUBSCRIBE", channel)

    def ask_again(self, channel: str) -> None:
        """Subscribe once more to a channel that Redis gave up, or would not take."""
        self._order("SSUBSCRIBE", channel)

    def _order(self, command: str, channel: str) -> None:
        self._orders.put((command, channel))
        self._wake(self._wake_channel)

    def _deliver(self, batch: Sequence[Any]) -> None:
        self._hops.release()
        for reply in batch:
            if isinstance(reply, MovedError):
                self._given_up(None, reply.slot_id)
                continue
            kind, channel = reply[0], reply[1]
            if kind == b"sunsubscribe" and channel in self._listeners:
                self._given_up(channel.decode(), None)
            # A copy: a listener may go, or another come, while this one is told.
            for listener in tuple(self._listeners.get(channel, ())):
                if kind == b"smessage":
                    listener.push(reply[2])
                elif kind == b"ssubscribe":
                    listener.acknowledged()

    # On the thread of its own

    def _work(self) -> None:
        delay = 0.0
        while not self._stopping.wait(delay):
            connection: Connection | None = None
            started = time.monotonic()
            try:
                connection = self._address.connection()
                connection.connect()
                self._listen(connection)
            except BROKEN as error:
                logger.debug("the subscriber's connection broke: %s", code(error))
            except Exception as error:
                # A defect, ours or the driver's: rooms must not hear nothing for ever.
                logger.error("the subscriber failed: %s", code(error))
            if connection is not None:
                connection.close()
            self._broken()
            lasted = time.monotonic() - started > 1
            delay = 0.01 if lasted else min(max(0.01, delay * 2), LONGEST_DELAY)
        self._hop(self._ended.set)

    def _listen(self, connection: Connection) -> None:
        self._take_orders(connection, send=False)
        connection.send(("SUBSCRIBE", self._wake_channel), *(("SSUBSCRIBE", channel) for channel in self._wanted))
        heard_at = time.monotonic()
        asked = False
        while not self._stopping.is_set():
            self._take_orders(connection, send=True)
            if connection.readable(POLL_SECONDS):
                self._hand_over(self._batch(connection))
                heard_at, asked = time.monotonic(), False
                continue
            silence = time.monotonic() - heard_at
            if silence > 2 * PING_SECONDS:
                raise TimeoutError("no sign of life")
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
        # The driver waits for the rest of a reply that has come in part; where that does not come it raises, and this
        # connection is done with.
        batch = [_read(connection)]
        while len(batch) < BATCH and connection.readable(0):
            batch.append(_read(connection))
        return batch

    def _hand_over(self, batch: Sequence[Any]) -> None:
        while not self._hops.acquire(timeout=POLL_SECONDS):
            if self._stopping.is_set():
                return
        self._hop(self._deliver, batch)

    def _hop(self, act: Callable[..., object], *arguments: Any) -> None:
        try:
            self._token.run_sync_soon(act, *arguments)
        except trio.RunFinishedError:
            self._stopping.set()


def _read(connection: Connection) -> Any:
    try:
        return connection.read()
    except MovedError as moved:  # of one subscription: the connection is as good as before
        return moved
