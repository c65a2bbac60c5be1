"""While the database is away: who is signed in comes back, and joins rooms that exist; nobody else gets in."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from evanesce.model import ChatRoom, Timestamp, User
from evanesce.sessions import acquaintances
from evanesce.sessions.acquaintances import Acquaintances
from evanesce.store.base import TokenRevoked, UserErased, UserRenamed
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.memory_store import MemoryServer
from evanesce.testing.server import memory_server

AT = Timestamp("2026-01-01T00:00:00.000Z")


def a_user(user_id: str) -> User:
    return User(user_id=user_id, world_id=user_id, display_name="Ada", created_at=AT, last_active=AT)


def a_room(room_id: str) -> ChatRoom:
    return ChatRoom(room_id=room_id, created_by="u", created_at=AT, deep_link="/")


async def test_with_the_database_away_people_come_back_and_talk(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = server.connect()
        welcome = await connection.ask("hello", credential={"provider": "name", "name": "Ada"})
        room_id = await server.open_room(connection)
        connection.leave()
        await connection.end()
        server.repository.state = "down"
        back = server.connect()
        again = await back.ask("hello", token=welcome["token"])
        assert again["userId"] == welcome["userId"]
        assert (await back.ask("join", roomId=room_id))["type"] == "joined"
        assert (await back.ask("send", roomId=room_id, content="hello"))["type"] == "sent"
        refused = await back.ask("create_room")
        assert (refused["code"], refused["retry"]) == ("persistence_unavailable", True)
        refused = await back.ask("join", roomId="00000000-0000-4000-8000-000000000000")
        assert refused["code"] == "persistence_unavailable"
        refused = await server.connect().ask("hello", credential={"provider": "name", "name": "Eve"})
        assert refused["code"] == "persistence_unavailable"
        server.repository.state = "up"


@pytest.mark.parametrize("ending", ["sign_out", "forget_me"])
async def test_who_was_signed_out_anywhere_does_not_come_back(autojump_clock: MockClock, ending: str) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository) as one,
        memory_server(memory=memory, repository=repository) as two,
    ):
        connection = one.connect()
        welcome = await connection.ask("hello", credential={"provider": "name", "name": "Ada"})
        elsewhere = two.connect()
        await elsewhere.ask("hello", token=welcome["token"])
        assert (await elsewhere.ask(ending))["type"] == "ok"
        await connection.end()
        repository.state = "down"
        for server in (one, two):
            refused = await server.connect().ask("hello", token=welcome["token"])
            assert refused["type"] == "error"
        repository.state = "up"


async def test_a_room_that_was_closed_is_not_joined_though_the_database_is_away(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository) as one,
        memory_server(memory=memory, repository=repository) as two,
    ):
        ada, bob = await one.sign_in("Ada"), await two.sign_in("Bob")
        room_id = await one.open_room(ada)
        await bob.ask("join", roomId=room_id)
        await bob.ask("leave", roomId=room_id)
        await ada.ask("close_room", roomId=room_id)
        repository.state = "down"
        for person in (ada, bob):
            refused = await person.ask("join", roomId=room_id)
            assert refused["code"] in ("room_not_found", "persistence_unavailable")
        repository.state = "up"


async def test_what_servers_tell_each_other_is_believed() -> None:
    known = Acquaintances()
    for user_id, sign_in_id in (("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")):
        known.meet(a_user(user_id), sign_in_id)
    known.hear(TokenRevoked("1"))
    known.hear(UserErased("b"))
    known.hear(UserRenamed("c", "Countess"))
    assert known.user("a", "1") is None
    assert known.user("a", "2") == a_user("a")
    assert known.user("a", "3") is None
    assert known.user("b", "3") is None
    renamed = known.user("c", "4")
    assert renamed is not None
    assert renamed.display_name == "Countess"


async def test_what_is_old_or_one_too_many_is_forgotten(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acquaintances, "MOST", 3)
    known = Acquaintances()
    for room_id in "abcd":
        known.visit(a_room(room_id))
        known.meet(a_user(room_id), "s")
    assert [known.room(room_id) is None for room_id in "abcd"] == [True, False, False, False]
    assert [known.user(user_id, "s") is None for user_id in "abcd"] == [True, False, False, False]
    known.leave("c")
    await trio.sleep(acquaintances.BELIEVED_SECONDS - 1)
    known.visit(a_room("d"))
    await trio.sleep(1)
    assert [known.room(room_id) is None for room_id in "bcd"] == [True, True, False]
