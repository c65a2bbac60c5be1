"""Mutes and votes in virtual time: what members are told, and who may write."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.rooms import policy
from evanesce.store.events import PresenceChanged, RulesUncertain
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, come_in, join_room, of_type, refusal, user_id


async def test_a_muted_person_neither_writes_nor_types(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        bobs = await user_id(bob)
        await ada.ask("mute", roomId=room, userId=bobs, seconds=20)
        await wait_all_tasks_blocked()
        for client in (cyd, bob):
            [told] = of_type(client, "member_muted")
            assert (told["userId"], "until" in told) == (bobs, True)
        for command in ({"kind": "send", "content": "hello"}, {"kind": "typing"}):
            code, wait = await refusal(bob, **command, roomId=room)
            assert code == "muted"
            assert wait is not None
            assert 19 < wait <= 20
        await ada.ask("mute", roomId=room, userId=bobs, seconds=0)
        await wait_all_tasks_blocked()
        assert of_type(cyd, "member_muted") == [{"roomId": room, "userId": bobs}]
        assert (await bob.ask("send", roomId=room, content="again"))["type"] == "sent"
        await ada.ask("mute", roomId=room, userId=bobs, seconds=20)
        await trio.sleep(20)
        assert (await bob.ask("send", roomId=room, content="later"))["type"] == "sent"
        assert (await bob.ask("typing", roomId=room))["type"] == "ok"


async def test_who_joins_hears_the_votes_and_mutes_that_run(autojump_clock: MockClock) -> None:
    """On the server that has told of them, and on one that has just begun to follow the room."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        room, [ada, bob, cyd, dan, eve] = await join_room(one, "Ada", "Bob", "Cyd", "Dan", "Eve")
        bobs, cyds, dans = [await user_id(client) for client in (bob, cyd, dan)]
        for who, seconds in ((bobs, 100), (cyds, 200)):
            await ada.ask("mute", roomId=room, userId=who, seconds=seconds)
        await ada.ask("leave", roomId=room)
        ballot = await bob.ask("vote_remove", roomId=room, userId=dans)
        fields = ("roomId", "userId", "votes", "needed", "expiresAt")
        for server, name, votes, outcome in ((one, "Fay", 2, None), (two, "Gus", 3, "removed")):
            client = await server.sign_in(name)
            assert (await client.ask("join", roomId=room))["type"] == "joined"
            told = client.waiting()
            [vote] = [event for event in told if event["type"] == "vote"]
            assert {field: vote[field] for field in fields} == {field: ballot[field] for field in fields}
            assert "outcome" not in vote
            muted = {event["userId"]: event["until"] for event in told if event["type"] == "member_muted"}
            assert muted.keys() == {bobs, cyds}
            assert (await client.ask("join", roomId=room))["type"] == "joined"
            assert client.waiting() == [], "who is in the room already has heard it"
            bob.waiting()
            ballot = await client.ask("vote_remove", roomId=room, userId=dans)
            await wait_all_tasks_blocked()
            assert (ballot["votes"], ballot["needed"]) == (votes, 3)
            assert [event.get("outcome") for event in of_type(bob, "vote")] == [outcome]
        hal = await come_in(two, "Hal", room)
        assert [event["type"] for event in hal.waiting()] == ["member_muted", "member_muted"], "that vote has ended"
        await eve.ask("vote_remove", roomId=room, userId=cyds)
        ivy = await come_in(two, "Ivy", room)
        await wait_all_tasks_blocked()
        await trio.sleep(61)
        assert [event.get("outcome") for event in of_type(ivy, "vote")] == [None, "expired"]


async def test_who_joins_hears_of_the_own_mute_and_of_so_many_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MOST_TOLD", 2)
    async with memory_server(limits=QUICK) as server:
        room, [ada, *others] = await join_room(server, "Ada", "Bob", "Cyd", "Dan", "Eve")
        ids = [await user_id(client) for client in others]
        for one in ids:
            await ada.ask("mute", roomId=room, userId=one, seconds=100)
        await others[0].ask("leave", roomId=room)
        others[0].waiting()
        await others[0].ask("join", roomId=room)
        assert [event["userId"] for event in of_type(others[0], "member_muted")] == [ids[0], ids[-1]]


async def test_a_room_remembers_so_many_mutes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a server holds no more, however many were muted; the store refuses their messages all the same."""
    monkeypatch.setattr(policy, "MOST_MUTES", 3)
    names = ["Bob", "Cyd", "Dan", "Eve", "Fay"]
    async with memory_server(limits=QUICK) as server:
        room, [ada, *others] = await join_room(server, "Ada", *names)
        running = server.hub.running(room)
        assert running is not None
        for number, client in enumerate(others):
            seconds = 1 if number < 3 else 100 + number
            await ada.ask("mute", roomId=room, userId=await user_id(client), seconds=seconds)
        await wait_all_tasks_blocked()
        known = running._policy._mutes
        assert len(known) == 3
        assert {await user_id(client) for client in others[3:]} <= known.keys(), "the first to end go"
        for client in others:
            assert (await refusal(client, "send", roomId=room, content="hello"))[0] == "muted"
        await trio.sleep(2)
        for seconds in (200, 300):
            await ada.ask("mute", roomId=room, userId=await user_id(others[0]), seconds=seconds)
        await wait_all_tasks_blocked()
        assert {await user_id(client) for client in (others[0], *others[3:])} == running._policy._mutes.keys()


async def test_a_vote_ends_after_a_minute_or_with_the_removal(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd, dan] = await join_room(server, "Ada", "Bob", "Cyd", "Dan")
        dans = await user_id(dan)
        assert (await refusal(bob, "vote_remove", roomId=room, userId=dans))[0] == "forbidden"  # Ada is here
        await ada.ask("leave", roomId=room)
        vote = await bob.ask("vote_remove", roomId=room, userId=dans)
        assert (vote["votes"], vote["needed"]) == (1, 2)
        again = await bob.ask("vote_remove", roomId=room, userId=dans)  # one person, one vote
        assert (again["votes"], again["expiresAt"]) == (1, vote["expiresAt"])
        await trio.sleep(61)
        for client in (bob, cyd, dan):
            assert [told.get("outcome") for told in of_type(client, "vote")][-1] == "expired"
        await bob.ask("vote_remove", roomId=room, userId=dans)
        last = await cyd.ask("vote_remove", roomId=room, userId=dans)
        assert (last["votes"], last["needed"]) == (2, 2)
        await wait_all_tasks_blocked()
        told = dan.waiting()
        assert [vote.get("outcome") for vote in told if vote["type"] == "vote"] == [None, "removed"]
        assert [removed["reason"] for removed in told if removed["type"] == "removed"] == ["vote"]
        bob.waiting()
        code, wait = await refusal(dan, "join", roomId=room)
        assert code == "banned"
        assert wait is not None
        assert 3590 < wait <= 3600
        await trio.sleep(61)
        assert of_type(bob, "vote") == []  # the vote has ended: nothing expires
        assert [ban["userId"] for ban in (await ada.ask("bans", roomId=room))["bans"]] == [dans]


@pytest.mark.parametrize("missed", ["the removal", "the first vote"])
async def test_what_was_missed_of_a_vote_is_read_in_the_store(missed: str, autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        room, [ada, bob, cyd, dan] = await join_room(one, "Ada", "Bob", "Cyd", "Dan")
        eve = await come_in(two, "Eve", room)
        fay = await come_in(two, "Fay", room)
        await ada.ask("leave", roomId=room)
        dans = await user_id(dan)
        if missed == "the removal":
            for client in (bob, cyd):
                await client.ask("vote_remove", roomId=room, userId=dans)
        await wait_all_tasks_blocked()
        [deaf] = [feed for feed in memory.rooms[room].feeds if feed is not memory.rooms[room].feeds[0]]
        memory.rooms[room].feeds.remove(deaf)
        last = await eve.ask("vote_remove", roomId=room, userId=dans)
        assert last["votes"] == (3 if missed == "the removal" else 1)
        await wait_all_tasks_blocked()
        memory.rooms[room].feeds.append(deaf)
        deaf.give([PresenceChanged(memory.rooms[room].presence(10)), RulesUncertain()])
        await trio.sleep(61)
        outcomes = [vote.get("outcome") for vote in of_type(fay, "vote")]
        assert outcomes == ([None, None, "removed"] if missed == "the removal" else [None, "expired"])
