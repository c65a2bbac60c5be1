"""Locked rooms in virtual time: who comes back to them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, come_in, join_room, refusal
from tests.core.rooms.held import SlowHistory


async def test_a_locked_room_admits_its_creator_and_who_comes_back_in_time(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd, dan] = await join_room(server, "Ada", "Bob", "Cyd", "Dan")
        await ada.ask("update_room", roomId=room, locked=True)
        eve = await server.sign_in("Eve")
        assert (await refusal(eve, "join", roomId=room))[0] == "room_locked"
        bob.leave()  # the connection is lost
        dan.leave()
        assert (await cyd.ask("leave", roomId=room))["type"] == "left"
        assert (await refusal(cyd, "join", roomId=room))[0] == "room_locked"
        await trio.sleep(30)
        await come_in(server, "Bob", room)
        await ada.ask("leave", roomId=room)
        assert (await ada.ask("join", roomId=room))["type"] == "joined"
        await trio.sleep(31)
        late = await server.sign_in("Dan")
        assert (await refusal(late, "join", roomId=room))[0] == "room_locked"
        await ada.ask("update_room", roomId=room, locked=False)
        assert (await late.ask("join", roomId=room))["type"] == "joined"


async def test_who_comes_back_to_a_locked_room_may_be_asked_about_in_the_database(autojump_clock: MockClock) -> None:
    """The join waits for the database, and is tried again: that must not count as leaving."""
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, *_] = await join_room(server, "Ada", "Bob", "Cyd")
        await ada.ask("update_room", roomId=room, locked=True, access="invite")
        bob.leave()
        await wait_all_tasks_blocked()
        await come_in(server, "Bob", room)


async def test_who_could_not_come_back_to_a_locked_room_may_try_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)
        bob.leave()
        await wait_all_tasks_blocked()
        history = SlowHistory(server, monkeypatch)
        history.fails = True
        history.answer.set()
        back = await server.sign_in("Bob")
        assert (await refusal(back, "join", roomId=room))[0] == "store_unavailable"
        history.fails = False
        assert (await back.ask("join", roomId=room))["type"] == "joined"


async def test_a_fault_of_a_locked_room_locks_nobody_out(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)

        async def fails(*given: Any) -> None:
            raise RuntimeError("a defect")

        object.__setattr__(server.store.events, "typing", fails)
        bob.say("typing", roomId=room)
        assert (await bob.end())[0] == 1011
        await come_in(server, "Bob", room)
