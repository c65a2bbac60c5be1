"""Decisions about rooms with rules, which two servers on one Valkey are asked for at the same moment.

Each race is run many times: whichever side wins, both servers and the database must say the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from evanesce.client.connection import Fields
from evanesce.client.errors import Refused
from tests.e2e.clients import ChatClient
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

ROUNDS = 25

FAST = (
    "limits.messages_per_second=100000",
    "limits.burst=100000",
    "limits.rooms_per_hour=1000000",
    "limits.rooms_per_user=1000",
    "limits.joins_per_second=1000",
    "limits.members_per_second=1000",
    "limits.commands_per_second=10000",
)


@pytest.fixture
def servers(serve_shared: Callable[..., Server]) -> list[Server]:
    return [serve_shared(*FAST) for _ in range(2)]


async def outcome(asked: Awaitable[Fields]) -> str:
    """Return the type of the reply, or the code of the error."""
    try:
        return str((await asked)["type"])
    except Refused as refused:
        return refused.code


async def at_once(*asked: Callable[[], Awaitable[Fields]]) -> list[str]:
    """Ask all at the same moment, and return the outcome of each."""
    outcomes = [""] * len(asked)

    async def ask(index: int, call: Callable[[], Awaitable[Fields]]) -> None:
        outcomes[index] = await outcome(call())

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(asked):
            nursery.start_soon(ask, index, call)
    return outcomes


def secret_of(invite: Fields) -> str:
    return str(invite["link"]).partition("#invite=")[2]


async def members(client: ChatClient, room_id: str) -> set[str]:
    return {member["userId"] for member in (await client.ask("members", roomId=room_id))["members"]}


async def wait_for_members(client: ChatClient, room_id: str, wanted: set[str]) -> None:
    """Wait until a client that is in the room sees just these people there."""

    def changes(event: Fields) -> bool:
        return event["type"] in ("member_joined", "member_left") and event["roomId"] == room_id

    while True:
        after = len(client.record)
        if await members(client, room_id) == wanted:
            return
        await client.wait_for(changes, after=after)


class Cast:
    """The people of a race: the creator is on the first server, and the others are on either."""

    def __init__(self, creator: ChatClient, others: list[ChatClient]) -> None:
        self.creator = creator
        self.others = others

    async def room(self, *inside: ChatClient, **options: Any) -> str:
        """Open a room, with these people in it."""
        room_id = str((await self.creator.ask("create_room", **options))["roomId"])
        for client in inside:
            await client.join(room_id)
        return room_id


@pytest.fixture
async def cast(servers: list[Server], nursery: trio.Nursery) -> Cast:
    creator = await ChatClient.open(servers[0], nursery, "Creator")
    others = [await ChatClient.open(servers[number % 2], nursery, f"Person {number}") for number in range(4)]
    return Cast(creator, others)


async def test_two_people_race_for_the_last_place_of_an_invite(cast: Cast) -> None:
    one, two = cast.others[:2]
    for _ in range(ROUNDS):
        room_id = await cast.room(cast.creator, access="invite")
        invite = await cast.creator.ask("invite", roomId=room_id)
        secret = secret_of(invite)
        outcomes = await at_once(
            partial(one.ask, "join", roomId=room_id, invite=secret),
            partial(two.ask, "join", roomId=room_id, invite=secret),
        )
        assert sorted(outcomes) == ["invite_spent", "joined"]
        winner = [one, two][outcomes.index("joined")]
        await wait_for_members(cast.creator, room_id, {cast.creator.user_id, winner.user_id})
        assert (await cast.creator.ask("invites", roomId=room_id))["invites"] == []
        assert await outcome(winner.ask("join", roomId=room_id)) == "joined"  # from now on without an invite
        await cast.creator.ask("close_room", roomId=room_id)


async def test_a_join_races_with_a_lock(cast: Cast) -> None:
    inside, comer = cast.others[:2]
    for _ in range(ROUNDS):
        room_id = await cast.room(cast.creator, inside)
        joined, locked = await at_once(
            partial(comer.join, room_id),
            partial(cast.creator.ask, "update_room", roomId=room_id, locked=True),
        )
        assert locked == "room"
        assert joined in ("joined", "room_locked")
        there = {cast.creator.user_id, inside.user_id} | ({comer.user_id} if joined == "joined" else set())
        await wait_for_members(cast.creator, room_id, there)
        assert await outcome(cast.others[2].join(room_id)) == "room_locked"
        assert await outcome(cast.others[3].join(room_id)) == "room_locked"
        await cast.creator.ask("close_room", roomId=room_id)


@pytest.mark.parametrize("seconds", [0, 600])
async def test_a_join_races_with_a_removal(cast: Cast, seconds: int) -> None:
    """Whoever joined before the removal is out; without a ban, whoever joined after it is in."""
    inside, comer = cast.others[:2]
    for _ in range(ROUNDS):
        room_id = await cast.room(cast.creator, inside)
        after = len(comer.record)
        joined, removed = await at_once(
            partial(comer.join, room_id),
            partial(cast.creator.ask, "remove_member", roomId=room_id, userId=comer.user_id, banSeconds=seconds),
        )
        assert removed == "ok"
        if seconds:
            assert joined in ("joined", "banned", "not_member")
            if joined == "joined":
                told = await comer.wait_for_event("removed", after=after, roomId=room_id)
                assert (told["reason"], "until" in told) == ("creator", True)
            await wait_for_members(cast.creator, room_id, {cast.creator.user_id, inside.user_id})
            assert await outcome(comer.join(room_id)) == "banned"
            [ban] = (await cast.creator.ask("bans", roomId=room_id))["bans"]
            assert ban["userId"] == comer.user_id
            await cast.creator.ask("unban", roomId=room_id, userId=comer.user_id)
            assert await outcome(comer.join(room_id)) == "joined"
        else:
            assert joined in ("joined", "not_member")
            assert await outcome(comer.ask("members", roomId=room_id)) in ("members", "not_member")
            assert await outcome(comer.join(room_id)) == "joined"
            await wait_for_members(cast.creator, room_id, {cast.creator.user_id, inside.user_id, comer.user_id})
        await cast.creator.ask("close_room", roomId=room_id)


async def test_the_last_two_votes_race(cast: Cast) -> None:
    one, two, three, victim = cast.others
    for _ in range(ROUNDS):
        room_id = await cast.room(one, two, three, victim)
        starts = [len(client.record) for client in cast.others]
        first = await one.ask("vote_remove", roomId=room_id, userId=victim.user_id)
        assert (first["votes"], first["needed"]) == (1, 2)
        outcomes = await at_once(
            partial(two.ask, "vote_remove", roomId=room_id, userId=victim.user_id),
            partial(three.ask, "vote_remove", roomId=room_id, userId=victim.user_id),
        )
        # The second of them comes when the vote has ended, and the person is gone.
        assert "vote" in outcomes
        assert set(outcomes) <= {"vote", "bad_request", "forbidden"}
        for client, start in zip((one, two, three), starts, strict=False):
            await client.wait_for_event("vote", after=start, roomId=room_id, outcome="removed")
            ended = [event for event in client.record[start:] if event.get("outcome") == "removed"]
            assert len(ended) == 1
        told = await victim.wait_for_event("removed", after=starts[3], roomId=room_id)
        assert told["reason"] == "vote"
        await wait_for_members(one, room_id, {one.user_id, two.user_id, three.user_id})
        assert await outcome(victim.join(room_id)) == "banned"
        for client in (one, two, three):
            await client.ask("leave", roomId=room_id)
        await cast.creator.ask("close_room", roomId=room_id)


async def test_a_vote_races_with_the_creator_who_comes_back(cast: Cast) -> None:
    one, two, three, victim = cast.others
    for _ in range(ROUNDS):
        room_id = await cast.room(one, two, three, victim)
        await one.ask("vote_remove", roomId=room_id, userId=victim.user_id)
        joined, voted = await at_once(
            partial(cast.creator.join, room_id),
            partial(two.ask, "vote_remove", roomId=room_id, userId=victim.user_id),
        )
        assert joined == "joined"
        everybody = {client.user_id for client in (cast.creator, *cast.others)}
        if voted == "vote":  # it came first
            await wait_for_members(cast.creator, room_id, everybody - {victim.user_id})
            assert await outcome(victim.join(room_id)) == "banned"
        else:
            assert voted == "forbidden"
            await wait_for_members(cast.creator, room_id, everybody)
            assert await outcome(three.ask("vote_remove", roomId=room_id, userId=victim.user_id)) == "forbidden"
        await cast.creator.ask("close_room", roomId=room_id)


async def test_rule_changes_of_two_servers_are_all_kept(
    cast: Cast, servers: list[Server], nursery: trio.Nursery
) -> None:
    """The creator is on both servers, and changes another rule on each at the same moment."""
    again = await cast.creator.open_another(servers[1])
    inside = cast.others[1]
    options = {"messageTtl": 5, "locked": True, "access": "link", "encrypted": False}
    for _ in range(ROUNDS):
        room_id = await cast.room(cast.creator, inside)
        after = len(inside.record)

        def is_told(event: Fields, room_id: str = room_id) -> bool:
            both = {"type": "room_updated", "roomId": room_id, "messageTtl": 5, "locked": True}
            return both.items() <= event.items()

        outcomes = await at_once(
            partial(cast.creator.ask, "update_room", roomId=room_id, messageTtl=5),
            partial(again.ask, "update_room", roomId=room_id, locked=True),
        )
        assert outcomes == ["room", "room"]
        await inside.wait_for(is_told, after=after)
        assert (await inside.join(room_id))["room"] == options
        for client in (cast.creator, again):
            room = await client.ask("room", roomId=room_id)
            assert options.items() <= room.items()
        assert await outcome(cast.others[0].join(room_id)) == "room_locked"
        await cast.creator.ask("close_room", roomId=room_id)
    await again.close()
