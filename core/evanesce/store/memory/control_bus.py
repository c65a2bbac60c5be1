"""Notices and revocations in memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence

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
from evanesce.store.memory.server import STARTED_AT, MemoryServer

WAITING = 1_000
"""How many notices may wait until they are read. While so many wait, new ones are dropped."""


class MemoryControlBus:
    """The `ControlBus` of one server."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._waiting: deque[Notice | NoticesLost] = deque([NoticesLost()])
        self._news = trio.Event()
        self._news.set()
        server.listeners.append(self._receive)

    def stop(self) -> None:
        """Receive no more notices."""
        if self._receive in self._server.listeners:
            self._server.listeners.remove(self._receive)

    async def announce(self, notice: Notice) -> None:
        """See `ControlBus.announce`."""

        def act() -> None:
            match notice:
                case TokenRevoked(ended) | UserErased(ended):
                    self._server.revoked[ended] = trio.current_time() + REVOCATION_SECONDS
                case UserBanned(user_id, until):
                    seconds = (milliseconds(until) - STARTED_AT) / 1000 - self._server.elapsed()
                    kept = min(seconds, REVOCATION_SECONDS)
                    self._server.revoked[ban_mark(user_id)] = trio.current_time() + kept
                case UserRenamed() | UserDisconnected() | DrainRequested():
                    pass
            for listener in self._server.listeners:
                listener(notice)

        await self._server.ask(act)

    async def next_notice(self) -> Notice | NoticesLost:
        """See `ControlBus.next_notice`."""
        await self._news.wait()
        notice = self._waiting.popleft()
        if not self._waiting:
            self._news = trio.Event()
        return notice

    async def revoked(self, ids: Sequence[str]) -> Collection[str]:
        """See `ControlBus.revoked`."""

        def act() -> Collection[str]:
            now = trio.current_time()
            return {one for one in ids if self._server.revoked.get(one, -math.inf) > now}

        return await self._server.ask(act)

    def _receive(self, notice: Notice | NoticesLost) -> None:
        if isinstance(notice, NoticesLost) or len(self._waiting) < WAITING:
            self._waiting.append(notice)
        elif self._waiting[-1] != NoticesLost():
            self._waiting.append(NoticesLost())
        self._news.set()
