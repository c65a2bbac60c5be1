"""Shares the keys of encrypted content with the other servers, over a channel; nothing of it is stored in Redis."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from evanesce.errors import StoreUnavailable
from evanesce.logs import folded
from evanesce.model import Draft, Message
from evanesce.store.redis.client import Client
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.cluster_subscriber import ClusterSubscriber
from evanesce.store.redis.homes import Homes
from evanesce.store.redis.subscriber import Subscriber

if TYPE_CHECKING:
    from evanesce.store.sealing.exchange import KeyExchange
    from evanesce.store.sealing.keyring import Keyring

logger = logging.getLogger(__name__)

GREET_SECONDS = 10.0
"""How often a server greets the others: so those who missed a notice get what they lack."""

AGAIN_SECONDS = 0.25
"""How long a server waits at least between two greetings."""

RENEW_SECONDS = 600.0
"""How often a server replaces its private key, and its chain unless a fourth of the longest TTL is longer."""

START_SECONDS = 1.0
"""How long a server that starts waits for the keys of the others."""

PERIOD_SECONDS = 0.5
"""How often keys are overwritten, at least."""

LEARN_SECONDS = 0.5
"""How long a message waits for its key."""

LOST_SECONDS = 10.0
"""For how long nobody waits for keys again that no server had."""

MOST_LOST = 1_000
"""Of how many chains it is remembered that no server had them."""


class SharedKeys:
    """Encrypts and decrypts content with the keys of all servers. `run` must run. It is a `Listener`.

    Offers of a new chain are published before anything is encrypted with it. On one Redis they arrive first, as it
    delivers in order; in a cluster, and after an outage of the subscription, `learn` waits for what is missing.
    """

    def __init__(
        self,
        keyring: Keyring,
        exchange: KeyExchange,
        client: Client,
        homes: Homes,
        subscriber: Subscriber | ClusterSubscriber,
        clock: Clock,
        renew_seconds: float,
    ) -> None:
        self._renew_seconds = renew_seconds
        self._closed = False
        self._lost: dict[str, float] = {}  # until when nobody waits for a chain
        self._keyring = keyring
        self._exchange = exchange
        self._client = client
        self._homes = homes
        self._clock = clock
        self._greeted_at = -math.inf
        self._greeting_due = True
        self._renewed_at = self._chain_renewed_at = trio.current_time()
        self._news = trio.lowlevel.ParkingLot()  # unparked when a notice came
        self._wake = trio.lowlevel.ParkingLot()
        self._malformed = 0
        for home in homes:
            subscriber.add(home.keys.key_notices, self)

    # From the subscriber

    def subscribed(self) -> None:
        """See `Listener.subscribed`. Notices before it may be lost: greet, and others offer what is missing."""
        self._greet_soon()

    def subscription_lost(self, outage: int) -> None:
        """Do nothing: the next subscription greets."""

    def push(self, payloads: Sequence[bytes]) -> None:
        """Take published notices."""
        if self._closed:
            return
        for payload in payloads:
            try:
                replies = self._exchange.receive(payload, trio.current_time())
            except ValueError as error:
                self._malformed += 1
                if self._malformed == 1:  # once, as there may be many
                    logger.warning(
                        "a notice about keys was skipped: %s; all servers on one Redis need the same server.secret",
                        folded(error),
                    )
                continue
            self._publish(replies.offers)
            if replies.greet:
                self._greet_soon()
        self._news.unpark_all()

    # For the message log

    def seal(self, draft: Draft, ttl: int, now: int = 0) -> tuple[Draft, int]:
        """See `ContentCipher.seal`."""
        self._advance()
        return self._keyring.seal(draft, ttl, now)

    def open(self, message: Message) -> Message | None:
        """See `ContentCipher.open`."""
        return self._keyring.open(message)

    async def learn(self, chain: str) -> bool:
        """See `ContentCipher.learn`: it asks the other servers, and waits for `LEARN_SECONDS`."""
        if trio.current_time() < self._lost.get(chain, -math.inf):
            return chain in self._keyring.known
        with trio.move_on_after(LEARN_SECONDS):
            while chain not in self._keyring.known:
                self._greet_soon()
                await self._news.park()
        if chain in self._keyring.known:
            return True
        while len(self._lost) >= MOST_LOST:
            del self._lost[next(iter(self._lost))]
        self._lost[chain] = trio.current_time() + LOST_SECONDS
        return False

    def close(self) -> None:
        """Take and offer no keys any more: they are about to be overwritten."""
        self._closed = True

    # Tasks

    async def start(self) -> None:
        """Wait until the other servers have this server's public key and chain, but at most `START_SECONDS`."""
        self._advance()
        with trio.move_on_after(START_SECONDS):
            try:
                others = await self._homes.any(
                    lambda home: self._client.run(("SPUBLISH", home.keys.key_notices, self._exchange.greeting()))
                )
            except StoreUnavailable:
                return
            self._greeted_at, self._greeting_due = trio.current_time(), False
            while self._exchange.peers < others[0] - 1:  # one of those who got it is this server itself
                await self._news.park()

    async def run(self) -> None:
        """Overwrite keys in time, and greet, until cancelled."""
        while True:
            now = trio.current_time()
            self._advance()
            if now - self._chain_renewed_at >= self._renew_seconds:
                self._chain_renewed_at = now
                self._keyring.renew(self._clock.now())
                self._publish(self._exchange.offer_own())
                self._greeting_due = True
            if now - self._renewed_at >= RENEW_SECONDS:
                self._renewed_at = now
                self._exchange.renew()
                self._greeting_due = True
            if now - self._greeted_at >= (AGAIN_SECONDS if self._greeting_due else GREET_SECONDS):
                self._greeted_at, self._greeting_due = now, False
                self._exchange.forget_silent(now)
                self._publish([self._exchange.greeting()])
            pause = PERIOD_SECONDS - self._clock.now() / 1000 % PERIOD_SECONDS
            if self._greeting_due:
                pause = min(pause, max(0.001, self._greeted_at + AGAIN_SECONDS - now))
            with trio.move_on_after(pause):
                await self._wake.park()

    def _advance(self) -> None:
        if self._keyring.advance(self._clock.now()):
            self._publish(self._exchange.offer_own())
            self._greet_soon()

    def _greet_soon(self) -> None:
        if not self._greeting_due:
            self._greeting_due = True
            self._wake.unpark_all()

    def _publish(self, notices: Sequence[bytes]) -> None:
        if notices:
            channel = self._homes.first_up().keys.key_notices  # in a cluster all servers listen to each primary
            self._client.post(*(("SPUBLISH", channel, notice) for notice in notices))


def share_keys(
    stack: AsyncExitStack,
    client: Client,
    homes: Homes,
    subscriber: Subscriber | ClusterSubscriber,
    clock: Clock,
    *,
    ttl: int,
    secrets: Sequence[str],
) -> SharedKeys:
    """Make the keys of this server; `stack` overwrites them. Needs the extra `encryption`.

    `ttl` is the longest that a message may have, in milliseconds. There is at least one of `secrets`.
    """
    from evanesce.store.sealing.exchange import KeyExchange
    from evanesce.store.sealing.keyring import Keyring
    from evanesce.store.sealing.locked_memory import lock_process

    keyring = stack.enter_context(Keyring(ttl, clock.now()))
    if not lock_process():
        logger.warning(
            "the system may write this process's memory to swap%s: allow it to lock memory (LimitMEMLOCK=infinity), or"
            " switch swap off",
            "" if keyring.locked else ", keys of messages included",
        )
    exchange = KeyExchange(keyring, secrets[0], homes.name, accepted=secrets[1:])
    shared = SharedKeys(keyring, exchange, client, homes, subscriber, clock, max(RENEW_SECONDS, ttl / 4000))
    stack.callback(shared.close)
    return shared
