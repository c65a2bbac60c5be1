"""Who comes back to a locked room after the store has lost its memory, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import ServerTable
from evanesce.model import Record, Timestamp
from evanesce.store.memory import MemoryServer
from evanesce.store.rules import COME_BACK_SECONDS
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server
from tests.core.rooms.clients import QUICK, join_room

WRITTEN_SECONDS = 2.0
"""After how long the session log is written."""


class Asked(MemoryRepository):
    """A repository that counts for how many members it was asked, and gets no records while `cut_off`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.cut_off = False

    async def record(self, records: Sequence[Record]) -> None:
        await super().record([] if self.cut_off else records)

    async def lost(
        self, members: Sequence[tuple[str, str]], after: Timestamp, running: Collection[str]
    ) -> Sequence[bool]:
        self.asked += len(members)
        return await super().lost(members, after, running)


class Deployment:
    """Servers that share a memory and a repository."""

    def __init__(self, *, session_log: bool = True) -> None:
        self.memory = MemoryServer()
        self.repository = Asked()
        self._server = ServerTable(secret="a secret of these servers, for tests", session_log=session_log)

    @asynccontextmanager
    async def start(self) -> AsyncIterator[TestServer]:
        async with memory_server(
            memory=self.memory, repository=self.repository, limits=QUICK, server=self._server
        ) as server:
            yield server
        server.store.stop()

    async def die(self) -> None:
        """Let the session log reach the database, and nothing of what follows, as for a server that is killed."""
        await trio.sleep(WRITTEN_SECONDS)
        self.repository.cut_off = True

    def lose_memory(self) -> None:
        self.memory.come_back(with_memory=False)
        self.repository.cut_off = False


async def answer(server: TestServer, name: str, room: str) -> str:
    """Sign in, and ask to join; return the type of the answer, or the code of the refusal."""
    client = await server.sign_in(name)
    return await ask_again(client, room)


async def ask_again(client: MemoryConnection, room: str) -> str:
    reply = await client.ask("join", roomId=room)
    return str(reply.get("code", reply["type"]))


@pytest.mark.parametrize("killed", [False, True])
async def test_after_a_restart_those_come_back_who_were_there(killed: bool, autojump_clock: MockClock) -> None:
    deployment = Deployment()
    async with deployment.start() as server:
        names = ("Ada", "Bob", "lost", "left", "removed", "lost long ago")
        room, [ada, _, lost, left, removed, lost_long_ago] = await join_room(server, *names)
        removed_id = (await removed.ask("profile"))["userId"]
        await ada.ask("update_room", roomId=room, locked=True)
        lost_long_ago.leave()
        await trio.sleep(COME_BACK_SECONDS)
        lost.leave()
        await left.ask("leave", roomId=room)
        await ada.ask("remove_member", roomId=room, userId=removed_id)
        if killed:
            await deployment.die()
    deployment.lose_memory()
    async with deployment.start() as server:
        for name in ("stranger", "left", "removed", "lost long ago"):
            assert await answer(server, name, room) == "room_locked", name
        for name in ("Bob", "lost", "Ada"):
            assert await answer(server, name, room) == "joined", name


async def test_nobody_comes_back_later(autojump_clock: MockClock) -> None:
    deployment = Deployment()
    async with deployment.start() as server:
        room, [ada, *_] = await join_room(server, "Ada", "Bob", "Cyd")
        await ada.ask("update_room", roomId=room, locked=True)
        await deployment.die()
    deployment.lose_memory()
    async with deployment.start() as server:
        await trio.sleep(COME_BACK_SECONDS - 5)
        assert await answer(server, "Bob", room) == "joined"
        await trio.sleep(5)
        assert await answer(server, "Cyd", room) == "room_locked"
    assert deployment.repository.asked == 1


async def test_the_database_is_not_asked_where_the_store_lost_nothing(autojump_clock: MockClock) -> None:
    deployment = Deployment()
    async with deployment.start() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)
        bob.leave()
        await deployment.die()
    deployment.repository.cut_off = False
    async with deployment.start() as server:
        assert await answer(server, "stranger", room) == "room_locked"
        assert await answer(server, "Bob", room) == "joined"
    assert deployment.repository.asked == 0


async def test_without_a_session_log_the_creator_alone_comes_back(autojump_clock: MockClock) -> None:
    deployment = Deployment(session_log=False)
    async with deployment.start() as server:
        room, [ada, _] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)
    deployment.lose_memory()
    async with deployment.start() as server:
        assert await answer(server, "Bob", room) == "room_locked"
        assert await answer(server, "Ada", room) == "joined"
    assert deployment.repository.asked == 0


@pytest.mark.parametrize("leaves", [True, False])
async def test_who_came_back_and_left_on_purpose_stays_out(leaves: bool, autojump_clock: MockClock) -> None:
    """Also while the database does not know it yet."""
    deployment = Deployment()
    async with deployment.start() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        bobs = (await bob.ask("profile"))["userId"]
        await ada.ask("update_room", roomId=room, locked=True)
        await deployment.die()
    deployment.lose_memory()
    async with deployment.start() as server:
        bob, ada = await server.sign_in("Bob"), await server.sign_in("Ada")
        assert await ask_again(bob, room) == "joined"
        assert await ask_again(ada, room) == "joined"
        if leaves:
            await bob.ask("leave", roomId=room)
        else:
            await ada.ask("remove_member", roomId=room, userId=bobs)
            await bob.until("removed")
        assert await ask_again(bob, room) == "room_locked"
        assert deployment.repository.asked == 2
        await trio.sleep(WRITTEN_SECONDS)
        assert await ask_again(bob, room) == "room_locked"


async def test_who_has_just_left_a_server_that_runs_stays_out(autojump_clock: MockClock) -> None:
    """The session has no end in the database yet, as one of a server that was killed."""
    deployment = Deployment()
    async with deployment.start() as one, deployment.start() as two:
        room, [ada] = await join_room(one, "Ada")
        bob, cyd = await two.sign_in("Bob"), await two.sign_in("Cyd")
        for client in (bob, cyd):
            assert await ask_again(client, room) == "joined"
        await ada.ask("update_room", roomId=room, locked=True)
        await deployment.die()
        await bob.ask("leave", roomId=room)
        deployment.memory.come_back(with_memory=False)
        assert await answer(one, "Bob", room) == "room_locked"
        assert await answer(one, "Cyd", room) == "joined", "who is there is a member"
        deployment.repository.cut_off = False


async def test_a_database_that_does_not_answer_admits_nobody(autojump_clock: MockClock) -> None:
    deployment = Deployment()
    async with deployment.start() as server:
        room, [ada, _] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)
        await deployment.die()
    deployment.lose_memory()
    async with deployment.start() as server:
        ada, bob, stranger = [await server.sign_in(name) for name in ("Ada", "Bob", "stranger")]
        assert await ask_again(ada, room) == "joined"
        await trio.sleep(5)
        for state in ("down", "hung"):
            deployment.repository.state = state
            for client in (bob, stranger):
                client.say("join", ref=1, roomId=room)
            await ada.ask("send", roomId=room, content="nobody waits for them")
            for client in (bob, stranger):
                assert (await client.until("error"))["code"] == "persistence_unavailable"
        deployment.repository.state = "up"
        assert await ask_again(stranger, room) == "room_locked"
        assert await ask_again(bob, room) == "joined"


async def test_who_has_two_devices_comes_back_with_both(autojump_clock: MockClock) -> None:
    deployment = Deployment()
    async with deployment.start() as server:
        room, [ada, _] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True, access="invite")
        await deployment.die()
    deployment.lose_memory()
    async with deployment.start() as server:
        devices = [await server.sign_in("Bob") for _ in range(3)]
        await trio.sleep(5)
        devices[0].say("join", roomId=room)
        await trio.lowlevel.checkpoint()
        for device in devices[1:]:
            device.say("join", roomId=room)
        for device in devices:
            assert (await device.until("joined"))["memberCount"] == 1
        await wait_all_tasks_blocked()
