"""Whoever comes back soon has not left, on whichever server that is. Time is virtual."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import trio
from trio.testing import MockClock

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Server
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from evanesce_plugins.webhooks import presence
from evanesce_plugins.webhooks.presence import MARGIN_SECONDS, PresenceFilter

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECONDS = 10.0


class Side:
    """A filter on a server of its own; `sent` is what it has sent, with when."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.filter = PresenceFilter(SECONDS, lambda: self.server.marks, self._send)
        self.server: Server

    def _send(self, kind: str, room_id: str, user_id: str, at: datetime) -> None:
        assert at == NOON, "the time is that of the leave, and not that of the decision"
        self.sent.append((kind.removeprefix("member."), room_id, user_id))

    async def joined(self, *users: str) -> None:
        await self.filter.change("r", users, (), NOON)

    async def left(self, *users: str) -> None:
        await self.filter.change("r", (), users, NOON)

    @hookimpl
    async def evanesce_run(self, server: Server) -> None:
        self.server = server
        await self.filter.run()


@asynccontextmanager
async def sides() -> AsyncGenerator[tuple[Side, Side, MemoryServer]]:
    memory, repository, one, two = MemoryServer(), MemoryRepository(), Side(), Side()
    async with (
        memory_server(memory=memory, repository=repository, plugins={"webhooks": one}),
        memory_server(memory=memory, repository=repository, plugins={"webhooks": two}),
    ):
        yield one, two, memory


async def test_a_leave_is_sent_after_its_time(autojump_clock: MockClock) -> None:
    async with sides() as (one, _, _):
        await one.joined("ada", "bob")
        await one.left("ada")
        await trio.sleep(SECONDS - 0.1)
        assert one.sent == [("joined", "r", "ada"), ("joined", "r", "bob")]
        await trio.sleep(0.2)
        assert one.sent[2:] == [("left", "r", "ada")]
        await one.joined("ada")
        assert one.sent[3:] == [("joined", "r", "ada")]


async def test_nothing_is_sent_of_who_comes_back_on_the_same_or_another_server(autojump_clock: MockClock) -> None:
    async with sides() as (one, two, _):
        await one.joined("ada")
        one.sent.clear()
        here = one
        for _ in range(4):
            await here.left("ada")
            await trio.sleep(SECONDS / 2)
            here = two if here is one else one
            await here.joined("ada")
            await trio.sleep(SECONDS)
        for _ in range(4):
            await here.left("ada")
            await trio.sleep(SECONDS / 2)
            await here.joined("ada")
        await trio.sleep(3 * SECONDS)
        assert one.sent == two.sent == []


async def test_who_comes_and_goes_quickly_on_several_servers_leaves_and_joins_by_turns(
    autojump_clock: MockClock,
) -> None:
    """A leave may be sent early then, because a mark does not say whose it is."""
    async with sides() as (one, two, _):
        one.sent = two.sent = sent = []
        for number in range(7):
            await (one, two)[number % 2].joined("ada")
            await trio.sleep(1)
            await (one, two)[number % 2].left("ada")
            await trio.sleep(SECONDS / 3)
        await trio.sleep(3 * SECONDS)
        kinds = [kind for kind, _, _ in sent]
        assert kinds == ["joined", "left"] * (len(kinds) // 2)
        assert sent


async def test_of_several_leaves_one_is_sent(autojump_clock: MockClock) -> None:
    async with sides() as (one, two, _):
        await one.joined("ada")
        await one.left("ada")
        await trio.sleep(SECONDS / 2)
        await two.joined("ada")
        await two.left("ada")
        await trio.sleep(3 * SECONDS)
        assert [*one.sent, *two.sent] == [("joined", "r", "ada"), ("left", "r", "ada")]


async def test_what_a_removal_or_the_end_of_a_room_says_is_not_said_twice(autojump_clock: MockClock) -> None:
    async with sides() as (one, _, _):
        await one.left("ada", "bob", "cyd")
        await one.filter.forget("r", "ada")
        await one.filter.flush()
        assert sorted(one.sent) == [("left", "r", "bob"), ("left", "r", "cyd")]
        await one.left("bob")
        await one.filter.forget("r")
        await trio.sleep(2 * SECONDS)
        assert len(one.sent) == 2


async def test_who_joins_after_a_removal_or_the_end_of_a_room_has_joined(autojump_clock: MockClock) -> None:
    async with sides() as (one, two, _):
        await one.left("ada", "bob", "cyd")
        await one.filter.forget("r", "ada")
        await two.filter.forget("r", "bob")  # another server holds that leave back
        await one.filter.forget("r")
        await two.joined("ada", "bob", "cyd")
        await trio.sleep(2 * SECONDS)
        assert two.sent == [("joined", "r", user) for user in ("ada", "bob", "cyd")]
        assert one.sent == []


async def test_who_comes_back_while_the_store_does_not_answer_has_not_left(autojump_clock: MockClock) -> None:
    async with sides() as (one, _, memory):
        await one.left("ada")
        memory.go_down()
        await one.joined("ada")
        memory.come_back()
        await trio.sleep(3 * SECONDS)
        assert one.sent == []


async def test_at_the_end_of_a_server_a_store_that_fails_is_asked_once(autojump_clock: MockClock) -> None:
    async with sides() as (one, _, memory):
        await one.left("ada")
        memory.go_down()
        before = trio.current_time()
        await one.filter.flush()
        assert one.sent == [("left", "r", "ada")]
        assert one.filter.held == 0
        assert trio.current_time() == before


async def test_leaves_are_sent_though_the_store_does_not_answer(autojump_clock: MockClock) -> None:
    async with sides() as (one, _, memory):
        await one.left("ada")
        memory.go_down()
        await one.left("bob")
        assert one.sent == [("left", "r", "bob")], "nobody could tell later whether bob is back"
        await trio.sleep(SECONDS + MARGIN_SECONDS + 2)
        assert one.sent[1:] == [("left", "r", "ada")]
        await one.joined("cyd")
        assert one.sent[2:] == [("joined", "r", "cyd")]


async def test_a_short_outage_of_the_store_changes_nothing(autojump_clock: MockClock) -> None:
    async with sides() as (one, _, memory):
        await one.left("ada", "bob")
        await one.joined("bob")
        memory.go_down()
        await trio.sleep(SECONDS + 5)
        memory.come_back()
        await trio.sleep(2)
        assert one.sent == [("left", "r", "ada")]


async def test_the_leaves_that_are_held_back_have_a_bound(autojump_clock: MockClock) -> None:
    before, presence.MOST_HELD = presence.MOST_HELD, 3
    try:
        async with sides() as (one, _, _):
            for user in "abcde":
                await one.left(user)
            assert one.sent == [("left", "r", "a"), ("left", "r", "b")]
    finally:
        presence.MOST_HELD = before
