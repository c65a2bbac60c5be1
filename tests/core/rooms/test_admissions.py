"""Rooms that admit by invite, in virtual time: joins that the database decides."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import PersistenceUnavailable
from evanesce.rooms.admissions import REDEMPTIONS
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, join_room, refusal, user_id
from tests.core.rooms.held import Held


async def test_who_was_admitted_stays_admitted(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, access="invite")
        cyd = await server.sign_in("Cyd")
        assert (await refusal(cyd, "join", roomId=room))[0] == "invite_required"
        assert (await refusal(cyd, "join", roomId=room, invite="wrong"))[0] == "invite_spent"
        invite = await ada.ask("invite", roomId=room, people=1)
        secret = invite["link"].partition("#invite=")[2]
        assert (await cyd.ask("join", roomId=room, invite=secret))["type"] == "joined"
        await cyd.ask("leave", roomId=room)
        assert (await cyd.ask("join", roomId=room, invite=secret))["type"] == "joined"  # no second place is taken
        dan = await server.sign_in("Dan")
        assert (await refusal(dan, "join", roomId=room, invite=secret))[0] == "invite_spent"
        await bob.ask("leave", roomId=room)  # was there when it became a room for those who are invited
        assert (await bob.ask("join", roomId=room))["type"] == "joined"
        await ada.ask("leave", roomId=room)
        assert (await ada.ask("join", roomId=room))["type"] == "joined"


class SlowRepository(MemoryRepository):
    """A repository that answers whether a user was admitted only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = trio.Event()
        self.answer = trio.Event()
        self.down = False

    async def admitted(self, admissions: Any) -> Any:
        self.asked.set()
        await self.answer.wait()
        if self.down:
            raise PersistenceUnavailable
        return await super().admitted(admissions)


async def test_no_message_waits_for_the_database_with_a_join(autojump_clock: MockClock) -> None:
    repository = SlowRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, access="invite")
        secret = (await ada.ask("invite", roomId=room))["link"].partition("#invite=")[2]
        cyd, dan = await server.sign_in("Cyd"), await server.sign_in("Dan")
        cyd.say("join", roomId=room, invite=secret, ref="in")
        await repository.asked.wait()
        assert (await bob.ask("send", roomId=room, content="meanwhile"))["type"] == "sent"
        dan.say("join", roomId=room, ref="gone")
        await wait_all_tasks_blocked()
        dan.leave()  # its join waits, and must not make it a member
        await wait_all_tasks_blocked()
        repository.answer.set()
        joined = await cyd.until("joined", ref="in")
        assert [message["content"] for message in joined["messages"]] == ["meanwhile"]
        assert joined["memberCount"] == 3
        await wait_all_tasks_blocked()
        assert (await ada.ask("members", roomId=room))["memberCount"] == 3


class CountingRepository(MemoryRepository):
    """Counts how many people it admits at the same time: the calls wait until all that may come are there."""

    admitting = most = 0

    async def admit(self, *arguments: Any) -> bool | None:
        self.admitting += 1
        self.most = max(self.most, self.admitting)
        await wait_all_tasks_blocked()
        self.admitting -= 1
        return await super().admit(*arguments)


async def test_the_database_admits_so_many_people_at_once(autojump_clock: MockClock) -> None:
    repository = CountingRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("update_room", roomId=room, access="invite")
        secret = (await ada.ask("invite", roomId=room, people=1_000))["link"].partition("#invite=")[2]
        clients = [await server.sign_in(f"Guest {n}", address=f"10.0.0.{n}") for n in range(3 * REDEMPTIONS)]
        for client in clients:
            client.say("join", roomId=room, invite=secret, ref="in")
        for client in clients:
            await client.until("joined", ref="in")
        assert repository.most == REDEMPTIONS


@pytest.mark.parametrize("last", [False, True])
async def test_a_join_that_the_database_cannot_decide_is_refused(last: bool, autojump_clock: MockClock) -> None:
    """Also where nobody else is in the room, so that it ends."""
    repository = SlowRepository()
    repository.down = True
    repository.answer.set()
    async with memory_server(limits=QUICK, repository=repository) as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("update_room", roomId=room, access="invite")
        if last:
            await ada.ask("leave", roomId=room)
        bob = await server.sign_in("Bob")
        assert (await refusal(bob, "join", roomId=room))[0] == "persistence_unavailable"
        repository.down = False
        assert (await refusal(bob, "join", roomId=room))[0] == "invite_required"


@pytest.mark.parametrize("by", ["leave", "disconnection"])
async def test_a_join_that_was_decided_is_void_when_its_user_has_left(by: str, autojump_clock: MockClock) -> None:
    """The answer of the database comes while the room is busy: the join is behind the request to leave."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with memory_server(limits=QUICK, memory=memory, repository=repository) as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("update_room", roomId=room, access="invite")
        secret = (await ada.ask("invite", roomId=room))["link"].partition("#invite=")[2]
        bob = await server.sign_in("Bob")
        deciding = Held(repository, "admit")
        bob.say("join", roomId=room, invite=secret, ref="in")
        await wait_all_tasks_blocked()
        busy = Held(server.store.events, "typing")
        ada.say("typing", roomId=room)
        await wait_all_tasks_blocked()
        if by == "leave":
            bob.say("leave", roomId=room, ref="out")
        else:
            bob.leave()
        await wait_all_tasks_blocked()
        deciding.release()
        await wait_all_tasks_blocked()
        busy.release()
        await trio.sleep(1)
        assert memory.rooms[room].names.keys() == {await user_id(ada)}
        if by == "leave":
            answers = [(event["ref"], event.get("code", event["type"])) for event in bob.waiting()]
            assert sorted(answers) == [("in", "not_member"), ("out", "left")]
            assert (await bob.ask("join", roomId=room))["type"] == "joined"  # the place of the invite is Bob's
