"""Changes of the rules of rooms while the store or the database is down, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.store.memory import MemoryServer
from evanesce.testing.server import memory_server
from tests.core.accounts.people import BY_CREATOR, QUICK, DeafRepository, gather, vote_out


@pytest.mark.parametrize(("kind", "fields"), [("unban", {}), ("remove_member", {"banSeconds": 1})])
async def test_the_end_of_the_ban_of_a_vote_that_the_store_did_not_take_is_not_lost(
    kind: str, fields: dict[str, Any], autojump_clock: MockClock
) -> None:
    """Also where the database never had that ban."""
    memory, repository = MemoryServer(), DeafRepository()
    async with memory_server(limits=QUICK, memory=memory, repository=repository) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = True
        await vote_out(people, "Dan", "Bob", "Cyd")
        repository.deaf = False
        memory.go_down()
        assert (await people.refused("Ada", kind, userId=people.ids["Dan"], **fields))[0] == "store_unavailable"
        memory.come_back()
        await trio.sleep(3)
        assert (await people.ask("Dan", "join"))["type"] == "joined"


@pytest.mark.parametrize("kind", ["update_room", "remove_member", "unban"])
async def test_a_change_that_the_store_did_not_take_is_not_lost(kind: str, autojump_clock: MockClock) -> None:
    """Its sender is told to repeat it; it is made in any case."""
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        people = await gather(server, "Ada", "Bob", "Cyd")
        cyd = people.ids["Cyd"]
        fields: dict[str, Any] = {
            "update_room": {"locked": True},
            "remove_member": {"userId": people.ids["Bob"], "banSeconds": 500},
            "unban": {"userId": cyd},
        }[kind]
        await people.ask("Ada", "remove_member", userId=cyd, banSeconds=500)
        memory.go_down()
        reply = await people.ask("Ada", kind, **fields)
        assert (reply["code"], reply["retry"]) == ("store_unavailable", True)
        memory.come_back()
        await trio.sleep(2)
        match kind:
            case "update_room":
                assert [told["locked"] for told in people.told("Bob", "room_updated")] == [True]
            case "remove_member":
                assert await people.refused("Bob", "join") == ("banned", None)
            case _:
                assert (await people.ask("Ada", kind, **fields))["type"] == "ok"
                assert (await people.ask("Cyd", "join"))["type"] == "joined"


@pytest.mark.parametrize("kind", sorted(set(BY_CREATOR) - {"mute"}))
async def test_without_the_database_nothing_else_changes(kind: str, autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        fields = dict(BY_CREATOR[kind])
        if "userId" in fields:
            fields["userId"] = people.ids["Bob"]
        server.repository.state = "down"
        reply = await people.ask("Ada", kind, **fields)
        assert (reply["code"], reply["retry"]) == ("persistence_unavailable", True)
        server.repository.state = "up"
        assert (await people.ask("Bob", "room"))["locked"] is False
        assert (await people.ask("Bob", "send", content="hello"))["type"] == "sent"
