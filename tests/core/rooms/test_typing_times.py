"""Notices of typing: of each user one in 3 s at most, and none is lost of a client that sends one in 3 s."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.rooms.typing_times import JITTER_SECONDS, TYPING_SECONDS, TypingNotices, TypingTimes
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, join_room

NOTICES = 60
SLACK = 1e-6


async def heard(seed: int, interval: float, servers: int) -> list[float]:
    """Return when members hear of a user who sends a notice in each `interval` to each of some servers.

    A notice takes up to `JITTER_SECONDS` on its way from the client to a server, and from there to the members.
    """
    jitter = random.Random(seed)
    times: list[float] = []
    notices = TypingNotices(lambda _: times.append(trio.current_time()))
    last = trio.current_time()

    async def send(server: TypingTimes, at: float) -> None:
        nonlocal last
        await trio.sleep_until(at + jitter.uniform(0, JITTER_SECONDS / 2))
        if not server.is_due("ada", trio.current_time()):
            return
        last = max(last, trio.current_time() + jitter.choice([0, 0.999]) * JITTER_SECONDS / 2)  # in order
        await trio.sleep_until(last)
        notices.typing("ada")

    async with trio.open_nursery() as nursery:
        notices.start(nursery)
        for number in range(servers):
            server = TypingTimes()
            for notice in range(NOTICES):
                nursery.start_soon(send, server, trio.current_time() + number + notice * interval)
    return times


@pytest.mark.parametrize("seed", range(30))
async def test_nothing_is_lost_to_jitter(autojump_clock: MockClock, seed: int) -> None:
    times = await heard(seed, TYPING_SECONDS, servers=1)
    assert len(times) == NOTICES
    assert min(after - before for before, after in pairwise(times)) > TYPING_SECONDS - SLACK


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("interval", "servers"), [(0.2, 1), (2.6, 1), (2.9, 1), (3.1, 1), (3.0, 2), (1.0, 3)])
async def test_members_hear_of_a_user_once_in_3_s_at_most(
    autojump_clock: MockClock, seed: int, interval: float, servers: int
) -> None:
    times = await heard(seed, interval, servers)
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) > TYPING_SECONDS - SLACK
    assert max(gaps) < 3 * TYPING_SECONDS


@pytest.mark.parametrize("ends", ["send", "leave"])
async def test_who_has_stopped_is_not_said_to_be_typing(autojump_clock: MockClock, ends: str) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("typing", roomId=room)
        await trio.sleep(TYPING_SECONDS - JITTER_SECONDS / 2)
        await ada.ask("typing", roomId=room)
        await wait_all_tasks_blocked()
        assert [event["type"] for event in bob.waiting()] == ["typing"]
        await ada.ask(ends, roomId=room, **({"content": "hello"} if ends == "send" else {}))
        await trio.sleep(JITTER_SECONDS)
        assert [event["type"] for event in bob.waiting()] == ["message" if ends == "send" else "member_left"]
        if ends == "leave":
            await ada.ask("join", roomId=room)
        await trio.sleep(TYPING_SECONDS)
        await ada.ask("typing", roomId=room)
        await bob.until("typing")


def test_only_users_who_were_typing_a_moment_ago_are_remembered() -> None:
    times = TypingTimes()
    for now in range(1_000):
        assert times.is_due(f"user {now}", float(now))
    assert len(times) <= TYPING_SECONDS + 1
