"""Removals in virtual time: the removed are out, whatever comes at the same moment."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import StoreUnavailable
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, come_in, join_room, of_type, refusal, user_id
from tests.core.rooms.held import Held, SlowHistory
from tests.promises.ledger import Ledger


async def test_a_removed_person_is_out_on_all_connections_and_servers(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository, limits=QUICK) as one,
        memory_server(memory=memory, repository=repository, limits=QUICK) as two,
    ):
        room, [ada, bob] = await join_room(one, "Ada", "Bob")
        elsewhere = await come_in(two, "Bob", room)
        cyd = await come_in(two, "Cyd", room)
        cyd.waiting()
        ada.waiting()
        bobs = await user_id(bob)
        ada.say("remove_member", roomId=room, userId=bobs, banSeconds=60)
        await wait_all_tasks_blocked()
        for client in (bob, elsewhere):
            [told] = of_type(client, "removed")
            assert (told["reason"], "until" in told) == ("creator", True)
            assert (await refusal(client, "send", roomId=room, content="still here?"))[0] == "not_member"
        for client in (ada, cyd):
            [left] = of_type(client, "member_left")
            assert left == {"roomId": room, "userId": bobs, "memberCount": 2, "removed": True}
        code, wait = await refusal(elsewhere, "join", roomId=room)
        assert code == "banned"
        assert wait is not None
        assert 59 < wait <= 60
        await trio.sleep(60)
        assert (await bob.ask("join", roomId=room))["type"] == "joined"


async def test_a_person_who_is_removed_without_a_ban_may_come_back(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        await ada.ask("remove_member", roomId=room, userId=await user_id(bob))
        await wait_all_tasks_blocked()
        assert of_type(bob, "removed") == [{"roomId": room, "reason": "creator"}]
        assert (await bob.ask("join", roomId=room))["memberCount"] == 3
        await bob.ask("leave", roomId=room)
        await wait_all_tasks_blocked()
        assert [left.get("removed", False) for left in of_type(cyd, "member_left")] == [True, False]


@pytest.mark.parametrize("ban", [0, 600])
@pytest.mark.parametrize("member", [False, True])
async def test_a_join_that_a_removal_overtakes_is_refused_as_such(
    member: bool, ban: int, autojump_clock: MockClock
) -> None:
    """The removal comes before the answer of the store to the join, of a new member or one who joins again."""
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        bobs = await user_id(bob)
        if not member:
            await bob.ask("leave", roomId=room)
        join = server.store.presence.join
        joined, go_on = trio.Event(), trio.Event()

        async def slow(*given: Any, **named: Any) -> Any:
            outcome = await join(*given, **named)
            joined.set()
            await go_on.wait()
            return outcome

        object.__setattr__(server.store.presence, "join", slow)
        bob.say("join", roomId=room, ref="in")
        await joined.wait()
        await trio.sleep(0.1)
        assert (await ada.ask("remove_member", roomId=room, userId=bobs, banSeconds=ban))["type"] == "ok"
        await wait_all_tasks_blocked()
        go_on.set()
        refused = await bob.until("error", ref="in")
        assert refused["code"] == ("banned" if ban else "not_member")
        assert ("retryAfter" in refused) == bool(ban)
        assert refused["retry"] is False
        await wait_all_tasks_blocked()
        assert bobs not in memory.rooms[room].names
        assert bobs not in memory.rooms[room].away, "who was removed has not lost the connection"
        left = of_type(cyd, "member_left")
        assert [event.get("removed") for event in left] == ([True] if member else [None, True]), "each once"


async def test_who_is_removed_while_the_history_is_read_does_not_get_in(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)
        bobs = await user_id(bob)
        bob.leave()
        await wait_all_tasks_blocked()
        history = SlowHistory(server, monkeypatch)
        back = await server.sign_in("Bob")
        back.say("join", roomId=room, ref="in")
        await history.asked.wait()
        await trio.sleep(0.1)
        await ada.ask("remove_member", roomId=room, userId=bobs)
        history.answer.set()
        assert (await back.until("error", ref="in"))["code"] == "not_member"
        await ada.ask("send", roomId=room, content="without him")
        await wait_all_tasks_blocked()
        assert of_type(back, "message") == []
        assert (await ada.ask("members", roomId=room))["memberCount"] == 1
        assert (await refusal(back, "join", roomId=room))[0] == "room_locked"


@pytest.mark.parametrize("ban", [0, 600])
async def test_who_is_removed_is_out_though_the_clock_of_the_store_went_back(
    ban: int, autojump_clock: MockClock
) -> None:
    memory = Ledger(60)
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await trio.sleep(60)
        memory.set_clock(-3600)
        await ada.ask("remove_member", roomId=room, userId=await user_id(bob), banSeconds=ban)
        await wait_all_tasks_blocked()
        assert len(of_type(bob, "removed")) == 1
        assert (await ada.ask("members", roomId=room))["memberCount"] == 1


async def test_who_came_back_is_not_removed_again_though_the_clock_of_the_store_went_back(
    autojump_clock: MockClock,
) -> None:
    memory = Ledger(60)
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("remove_member", roomId=room, userId=await user_id(bob))
        memory.set_clock(-3600)
        assert (await bob.ask("join", roomId=room))["type"] == "joined"
        memory.go_down()
        memory.come_back()  # removals may have been missed: the database is asked
        await trio.sleep(2)
        assert of_type(bob, "removed") == []
        assert (await ada.ask("members", roomId=room))["memberCount"] == 2


async def test_who_is_removed_while_asking_to_join_again_is_a_member_of_the_room_and_of_the_session(
    autojump_clock: MockClock,
) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        bobs = await user_id(bob)
        again = await server.sign_in("Ada")
        busy = Held(server.store.events, "typing")
        ada.say("typing", roomId=room)
        await wait_all_tasks_blocked()
        bob.say("join", roomId=room, ref="again")
        await wait_all_tasks_blocked()
        assert (await again.ask("remove_member", roomId=room, userId=bobs))["type"] == "ok"
        await wait_all_tasks_blocked()
        busy.release()
        await bob.until("joined", ref="again")
        assert (await bob.ask("leave", roomId=room))["type"] == "left"
        await wait_all_tasks_blocked()
        assert memory.rooms[room].names.keys() == {await user_id(ada)}


async def test_a_removal_that_the_store_refused_once_is_made_up_for(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await trio.sleep(1)
        install = server.store.rules.install
        failed: list[str] = []

        async def fails_once(*given: Any, **named: Any) -> Any:
            if not failed:
                failed.append("install")
                raise StoreUnavailable
            return await install(*given, **named)

        object.__setattr__(server.store.rules, "install", fails_once)
        bobs = await user_id(bob)
        error = await ada.ask("remove_member", roomId=room, userId=bobs, banSeconds=600)
        assert error["code"] == "store_unavailable"
        await trio.sleep(5)  # nobody asks again
        assert [told["reason"] for told in of_type(bob, "removed")] == ["creator"]
        assert memory.rooms[room].names.keys() == {await user_id(ada)}
        assert (await refusal(bob, "join", roomId=room))[0] == "banned"
