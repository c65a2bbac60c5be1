"""A new name on its way to many rooms, in virtual time: nobody else waits for it, and the last one counts."""

from __future__ import annotations

import re

import trio
from trio.testing import MockClock

from evanesce.testing.server import memory_server
from tests.core.rooms.clients import join_room

ROOMS = 50


async def test_renames_reach_many_rooms_a_few_at_a_time_and_the_latest_alone(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        eve, bob = await server.sign_in("Eve"), await server.sign_in("Bob")
        quiet, [ada] = await join_room(server, "Ada")
        rooms = [await server.open_room(eve) for _ in range(ROOMS)]
        for connection in (eve, bob):
            for room in rooms:
                assert (await connection.ask("join", roomId=room))["type"] == "joined"
        await trio.sleep(60)  # so many commands at once take some from the next
        bob.waiting()
        for number in range(6):
            assert (await eve.ask("update_profile", displayName=f"Eve {number}"))["type"] == "profile"
        assert (await ada.ask("send", roomId=quiet, content="meanwhile"))["type"] == "sent"
        told = [event for event in bob.waiting() if event["type"] == "member_updated"]
        assert len(told) < ROOMS // 2, "before that they were told all at once"
        await trio.sleep(1)
        told += [event for event in bob.waiting() if event["type"] == "member_updated"]
        assert len(told) < 2 * ROOMS
        last = {event["roomId"]: event["displayName"] for event in told}
        assert last == dict.fromkeys(rooms, "Eve 5")
        for room in rooms[:3]:
            members = (await bob.ask("members", roomId=room))["members"]
            assert {member["displayName"] for member in members} == {"Eve 5", "Bob"}


async def test_a_room_that_ended_meanwhile_needs_no_name(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        eve = await server.sign_in("Eve")
        rooms = [await server.open_room(eve) for _ in range(20)]
        for room in rooms:
            await eve.ask("join", roomId=room)
        await eve.ask("update_profile", displayName="Eva")
        for room in rooms:
            await eve.ask("leave", roomId=room)
        await trio.sleep(1)
        assert (await eve.ask("ping"))["type"] == "pong"
        assert not re.search(r"^evanesce_faults_total\{.*\} [1-9]", server.gateway.metrics(), re.MULTILINE)
