"""Two servers in virtual time whose ways to the store, and to each other, can be made faulty."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import trio

from evanesce.errors import PersistenceUnavailable, StoreUnavailable
from evanesce.model import Timestamp, User
from evanesce.store.control_bus import Notice, NoticesLost
from evanesce.store.memory import MemoryServer, MemoryStore, memory_store
from evanesce.store.memory.control_bus import MemoryControlBus
from evanesce.store.memory.message_log import MemoryMessageLog
from evanesce.store.memory.rate_limits import MemoryRateLimits
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server

RETRIED = ("store_unavailable", "persistence_unavailable")


class Gate:
    """Holds up the first task that comes to one step, until it is opened."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.reached = trio.Event()
        self.opened = trio.Event()

    async def come(self, step: str) -> None:
        if step == self.step and not self.reached.is_set():
            self.reached.set()
            await self.opened.wait()


class Link:
    """The connection of one store to the server. While it is `cut`, no request is answered."""

    def __init__(self) -> None:
        self.cut = False

    async def use(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.cut:
            raise StoreUnavailable


class FaultyControlBus(MemoryControlBus):
    """A control bus whose notices can be lost, late or out of order.

    While the link is cut, no notice is received until `mend`, which reports that notices may have been lost.
    `deaf`: notices are lost without a report. `late`: by how many seconds they are late. `swapped`: of two notices
    the second is received first.
    """

    def __init__(self, server: MemoryServer, link: Link) -> None:
        super().__init__(server)
        self.link = link
        self.deaf = False
        self.late = 0.0
        self.swapped = False
        self._held: list[Notice | NoticesLost] = []

    def mend(self) -> None:
        self.link.cut = False
        self._receive(NoticesLost())

    async def next_notice(self) -> Notice | NoticesLost:
        if self._held:
            return self._held.pop()
        while True:
            notice = await super().next_notice()
            if self.link.cut or (self.deaf and notice != NoticesLost()):
                continue
            if self.late:
                await trio.sleep(self.late)
            if self.swapped and notice != NoticesLost():
                with trio.move_on_after(30):
                    second = await super().next_notice()
                    self._held.append(notice)
                    return second
            return notice

    async def announce(self, notice: Notice) -> None:
        await self.link.use()
        await super().announce(notice)

    async def revoked(self, ids: Sequence[str]) -> Collection[str]:
        await self.link.use()
        return await super().revoked(ids)


class FaultyMessageLog(MemoryMessageLog):
    def __init__(self, server: MemoryServer, link: Link) -> None:
        super().__init__(server, ttl=60)
        self.link = link

    async def close_room(self, room_id: str, reason: str) -> None:
        await self.link.use()
        await super().close_room(room_id, reason)


class GatedRateLimits(MemoryRateLimits):
    def __init__(self, server: MemoryServer, server_name: str, gate: Gate | None) -> None:
        super().__init__(server, server_name)
        self.gate = gate

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        if self.gate is not None:
            await self.gate.come("before it is counted")
        answer = await super().connect(user_id, here, most)
        if self.gate is not None:
            await self.gate.come("after it was counted")
        return answer


@dataclass(frozen=True)
class FaultyStore(MemoryStore):
    """A store with a control bus that can be made faulty, and whose connections can be held up at a gate."""

    control: FaultyControlBus


def faulty_store(name: str, server: MemoryServer, gate: Gate | None = None) -> FaultyStore:
    sound, link = memory_store(server_id=name, server=server), Link()
    server.listeners.pop()  # the faulty bus takes its place
    parts = {part.name: getattr(sound, part.name) for part in fields(sound)} | {
        "messages": FaultyMessageLog(server, link),
        "control": FaultyControlBus(server, link),
        "rate_limits": GatedRateLimits(server, sound.servers.server_name, gate),
    }
    return FaultyStore(**parts)


class SlowRepository(MemoryRepository):
    """A database whose answers can be late, unknown, or held up at a gate. `late` is in seconds."""

    def __init__(self, gate: Gate | None = None) -> None:
        super().__init__()
        self.gate = gate
        self.late = 0.0
        self.unknown = False
        """Whether what ends a sign-in or an account is done, and yet no answer comes."""

    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        if sign_in_id is not None and self.gate is not None:
            await self.gate.come("before the database is read")
        user = await super().user(user_id, sign_in_id)
        if sign_in_id is not None:
            if self.gate is not None:
                await self.gate.come("after the database was read")
            await trio.sleep(self.late)
        return user

    async def signed_in(self, sign_ins: Sequence[tuple[str, str]]) -> Sequence[User | None]:
        users = await super().signed_in(sign_ins)
        await trio.sleep(self.late)
        return users

    async def revoke_sign_in(self, sign_in_id: str, until: Timestamp) -> None:
        await super().revoke_sign_in(sign_in_id, until)
        if self.unknown:
            raise PersistenceUnavailable

    async def erase_user(self, user_id: str, now: Timestamp) -> list[str]:
        if self.gate is not None:
            await self.gate.come("before the account is erased")
        rooms = await super().erase_user(user_id, now)
        if self.gate is not None:
            await self.gate.come("after the account was erased")
        if self.unknown:
            raise PersistenceUnavailable
        return rooms


@dataclass
class Pair:
    """Two servers, `a` and `b`, on one store and one database."""

    a: TestServer
    b: TestServer
    store_a: FaultyStore
    store_b: FaultyStore
    memory: MemoryServer
    repository: SlowRepository
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    async def arrive(self, server: TestServer, name: str) -> MemoryConnection:
        """Connect as a user: with the first token of that user, where there is one."""
        connection = server.connect()
        if name in self.tokens:
            await connection.ask("hello", token=self.tokens[name])
        else:
            welcome = await connection.ask("hello", credential={"provider": "name", "name": name})
            self.tokens[name] = welcome["token"]
        return connection


async def persist(connection: MemoryConnection, command: str, **fields: Any) -> None:
    """Ask for something as a client does: again, while the answer is that it may be tried again."""
    while True:
        answer = await connection.ask(command, **fields)
        if answer.get("code") not in RETRIED:
            return
        await trio.sleep(0.25)


@asynccontextmanager
async def a_pair(gate: Gate | None = None) -> AsyncGenerator[Pair, None]:
    memory, repository = MemoryServer(), SlowRepository(gate)
    store_a, store_b = faulty_store("a", memory, gate), faulty_store("b", memory)
    async with (
        memory_server(store=store_a, repository=repository) as a,
        memory_server(store=store_b, repository=repository) as b,
    ):
        yield Pair(a, b, store_a, store_b, memory, repository)
