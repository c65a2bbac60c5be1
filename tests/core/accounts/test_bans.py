"""Bans from all servers: whoever is banned is refused everywhere and at once, whatever is cached or down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.accounts.bans import LONGEST_SECONDS, REASON_CHARACTERS
from evanesce.errors import BadRequest, CommandError, PersistenceUnavailable
from evanesce.model import FOR_EVER
from evanesce.protocol import commands
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server

ADA = {"provider": "name", "name": "Ada"}


class Two:
    """Two servers on one store and one database; Ada has signed in at both."""

    def __init__(self, one: TestServer, two: TestServer, memory: MemoryServer, repository: MemoryRepository) -> None:
        self.one, self.two, self.memory, self.repository = one, two, memory, repository

    async def begin(self) -> None:
        self.here = self.one.connect()
        welcome = await self.here.ask("hello", credential=ADA)
        self.token, self.user_id = welcome["token"], welcome["userId"]
        self.there = self.two.connect()
        await self.there.ask("hello", token=self.token)

    async def ban(self, server: TestServer, seconds: float | None = None, name: str | None = None) -> None:
        await server.bans.ban(await server.bans.person(name or self.user_id), seconds, "")

    async def unban(self, server: TestServer, name: str | None = None) -> bool:
        return await server.bans.unban(await server.bans.person(name or self.user_id))


@pytest.fixture
async def two(autojump_clock: MockClock) -> AsyncIterator[Two]:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository) as one,
        memory_server(memory=memory, repository=repository) as other,
    ):
        pair = Two(one, other, memory, repository)
        await pair.begin()
        yield pair
        repository.state = "up"


async def refused(server: TestServer, **fields: Any) -> None:
    connection = server.connect()
    reply = await connection.ask("hello", **fields)
    assert (reply["type"], reply["code"]) == ("error", "forbidden")
    assert (await connection.end())[0] == 4403


async def test_a_ban_ends_every_connection_and_refuses_every_way_in(two: Two) -> None:
    await two.ban(two.one)
    for connection in (two.here, two.there):
        assert (await connection.end())[0] == 4403
    for server in (two.one, two.two):
        await refused(server, credential=ADA)
        await refused(server, token=two.token)
        with pytest.raises(CommandError, match="is banned from this server"):
            await server.gateway.execute(commands.GetProfile(), bearer=two.token, address="")


async def test_a_ban_stays_after_the_account_was_erased_and_lets_no_new_one_be_made(two: Two) -> None:
    assert (await two.there.ask("forget_me"))["type"] == "ok"
    with pytest.raises(BadRequest, match="no such user"):
        await two.ban(two.one)
    await two.ban(two.one, name="name:Ada")
    await refused(two.two, credential=ADA)
    assert not two.repository.users, "no account was made"
    [ban] = two.repository.banned.values()
    assert ban.user_id is None
    assert "Ada" not in ban.subject
    assert await two.unban(two.two, ban.subject)
    assert (await two.one.connect().ask("hello", credential=ADA))["type"] == "welcome"


async def test_a_person_who_erases_the_account_after_the_ban_stays_banned(two: Two) -> None:
    await two.ban(two.one)
    await two.repository.erase_user(two.user_id, two.repository.users[two.user_id].created_at)
    await refused(two.two, credential=ADA)


async def test_a_ban_ends_by_itself_and_by_hand(two: Two, autojump_clock: MockClock) -> None:
    await two.ban(two.one, 60)
    await refused(two.two, token=two.token)
    await trio.sleep(61)
    assert (await two.two.connect().ask("hello", token=two.token))["type"] == "welcome"
    await two.ban(two.one)
    await refused(two.two, token=two.token)
    assert await two.unban(two.two)
    assert not await two.unban(two.two)
    for server in (two.one, two.two):
        await wait_all_tasks_blocked()
        assert (await server.connect().ask("hello", token=two.token))["type"] == "welcome"
        assert (await server.connect().ask("hello", credential=ADA))["type"] == "welcome"


async def test_a_server_that_missed_the_notice_finds_the_ban(two: Two, autojump_clock: MockClock) -> None:
    two.two.store.control.stop()
    await two.ban(two.one)
    assert (await two.here.end())[0] == 4403
    await refused(two.two, token=two.token)
    assert two.there.closed is None
    assert (await two.there.end())[0] == 4403, "everything is compared once a minute"


async def test_while_the_store_is_away_the_server_that_bans_waits_for_nothing(two: Two) -> None:
    two.memory.up = False
    await two.ban(two.one)
    assert (await two.here.end())[0] == 4403
    two.memory.up = True
    assert (await two.there.end())[0] == 4403


async def test_who_is_banned_does_not_come_back_while_the_database_is_away(two: Two) -> None:
    two.two.store.control.stop()  # it still has her in its cache: the store knows better
    await two.ban(two.one)
    two.repository.state = "down"
    await refused(two.two, token=two.token)
    reply = await two.one.connect().ask("hello", token=two.token)
    assert reply["code"] == "persistence_unavailable", "this server has forgotten her"
    two.repository.state = "up"
    await two.unban(two.one)
    await wait_all_tasks_blocked()
    assert (await two.two.connect().ask("hello", token=two.token))["type"] == "welcome"
    two.repository.state = "down"
    assert (await two.two.connect().ask("hello", token=two.token))["type"] == "welcome", "the mark has ended"


async def test_without_the_database_nothing_is_done_by_halves(two: Two) -> None:
    person = await two.one.bans.person(two.user_id)
    two.repository.state = "down"
    with pytest.raises(PersistenceUnavailable):
        await two.one.bans.ban(person, None, "")
    two.repository.state = "up"
    assert (await two.here.ask("ping"))["type"] == "pong"
    assert not two.repository.banned


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(0.5, ""), (LONGEST_SECONDS + 1, ""), (float("nan"), ""), (1, "x" * (REASON_CHARACTERS + 1)), (1, "two\nlines")],
)
async def test_a_ban_is_within_bounds(two: Two, seconds: float, reason: str) -> None:
    person = await two.one.bans.person(two.user_id)
    with pytest.raises(BadRequest):
        await two.one.bans.ban(person, seconds, reason)
    assert not two.repository.banned


@pytest.mark.parametrize("name", ["", "nobody", "x" * 301, "00000000-0000-4000-8000-000000000000", "f" * 32])
async def test_only_a_person_is_banned(two: Two, name: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        await two.one.bans.person(name)
    assert refusal.value.field == "user"


async def test_a_ban_while_somebody_signs_in_wins(two: Two) -> None:
    """The database was asked before the ban, and the notice comes before the sign-in is registered."""
    principal = await two.one.gateway._accounts.authenticate(two.token)  # pyright: ignore[reportPrivateUsage]
    await two.ban(two.one)
    with pytest.raises(CommandError, match="is banned"):
        two.one.gateway._accounts.check_still_valid(principal)  # pyright: ignore[reportPrivateUsage]


async def test_bans_are_listed_without_names(two: Two) -> None:
    await two.one.bans.ban(await two.one.bans.person(two.user_id), None, "spam")
    [ban] = await two.two.bans.page("", 10)
    assert (ban.user_id, ban.reason, ban.until) == (two.user_id, "spam", FOR_EVER)
    assert ban == await two.two.bans.of(await two.two.bans.person(two.user_id))
