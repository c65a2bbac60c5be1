"""Removals by the creator and bans, in virtual time: whom they hold for, and how they are listed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from evanesce.accounts import owned_rooms, room_rules
from evanesce.model import Ban, Timestamp
from evanesce.protocol.codec import FRAME_BYTES
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.accounts.people import NOBODY, QUICK, gather


async def test_bans_are_listed_until_they_end_and_can_be_ended(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        cyd, dan = people.ids["Cyd"], people.ids["Dan"]
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"])  # no ban
        await people.ask("Ada", "remove_member", userId=cyd, banSeconds=100)
        await trio.sleep(1)
        await people.ask("Ada", "remove_member", userId=dan, banSeconds=50)
        listed = (await people.ask("Ada", "bans"))["bans"]
        assert [(ban["userId"], ban["displayName"]) for ban in listed] == [(dan, "Dan"), (cyd, "Cyd")]
        assert all(set(ban) == {"userId", "displayName", "until"} for ban in listed)
        await trio.sleep(50)
        assert [ban["userId"] for ban in (await people.ask("Ada", "bans"))["bans"]] == [cyd]
        assert (await people.ask("Dan", "join"))["type"] == "joined"
        assert await people.refused("Cyd", "join") == ("banned", None)
        for _ in range(2):  # the answer to the first one may have been lost
            assert (await people.ask("Ada", "unban", userId=cyd))["type"] == "ok"
        assert (await people.ask("Ada", "bans"))["bans"] == []
        assert (await people.ask("Cyd", "join"))["type"] == "joined"


async def test_somebody_who_is_not_in_the_room_is_banned_ahead(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", join=False)
        assert await people.refused("Ada", "remove_member", userId=NOBODY) == ("bad_request", "userId")
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=100)
        assert await people.refused("Bob", "join") == ("banned", None)
        # Another ban takes its place.
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=10)
        await trio.sleep(10)
        assert (await people.ask("Bob", "join"))["type"] == "joined"


async def test_a_ban_holds_for_the_person_whatever_account_it_is(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=1_000)
        assert (await people.clients["Bob"].ask("forget_me"))["type"] == "ok"
        bob = await server.sign_in("Bob")
        assert (await bob.ask("profile"))["userId"] != people.ids["Bob"]
        assert (await bob.ask("join", roomId=people.room_id))["code"] == "banned"
        [ban] = (await people.ask("Ada", "bans"))["bans"]
        assert ban["displayName"] == ""
        assert ban["userId"] not in (people.ids["Bob"], (await bob.ask("profile"))["userId"])
        assert (await people.ask("Ada", "unban", userId=ban["userId"]))["type"] == "ok"
        assert (await bob.ask("join", roomId=people.room_id))["type"] == "joined"


async def test_a_ban_of_an_erased_account_is_ended_by_the_new_account_too(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=1_000)
        await people.clients["Bob"].ask("forget_me")
        bob = await server.sign_in("Bob")
        await people.ask("Ada", "unban", userId=(await bob.ask("profile"))["userId"])
        assert (await bob.ask("join", roomId=people.room_id))["type"] == "joined"


async def test_a_room_has_so_many_bans(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_rules, "MOST_BANS", 2)
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        for name in ("Bob", "Cyd", "Bob"):
            assert (await people.ask("Ada", "remove_member", userId=people.ids[name], banSeconds=60))["type"] == "ok"
        fields = {"userId": people.ids["Dan"], "banSeconds": 60}
        assert await people.refused("Ada", "remove_member", **fields) == ("conflict", None)
        assert (await people.ask("Ada", "members"))["memberCount"] == 2
        await people.ask("Ada", "unban", userId=people.ids["Bob"])
        assert (await people.ask("Ada", "remove_member", **fields))["type"] == "ok"


class CrowdedRepository(MemoryRepository):
    """A repository with more bans than fit into a frame."""

    async def bans(self, room_id: str, ended_after: Timestamp) -> Sequence[Ban]:
        return [
            Ban(
                room_id=room_id,
                subject=f"{number:032x}",
                user_id=None if number % 2 else f"00000000-0000-4000-8000-{number:012x}",
                display_name='"' * 64,
                reason="creator",
                since=Timestamp("2026-01-01T00:00:00.000Z"),
                until=Timestamp("9999-01-01T00:00:00.000Z"),
            )
            for number in reversed(range(owned_rooms.MOST_BANS))
        ]


async def test_a_list_of_bans_comes_in_pages_that_fit_into_a_frame(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK, repository=CrowdedRepository()) as server:
        people = await gather(server, "Ada", join=False)
        listed: list[str] = []
        page = await people.ask("Ada", "bans")
        while True:
            assert len(people.clients["Ada"].frames[-1]) <= FRAME_BYTES
            assert len(page["bans"]) > 500
            listed += [ban["userId"] for ban in page["bans"]]
            if "next" not in page:
                assert page["bans"][-2] == {
                    "userId": "00000000-0000-0000-0000-000000000001",
                    "displayName": '"' * 64,
                    "until": "9999-01-01T00:00:00.000Z",
                }
                break
            page = await people.ask("Ada", "bans", after=page["next"])
        assert len(listed) == len(set(listed)) == owned_rooms.MOST_BANS
        assert await people.refused("Ada", "bans", after="nonsense") == ("bad_request", "after")
        assert (await people.ask("Ada", "bans", after="0 0"))["bans"] == []
