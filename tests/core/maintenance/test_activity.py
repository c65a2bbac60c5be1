"""Who is there is in use: guests who are connected, and do no more than read, are not erased."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.config.model import RetentionTable
from evanesce.interfaces import Answered, Caller
from evanesce.maintenance import activity
from evanesce.model import Identity, User, milliseconds, timestamp
from evanesce.protocol import commands
from evanesce.store.memory import MemoryServer, memory_store
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server

DAY = 24 * 3600.0
KEPT = RetentionTable(guest_days=26 / DAY)
"""Guests are erased who were not active for 26 s."""


class Guests(NameAuthenticator):
    """Takes everybody for a guest."""

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        return Identity(subject=str(credential["name"]), display_name=str(credential["name"]), guest=True)


async def reads(server: TestServer, connection: MemoryConnection) -> None:
    await trio.sleep_forever()


async def pings(server: TestServer, connection: MemoryConnection) -> None:
    while True:
        assert (await connection.ask("ping"))["type"] == "pong"
        await trio.sleep(5)


async def refreshes(server: TestServer, connection: MemoryConnection) -> None:
    while True:
        assert (await connection.ask("refresh"))["type"] == "token"
        await trio.sleep(20)


@pytest.mark.parametrize("does", [reads, pings, refreshes])
@pytest.mark.parametrize("in_a_room", [True, False])
async def test_a_guest_who_is_connected_stays_whichever_server_erases(
    autojump_clock: MockClock, does: Callable[[TestServer, MemoryConnection], Awaitable[None]], in_a_room: bool
) -> None:
    memory, repository, guests = MemoryServer(), MemoryRepository(), {"name": Guests()}
    async with (
        memory_server(memory=memory, repository=repository, retention=KEPT, authenticators=guests) as one,
        memory_server(memory=memory, repository=repository, retention=KEPT, authenticators=guests) as two,
        trio.open_nursery() as nursery,
    ):
        ada, bob = await one.sign_in("Ada"), await one.sign_in("Bob")
        if in_a_room:
            room_id = await one.open_room(bob)
            await ada.ask("join", roomId=room_id)
        for server in (one, two):
            nursery.start_soon(server.cleanup.run)
        with trio.move_on_after(300):
            await does(one, ada)
        assert (await ada.ask("profile"))["displayName"] == "Ada"
        ada.leave()
        bob.leave()
        await trio.sleep(60)
        assert repository.users == {}, "whoever has left goes in the end"
        nursery.cancel_scope.cancel()


async def test_a_guest_who_uses_http_alone_stays(autojump_clock: MockClock) -> None:
    async with memory_server(retention=KEPT, authenticators={"name": Guests()}) as server:
        signed_in = await server.gateway.sign_in({"provider": "name", "name": "Ada"}, bearer=None, address="::1")
        token = signed_in.reply.token
        assert isinstance(token, str)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.cleanup.run)
            for _ in range(20):
                await trio.sleep(15)
                refreshed = await server.gateway.execute(commands.Refresh(), bearer=token, address="::1")
                assert refreshed is not None
            nursery.cancel_scope.cancel()


async def test_a_guest_who_is_connected_elsewhere_is_not_erased_whatever_the_database_says(
    autojump_clock: MockClock,
) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with memory_server(memory=memory, repository=repository, retention=KEPT) as server:
        elsewhere = memory_store(server_id="elsewhere", server=memory)
        long_ago = timestamp(server.store.clock.now() - 3_600_000)
        for user_id in ("here", "gone"):
            await repository.sign_in(
                User(
                    user_id=user_id,
                    world_id=user_id,
                    display_name="G",
                    created_at=long_ago,
                    last_active=long_ago,
                    guest=True,
                )
            )
        assert await elsewhere.rate_limits.connect("here", 1, 5)
        await server.cleanup.run_once()
        assert set(repository.users) == {"here"}


@pytest.mark.parametrize(
    ("guest_days", "seconds"), [(None, activity.PRESENT_SECONDS), (1.0, activity.PRESENT_SECONDS), (40 / DAY, 10.0)]
)
async def test_how_often_presence_is_written(
    autojump_clock: MockClock, guest_days: float | None, seconds: float
) -> None:
    async with memory_server(retention=RetentionTable(guest_days=guest_days)) as server:
        await server.sign_in("Ada")
        await trio.sleep(activity.SEEN_SECONDS)
        [user] = server.repository.users.values()
        await trio.sleep(10 * seconds)
        [later] = server.repository.users.values()
        moved = (milliseconds(later.last_active) - milliseconds(user.last_active)) / 1000
        assert 9 * seconds <= moved <= 11 * seconds


async def test_presence_is_written_in_slices_and_again_after_the_database_was_away(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(activity, "SLICE", 2)
    async with memory_server() as server:
        for number in range(5):
            await server.sign_in(f"Person {number}")
        sizes: list[int] = []
        record = server.repository.record

        async def counted(records: Any) -> None:
            await record(records)
            sizes.append(len(records))

        await trio.sleep(2)
        monkeypatch.setattr(server.repository, "record", counted)
        await trio.sleep(activity.PRESENT_SECONDS)
        assert sizes == [2, 2, 1]
        server.repository.state = "down"
        await trio.sleep(activity.PRESENT_SECONDS)
        server.repository.state = "up"
        await trio.sleep(activity.PRESENT_SECONDS)
        assert sizes == [2, 2, 1] * 2
        assert "failed" not in caplog.text
