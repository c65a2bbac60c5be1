"""Subscriptions to Redis: one task reads all channels, and hands each message to its listeners at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol
from uuid import uuid4

import trio
from redis.exceptions import MovedError, RedisError

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.connection import BROKEN, Address, Connection, refused
from evanesce.store.redis.connection_task import ConnectionTask
from evanesce.store.redis.faults import code, unavailable
from evanesce.store.redis.heartbeat import SILENCE, Heartbeat
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.scripts import WIPE, Command
from evanesce.store.redis.stream import Stream

logger = logging.getLogger(__name__)

SILENT_SECONDS = 4.0
"""How long nothing may arrive, not even the answer to a PING. Then the connection counts as dead."""

LONGEST_DELAY = 0.2
"""The longest delay between two attempts to connect, in seconds."""

BUSY_SECONDS = 0.005
"""For how long messages are handed over before other tasks run."""

LASTED_SECONDS = 1.0
"""A connection that lasted longer is replaced at once."""

POLLED = 500
"""How many listeners are told at each heartbeat to poll the store while the subscription is lost. They take turns."""

FILLER = " " * 16_383
"""What overwrites the buffers of connections in Redis, which have 16,384 bytes and a few more.

It is longer than they are, together with what is before it in an answer. But Valkey 9 sends a text of 16,384 bytes or
more without a buffer.
"""

LONG_FILLER = " " * 32_700
"""What overwrites the buffer for commands, which grows with them.

Redis reads a text of 32,768 bytes or more into memory of its own.
"""


class _Silent(OSError):
    """The connection is open, and nothing arrives on it."""


class Listener(Protocol):
    """A subscriber of a channel. All methods are called on the Trio thread."""

    def subscribed(self) -> None:
        """Learn that the channel is subscribed to. At the second call and later, messages before it may be lost."""
        ...

    def push(self, payloads: Sequence[bytes]) -> None:
        """Take published messages, in order: all that arrived together."""
        ...

    def subscription_lost(self, outage: int) -> None:
        """Learn that published messages do not arrive: poll the store. Called repeatedly with the outage's number."""
        ...


class Subscriber(ConnectionTask):
    """One connection to Redis. Use it as a context, or run `serve`, and use it from the Trio thread alone.

    Channels are sharded ones (Redis 7), each with a command of its own: in a cluster, one command can only name
    channels of one slot. Heartbeats come by a plain channel, on which `client` publishes at the same node.
    `on_disconnect` is called when the connection breaks, and `on_move` with a channel or a slot when a cluster has
    moved that to another node.
    """

    def __init__(
        self,
        address: Address,
        keys: Keys,
        client: NodeClient,
        on_disconnect: Callable[[], None] | None = None,
        on_move: Callable[[str | None, int | None], None] | None = None,
    ) -> None:
        super().__init__(address)
        self._heartbeat_channel = keys.wake(uuid4().hex)
        self._client = client
        self._on_disconnect = on_disconnect
        self._on_move = on_move
        self._listeners: dict[bytes, list[Listener]] = {}
        self._orders: list[Command] = []  # to be sent; without a connection none: the next subscribes to all channels
        self._ordered = trio.lowlevel.ParkingLot()
        self._heartbeat = Heartbeat()
        self._polled = 0  # how many listeners were told to poll in this round
        self._tried = trio.Event()  # it was tried once to connect

    async def _started(self) -> None:
        """Wait until it was tried once to connect, but at most 1 s."""
        with trio.move_on_after(1):
            await self._tried.wait()

    def add(self, channel: str, listener: Listener) -> None:
        """Add a listener to a channel. After `subscribed` it gets every message, or another `subscribed`."""
        self._listeners.setdefault(channel.encode(), []).append(listener)
        self.ask_again(channel)
        if not self.up:
            listener.subscription_lost(self._heartbeat.outage)

    def remove(self, channel: str, listener: Listener) -> None:
        """Remove a listener from a channel."""
        listeners = self._listeners[channel.encode()]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[channel.encode()]
            self._order(("SUNSUBSCRIBE", channel))

    def ask_again(self, channel: str) -> None:
        """Subscribe again to a channel that Redis has dropped or refused."""
        self._order(("SSUBSCRIBE", channel))

    def _order(self, command: Command) -> None:
        if self._stream is not None:
            self._orders.append(command)
            self._ordered.unpark()

    @property
    def up(self) -> bool:
        """Whether published messages arrive here, as far as the heartbeats tell."""
        return self._heartbeat.up

    async def beat(self) -> None:
        """Publish a heartbeat, and evaluate the last one. Call it every `HEARTBEAT_SECONDS`.

        Also overwrite what Redis keeps of messages in the buffers of both connections and in Lua: on a quiet server it
        would stay there beyond their ends. While no heartbeat arrives, it connects anew again and again, and listeners
        are told to poll the store. Ends within `CALL_SECONDS`.
        """
        # This process may have been stopped, and messages may be here: they are received first.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        if self._heartbeat.begin() and self._stream is not None:
            self._break(_Silent())
        self._look_for_silence()
        self._order(("PING", FILLER))
        if not self.up:
            self._make_listeners_poll()
        try:
            heartbeat, _ = await self._client.exchange(
                ("PUBLISH", self._heartbeat_channel, ""), WIPE.call([], LONG_FILLER, len(FILLER)), urgent=True
            )
        except StoreUnavailable:
            return  # Redis does not answer: those who send commands notice it
        if (refusal := refused([heartbeat])) is not None:
            self._heartbeat.failed(unavailable(refusal).message)
        self._heartbeat.published()

    def _look_for_silence(self) -> None:
        if self._stream is None:
            return
        if trio.current_time() - self._stream.received_at > SILENT_SECONDS:
            self._break(_Silent())

    def _make_listeners_poll(self) -> None:
        listeners = list(chain.from_iterable(self._listeners.values()))
        if self._polled >= len(listeners):
            self._polled = 0
        for listener in listeners[self._polled : self._polled + POLLED]:
            listener.subscription_lost(self._heartbeat.outage)
        self._polled += POLLED

    # The connection

    async def _serve(self) -> None:
        delay = 0.0
        while True:
            await trio.sleep(delay)
            started = trio.current_time()
            try:
                stream = await self._connect(_nothing_more)
                self._tried.set()
                broken = await self._listen(stream)
            except Exception as error:
                broken = error
            self._tried.set()
            self._report(broken)
            if self._on_disconnect is not None:
                self._on_disconnect()
            lasted = trio.current_time() - started > LASTED_SECONDS
            delay = 0.01 if lasted else min(max(0.01, delay * 2), LONGEST_DELAY)

    async def _listen(self, stream: Stream) -> Exception | None:
        """Subscribe to all channels, and hand messages over; see `_use`."""
        self._orders = [("SSUBSCRIBE", channel) for channel in self._listeners]
        return await self._use(stream)

    def _report(self, broken: Exception | None) -> None:
        if isinstance(broken, BROKEN):
            logger.debug("the subscriber's connection broke: %s", code(broken))
            self._heartbeat.failed(SILENCE if isinstance(broken, _Silent) else unavailable(broken).message)
        elif broken is not None:  # a defect, in this code or in the driver: the subscriber must go on
            logger.error("the subscriber failed: %s", code(broken))

    async def _send(self, stream: Stream) -> None:
        await stream.send(("SUBSCRIBE", self._heartbeat_channel))
        while True:
            orders, self._orders = self._orders, []
            await stream.send(*orders)
            if not self._orders:
                await self._ordered.park()

    async def _receive(self, stream: Stream) -> None:
        while True:
            await stream.wait_readable()
            self._client.take_answers()
            answers = stream.receive()
            published: dict[bytes, list[bytes]] = {}
            for answer in answers:
                if answer.__class__ is list and answer[0] == b"smessage":
                    published.setdefault(answer[1], []).append(answer[2])
                    continue
                await self._publish(published)  # what came before the answer, such as that a channel is subscribed to
                self._handle(answer)
            await self._publish(published)

    async def _publish(self, published: dict[bytes, list[bytes]]) -> None:
        """Hand messages over to their listeners, and forget them. Other tasks run where that takes long."""
        if not published:
            return
        self._heartbeat.received()
        started = time.monotonic()
        for channel, payloads in published.items():
            # A copy: listeners may be added or removed meanwhile.
            for listener in tuple(self._listeners.get(channel, ())):
                listener.push(payloads)
            if time.monotonic() - started > BUSY_SECONDS:
                await trio.lowlevel.checkpoint()
                started = time.monotonic()
        published.clear()

    def _handle(self, answer: Any) -> None:
        if isinstance(answer, MovedError):  # this is about one subscription: the connection still works
            told: Any = answer  # the driver has no complete types
            if self._on_move is not None:
                self._on_move(None, told.slot_id)
            return
        if isinstance(answer, RedisError):
            raise answer
        kind, channel = answer[0], answer[1]
        if kind == b"message":
            self._heartbeat.received()
        if kind == b"sunsubscribe" and channel in self._listeners and self._on_move is not None:
            self._on_move(channel.decode(), None)
        if kind == b"ssubscribe":
            for listener in tuple(self._listeners.get(channel, ())):
                listener.subscribed()


def _nothing_more(connection: Connection) -> None:
    """Prepare nothing: the subscriptions follow when the connection is open."""
