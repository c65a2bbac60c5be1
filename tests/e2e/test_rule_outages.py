"""A Valkey that is killed in the middle of each operation on a room with rules, while two servers use it.

It comes back without its memory. Whoever was refused asks again, as the protocol says; then both servers must decide by
what the database has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from evanesce.client.connection import Fields
from evanesce.client.errors import Refused
from tests.e2e.clients import ChatClient
from tests.e2e.running import Server
from tests.e2e.test_rule_races import FAST, Cast, outcome, secret_of, wait_for_members
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

MOMENTS = (0.0, 0.0005, 0.002, 0.006)
"""How long after an operation was asked for Valkey is killed, in seconds: before, within and after it."""

AGAIN = ("store_unavailable", "persistence_unavailable", "rate_limited", "internal")


@pytest.fixture
def servers(serve_shared: Callable[..., Server]) -> list[Server]:
    return [serve_shared(*FAST) for _ in range(2)]


@pytest.fixture
async def cast(servers: list[Server], nursery: trio.Nursery) -> Cast:
    creator = await ChatClient.open(servers[0], nursery, "Creator")
    others = [await ChatClient.open(servers[number % 2], nursery, f"Person {number}") for number in range(4)]
    return Cast(creator, others)


async def insist(ask: Callable[[], Awaitable[Fields]]) -> Fields:
    """Ask until it is not refused for a reason that passes."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                return await ask()
            except Refused as refused:
                if refused.code not in AGAIN:
                    raise
                await trio.sleep(refused.retry_after or 0.05)


async def kill_meanwhile(valkey: Valkey, moment: float, ask: Callable[[], Awaitable[Fields]]) -> Fields:
    """Ask, kill Valkey at a moment after that, start it again, and insist on an answer."""

    def kill() -> None:
        valkey.process.kill()
        valkey.process.wait()

    async def lose() -> None:
        await trio.sleep(moment)
        await trio.to_thread.run_sync(kill)
        await trio.to_thread.run_sync(valkey.__enter__)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose)
        return await insist(ask)


async def until(wanted: set[str], ask: Callable[[], Awaitable[Fields]]) -> None:
    """Ask until the outcome is one of `wanted`: the other server has heard of a change within a second."""
    with trio.fail_after(PATIENCE):
        while (found := await outcome(ask())) not in wanted:
            assert found in {*AGAIN, "joined", "ok", "sent"}, found
            await trio.sleep(0.1)


async def lock(cast: Cast, room_id: str) -> Fields:
    return await cast.creator.ask("update_room", roomId=room_id, locked=True)


async def is_locked(cast: Cast, room_id: str) -> None:
    for stranger in cast.others[2:]:
        await until({"room_locked"}, partial(stranger.join, room_id))


async def invite_only(cast: Cast, room_id: str) -> Fields:
    return await cast.creator.ask("update_room", roomId=room_id, access="invite")


async def needs_an_invite(cast: Cast, room_id: str) -> None:
    for stranger in cast.others[2:]:
        await until({"invite_required"}, partial(stranger.join, room_id))
    for member in cast.others[:2]:  # they were there, and so are admitted
        await insist(partial(member.ask, "leave", roomId=room_id))
        await insist(partial(member.join, room_id))


async def shorten(cast: Cast, room_id: str) -> Fields:
    return await cast.creator.ask("update_room", roomId=room_id, messageTtl=2)


async def is_short(cast: Cast, room_id: str) -> None:
    for member in cast.others[:2]:
        joined = await insist(partial(member.join, room_id))
        assert joined["room"]["messageTtl"] == 2
        sent = await insist(partial(member.say, room_id, "short"))
        assert sent["expiresAt"] < sent["createdAt"][:17] + "99"
        assert (await cast.creator.ask("room", roomId=room_id))["messageTtl"] == 2


async def ban(cast: Cast, room_id: str) -> Fields:
    return await cast.creator.ask("remove_member", roomId=room_id, userId=cast.others[1].user_id, banSeconds=600)


async def is_banned(cast: Cast, room_id: str) -> None:
    victim = cast.others[1]
    await victim.wait_for_event("removed", roomId=room_id)
    await until({"banned"}, partial(victim.join, room_id))
    [told] = (await insist(partial(cast.creator.ask, "bans", roomId=room_id)))["bans"]
    assert told["userId"] == victim.user_id
    await wait_for_members(cast.creator, room_id, {cast.creator.user_id, cast.others[0].user_id})


async def remove(cast: Cast, room_id: str) -> Fields:
    return await cast.creator.ask("remove_member", roomId=room_id, userId=cast.others[1].user_id)


async def is_removed(cast: Cast, room_id: str) -> None:
    victim = cast.others[1]
    await victim.wait_for_event("removed", roomId=room_id)
    assert await outcome(victim.say(room_id, "still here?")) == "not_member"
    await insist(partial(victim.join, room_id))
    await wait_for_members(cast.creator, room_id, {client.user_id for client in (cast.creator, *cast.others[:2])})


async def mute(cast: Cast, room_id: str) -> Fields:
    return await cast.creator.ask("mute", roomId=room_id, userId=cast.others[1].user_id, seconds=600)


async def is_muted(cast: Cast, room_id: str) -> None:
    """Only the store has mutes: one that was lost with its memory holds when it is asked for again."""
    victim = cast.others[1]
    said = await outcome(insist(partial(victim.say, room_id, "hello?")))
    assert said in ("muted", "sent")
    if said == "sent":
        await insist(partial(mute, cast, room_id))
    await until({"muted"}, partial(victim.say, room_id, "hello?"))
    assert await outcome(cast.others[0].say(room_id, "hello")) == "sent"


async def close(cast: Cast, room_id: str) -> Fields:
    return await cast.creator.ask("close_room", roomId=room_id)


async def is_closed(cast: Cast, room_id: str) -> None:
    for client in cast.others:
        await until({"room_not_found"}, partial(client.join, room_id))


OPERATIONS = {
    "lock": (lock, is_locked),
    "access": (invite_only, needs_an_invite),
    "messageTtl": (shorten, is_short),
    "ban": (ban, is_banned),
    "removal": (remove, is_removed),
    "mute": (mute, is_muted),
    "closing": (close, is_closed),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_survives_a_valkey_that_is_killed_meanwhile(
    name: str, moment: float, cast: Cast, valkey: Valkey
) -> None:
    operation, check = OPERATIONS[name]
    room_id = await cast.room(cast.creator, *cast.others[:2])
    reply = await kill_meanwhile(valkey, moment, partial(operation, cast, room_id))
    assert reply["type"] in ("room", "ok")
    await check(cast, room_id)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_places_of_an_invite_are_counted_through_an_outage(moment: float, cast: Cast, valkey: Valkey) -> None:
    room_id = await cast.room(cast.creator, access="invite")
    secret = secret_of(await cast.creator.ask("invite", roomId=room_id, people=2))
    outcomes: list[str] = []

    async def come(client: ChatClient) -> None:
        try:
            reply = await insist(partial(client.ask, "join", roomId=room_id, invite=secret))
            outcomes.append(str(reply["type"]))
        except Refused as refused:
            outcomes.append(refused.code)

    async def all_come() -> Fields:
        async with trio.open_nursery() as nursery:
            for client in cast.others:
                nursery.start_soon(come, client)
        return {}

    await kill_meanwhile(valkey, moment, all_come)
    assert sorted(outcomes) == ["invite_spent", "invite_spent", "joined", "joined"]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_vote_that_was_lost_begins_anew(moment: float, cast: Cast, valkey: Valkey) -> None:
    """Only the store has votes: when it lost them, nobody is removed by fewer votes than are needed."""
    one, two, three, victim = cast.others
    room_id = await cast.room(one, two, three, victim)
    await one.ask("vote_remove", roomId=room_id, userId=victim.user_id)
    vote = partial(two.ask, "vote_remove", roomId=room_id, userId=victim.user_id)
    reply = await kill_meanwhile(valkey, moment, lambda: after_all_are_back(cast, room_id, vote))
    if reply["votes"] < reply["needed"]:
        assert reply["votes"] == 1
        reply = await insist(partial(three.ask, "vote_remove", roomId=room_id, userId=victim.user_id))
    assert reply["votes"] == reply["needed"] == 2
    await until({"banned"}, partial(victim.join, room_id))
    with trio.fail_after(PATIENCE):
        await is_in_the_database(cast, room_id, victim)


async def is_in_the_database(cast: Cast, room_id: str, victim: ChatClient) -> None:
    """Wait until the ban by a vote is in the database, which is written after the store."""
    while True:
        bans = (await insist(partial(cast.creator.ask, "bans", roomId=room_id)))["bans"]
        if bans:
            assert [told["userId"] for told in bans] == [victim.user_id]
            return
        await trio.sleep(0.1)


async def after_all_are_back(cast: Cast, room_id: str, vote: Callable[[], Awaitable[Fields]]) -> Fields:
    """Vote; where the store does not know yet who is in the room, wait until it does."""
    while True:
        try:
            return await vote()
        except Refused as refused:
            if refused.code not in ("forbidden", "not_member", "bad_request"):
                raise
            await trio.sleep(0.05)
