"""Notices to all servers over one channel, and the revocations that are kept for servers that missed them."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple, get_args

import msgspec
import trio

from evanesce.model import milliseconds
from evanesce.store.control_bus import (
    REVOCATION_SECONDS,
    DrainRequested,
    Notice,
    NoticesLost,
    TokenRevoked,
    UserBanned,
    UserDisconnected,
    UserErased,
    UserRenamed,
    ban_mark,
)
from evanesce.store.redis.client import Client, Deadline
from evanesce.store.redis.cluster_subscriber import ClusterSubscriber
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.scripts import ANNOUNCE
from evanesce.store.redis.subscriber import Subscriber

logger = logging.getLogger(__name__)

WAITING = 10_000
"""How many notices may wait until they are read. Beyond that they are dropped, and `NoticesLost` is returned."""

NOTICE_BYTES = 4096
"""The largest notice that is accepted. A new name with its user has less than 1 KiB."""

MOST_REVOKED = 1_000_000
"""How many revocations Redis keeps. Beyond that, the oldest are dropped."""

SLICE = 100
"""How many ids are looked up in one call."""

REPORT_LOSS_SECONDS = 10.0
"""How often `NoticesLost` is returned while the subscription is lost."""

_KINDS: dict[str, type[Notice]] = {kind.__name__: kind for kind in get_args(Notice)}
_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def encode(notice: Notice) -> bytes:
    """Return a notice as JSON: its kind, and its fields."""
    return msgspec.json.encode([type(notice).__name__, notice])


class Kept(NamedTuple):
    """The id that is kept because of a notice, and until when it is valid; 0: as long as ids are kept."""

    id: str
    until: int = 0


def kept(notice: Notice) -> Kept | None:
    """Return the id that is kept because of a notice; None if there is none."""
    match notice:
        case TokenRevoked(ended) | UserErased(ended):
            return Kept(ended)
        case UserBanned(user_id, until):
            return Kept(ban_mark(user_id), max(1, milliseconds(until)))
        case UserRenamed() | UserDisconnected() | DrainRequested():
            return None


class NoticeQueue:
    """The notices that were received and not read yet, and whether any were lost. It is a `Listener`."""

    def __init__(self) -> None:
        self._waiting: deque[Notice] = deque()
        self._lost = False
        self._news = trio.Event()
        self._loss_reported_at = -math.inf

    def subscribed(self) -> None:
        """See `Listener.subscribed`. Notices before it may be lost."""
        self._lose()

    def subscription_lost(self, outage: int) -> None:
        """Report lost notices every `REPORT_LOSS_SECONDS`: it is not known what is announced meanwhile."""
        now = trio.current_time()
        if now >= self._loss_reported_at + REPORT_LOSS_SECONDS:
            self._loss_reported_at = now
            self._lose()

    def push(self, payloads: Sequence[bytes]) -> None:
        """Take published notices. Notices that this version of the server does not know are skipped."""
        for payload in payloads:
            self._take(payload)

    def _take(self, payload: bytes) -> None:
        if len(payload) > NOTICE_BYTES:
            logger.warning("a notice was skipped: it has %d bytes", len(payload))
            return
        try:
            name, notice = _decoder.decode(payload)
            kind = _KINDS[msgspec.json.decode(name, type=str)]
            decoded = msgspec.json.decode(notice, type=kind)
        except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
            logger.warning("a notice was skipped: it is malformed or of an unknown kind")
            return
        if len(self._waiting) < WAITING:
            self._waiting.append(decoded)
            self._news.set()
        elif not self._lost:
            logger.error("notices are dropped: %d are waiting already", WAITING)
            self._lose()

    def _lose(self) -> None:
        self._lost = True
        self._news.set()

    async def next(self) -> Notice | NoticesLost:
        """Wait for the next notice, or return that some were lost."""
        await self._news.wait()
        if self._lost:
            self._lost = False
            found: Notice | NoticesLost = NoticesLost()
        else:
            found = self._waiting.popleft()
        if not self._waiting:
            self._news = trio.Event()
        return found


class RedisControlBus:
    """Notices to and from all servers, and the sign-ins and users that have ended.

    A notice is published by any primary of a cluster, as all servers listen to each. A revocation is kept on more than
    half of the primaries, and looked up on more than half: so at least one of those that answer has it.
    """

    def __init__(self, client: Client, homes: Homes, subscriber: Subscriber | ClusterSubscriber) -> None:
        self._client = client
        self._homes = homes
        self._queue = NoticeQueue()
        for home in homes:
            subscriber.add(home.keys.control, self._queue)

    async def announce(self, notice: Notice) -> None:
        """See `ControlBus.announce`."""
        keep, told = kept(notice), encode(notice)
        with Deadline():
            if keep is not None and len(self._homes) > 1:
                await self._homes.each(lambda home: self._announce(home, b"", keep))
                keep = None
            await self._homes.any(lambda home: self._announce(home, told, keep))

    async def next_notice(self) -> Notice | NoticesLost:
        """See `ControlBus.next_notice`."""
        return await self._queue.next()

    async def revoked(self, ids: Sequence[str]) -> Collection[str]:
        """See `ControlBus.revoked`."""
        found: set[str] = set()
        with Deadline():
            for some in await self._homes.each(lambda home: self._revoked(home, ids)):
                found |= some
        return found

    async def _announce(self, home: Home, told: bytes, keep: Kept | None) -> None:
        keys = [home.keys.revoked, home.keys.control]
        kept_id, until = ("", 0) if keep is None else keep
        await self._client.run(ANNOUNCE.call(keys, told, kept_id, REVOCATION_SECONDS * 1000, MOST_REVOKED, until))

    async def _revoked(self, home: Home, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), SLICE):
            some = ids[start : start + SLICE]
            ends = await self._client.run(*(("ZSCORE", home.keys.revoked, one) for one in some))
            now = home.clock.now()
            found |= {one for one, end in zip(some, ends, strict=True) if end is not None and float(end) > now}
        return found
