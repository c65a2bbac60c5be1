"""Mutes in rooms, in virtual time: whom they hold for, and how many there are."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from evanesce.store.memory import MemoryServer
from evanesce.store.memory import rules as memory_rules
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.accounts.people import NOBODY, QUICK, gather


async def test_mutes_need_no_database(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        server.repository.state = "down"
        assert (await people.ask("Ada", "mute", userId=people.ids["Bob"], seconds=60))["type"] == "ok"
        assert await people.refused("Bob", "send", content="hello") == ("muted", None)
        assert (await people.ask("Ada", "mute", userId=people.ids["Bob"], seconds=0))["type"] == "ok"
        assert (await people.ask("Bob", "send", content="hello"))["type"] == "sent"
        server.repository.state = "up"


@pytest.mark.parametrize("known", [True, False], ids=["database up", "database down"])
async def test_a_mute_holds_for_the_person_whatever_account_and_server_it_is(
    known: bool, autojump_clock: MockClock
) -> None:
    """Without the database only the server that the person joins knows who it is."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob")
        eve = await two.sign_in("Eve")
        eves = (await eve.ask("profile"))["userId"]
        repository.state = "up" if known else "down"
        assert (await people.ask("Ada", "mute", userId=eves, seconds=1_000))["type"] == "ok"
        repository.state = "up"
        for server in (one, two):
            assert (await eve.ask("join", roomId=people.room_id))["type"] == "joined"
            refused = await eve.ask("send", roomId=people.room_id, content="hello")
            assert (refused["type"], refused["code"]) == ("error", "muted")
            assert refused["retryAfter"] <= 1_000
            await eve.ask("forget_me")
            eve = await server.sign_in("Eve")
            assert (await eve.ask("profile"))["userId"] != eves
            people.told("Bob", "member_muted")
            assert (await eve.ask("join", roomId=people.room_id))["type"] == "joined"
            for kind, fields in (("send", {"content": "hello"}), ("typing", {})):
                assert (await eve.ask(kind, roomId=people.room_id, **fields))["code"] == "muted"
            eves = (await eve.ask("profile"))["userId"]
            assert [told["userId"] for told in people.told("Bob", "member_muted")] == [eves]
            await eve.ask("leave", roomId=people.room_id)
        assert (await people.ask("Ada", "mute", userId=eves, seconds=0))["type"] == "ok"
        assert (await eve.ask("join", roomId=people.room_id))["type"] == "joined"
        assert (await eve.ask("send", roomId=people.room_id, content="hello"))["type"] == "sent"


async def test_who_is_muted_exists(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada")
        assert await people.refused("Ada", "mute", userId=NOBODY, seconds=10) == ("bad_request", "userId")


async def test_a_room_has_so_many_mutes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_rules, "MOST_MUTES", 2)
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        for name in ("Bob", "Cyd", "Bob"):
            assert (await people.ask("Ada", "mute", userId=people.ids[name], seconds=60))["type"] == "ok"
        fields = {"userId": people.ids["Dan"], "seconds": 60}
        assert await people.refused("Ada", "mute", **fields) == ("conflict", None)
        await people.ask("Ada", "mute", userId=people.ids["Bob"], seconds=0)
        assert (await people.ask("Ada", "mute", **fields))["type"] == "ok"
