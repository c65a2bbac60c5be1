"""How often the rules of rooms may change, and at what cost, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.accounts import owned_rooms, room_invites, room_rules, room_votes
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.accounts.people import BY_CREATOR, QUICK, gather


async def test_the_rules_of_a_room_change_so_often_over_all_servers(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob")
        await trio.sleep(60)
        again = await two.sign_in("Ada")
        taken = 0
        for number in range(room_rules.CHANGES_A_MINUTE + 5):
            client = (people.clients["Ada"], again)[number % 2]
            kind = ("update_room", "mute", "unban", "remove_member")[number % 4]
            fields: dict[str, Any] = {} if kind == "update_room" else {"userId": people.ids["Bob"]}
            if kind == "mute":
                fields["seconds"] = 1
            reply = await client.ask(kind, roomId=people.room_id, **fields)
            if reply["type"] == "error":
                assert (reply["code"], reply["retry"]) == ("rate_limited", True)
                assert 0 < reply["retryAfter"] <= 60 / room_rules.CHANGES_A_MINUTE
            else:
                taken += 1
        assert taken == room_rules.CHANGES_A_MINUTE
        # Others cannot use up what the creator has, and another room has its own.
        for _ in range(5):
            assert await people.refused("Bob", "update_room", locked=True) == ("forbidden", None)
        await trio.sleep(60 / room_rules.CHANGES_A_MINUTE)
        assert (await people.ask("Ada", "update_room", locked=True))["locked"]
        other = (await again.ask("create_room"))["roomId"]
        assert (await again.ask("update_room", roomId=other, locked=True))["locked"]


@pytest.mark.parametrize(
    ("kind", "a_minute"),
    [
        ("invite", room_invites.MOST_INVITES),
        ("unban", room_rules.CHANGES_A_MINUTE),
        ("bans", room_rules.PAGES_A_MINUTE),
    ],
)
async def test_a_person_with_many_rooms_writes_no_more_than_with_a_few(
    kind: str, a_minute: int, autojump_clock: MockClock
) -> None:
    """On two servers."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob")
        devices = people.clients["Ada"], await two.sign_in("Ada")
        rooms = [await one.open_room(devices[0]) for _ in range(owned_rooms.ROOMS_AT_ONCE + 3)]
        fields = BY_CREATOR[kind]
        start = trio.current_time()
        done = 0
        for number in range(a_minute):
            for room_id in rooms:
                reply = await devices[number % 2].ask(kind, **fields, roomId=room_id)
                done += reply["type"] != "error"
                assert reply["type"] != "error" or reply["code"] == "rate_limited"
        assert trio.current_time() == start
        most = owned_rooms.ROOMS_AT_ONCE * a_minute
        assert 0.75 * most <= done <= most
        bobs = await one.open_room(people.clients["Bob"])
        assert (await people.clients["Bob"].ask(kind, **fields, roomId=bobs))["type"] != "error", "others may"


async def test_a_person_votes_so_often(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        for _ in range(room_votes.VOTES_A_MINUTE):
            assert (await people.ask("Bob", "vote_remove", userId=people.ids["Dan"]))["votes"] == 1
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Dan"]) == ("rate_limited", None)
        assert (await people.ask("Cyd", "vote_remove", userId=people.ids["Dan"]))["type"] == "vote"
