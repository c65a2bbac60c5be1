"""While the database is away: who is signed in comes back, and joins rooms that exist; nobody else gets in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.accounts import cache as cache_module
from evanesce.accounts.cache import AccountCache
from evanesce.model import ChatRoom, Timestamp, User
from evanesce.rooms import room as room_module
from evanesce.sessions.session import INBOX_SECONDS
from evanesce.store.control_bus import Notice, NoticesLost, TokenRevoked, UserErased, UserRenamed
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
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


async def test_a_known_room_that_the_database_has_no_more_is_joined_by_nobody(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room_id = await server.open_room(ada)
        await server.repository.close_room(room_id, AT)  # nobody is told, as by a program that changes the database
        for person in (ada, bob):
            assert (await person.ask("join", roomId=room_id))["code"] == "room_not_found"
            assert (await person.ask("send", roomId=room_id, content="?"))["code"] == "not_member"
        assert server.hub.rooms == 0


async def test_a_fault_at_asking_for_a_known_room_ends_no_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(room_ids: Sequence[str]) -> Mapping[str, int]:
        raise ZeroDivisionError

    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        room_id = await server.open_room(ada)
        with monkeypatch.context() as broken:
            broken.setattr(server.repository, "open_rooms", fail)
            assert (await ada.ask("join", roomId=room_id))["code"] == "persistence_unavailable"
        assert (await ada.ask("join", roomId=room_id))["type"] == "joined"


async def test_a_crowd_that_returns_to_a_known_room_is_let_in_though_the_database_is_slow(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More people than the inbox of the room holds wait with it, as long as the database may take."""
    monkeypatch.setattr(room_module, "INBOX", 3)
    async with memory_server() as server:
        people = [await server.sign_in(f"Person {number}") for number in range(9)]
        room_id = await server.open_room(people[0])
        server.repository.state = "hung"
        for person in people:
            person.say("join", roomId=room_id, ref="join")
        await trio.sleep(2 * INBOX_SECONDS)
        server.repository.state = "up"
        for person in people:
            assert (await person.until("joined"))["roomId"] == room_id


async def test_what_servers_tell_each_other_is_believed() -> None:
    cache = AccountCache()
    for user_id, sign_in_id in (("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")):
        cache.keep_user(a_user(user_id), sign_in_id, cache.mark())
    cache.handle_notice(TokenRevoked("1"))
    cache.handle_notice(UserErased("b"))
    cache.handle_notice(UserRenamed("c", "Countess"))
    assert cache.user("a", "1") is None
    assert cache.user("a", "2") == a_user("a")
    assert cache.user("a", "3") is None
    assert cache.user("b", "3") is None
    renamed = cache.user("c", "4")
    assert renamed is not None
    assert renamed.display_name == "Countess"
    assert set(cache.sign_ins) == {("a", "2"), ("c", "4")}


@pytest.mark.parametrize("notice", [TokenRevoked("s"), UserErased("u"), NoticesLost()])
async def test_what_was_read_before_a_notice_is_not_kept_though_the_answer_came_later(
    notice: Notice | NoticesLost,
) -> None:
    cache = AccountCache()
    before = cache.mark()
    cache.handle_notice(notice)
    cache.keep_user(a_user("u"), "s", before)
    cache.keep_user(a_user("v"), "t", before)
    assert cache.user("u", "s") is None
    assert (cache.user("v", "t") is None) == (notice == NoticesLost())
    assert cache.ended_since(before, "u", "s") == (notice != NoticesLost())
    assert not cache.ended_since(before, "v", "t")
    assert not cache.ended_since(cache.mark(), "u", "s")
    cache.keep_user(a_user("v"), "t", cache.mark())
    assert cache.user("v", "t") == a_user("v")


async def test_after_a_loss_nothing_is_believed_until_it_was_confirmed() -> None:
    cache = AccountCache()
    cache.keep_user(a_user("u"), "s", cache.mark())
    cache.keep_room(a_room("r"), cache.mark())
    asked_before = cache.mark()
    cache.handle_notice(NoticesLost())
    assert (cache.user("u", "s"), cache.room("r")) == (None, None)
    assert (list(cache.sign_ins), list(cache.room_ids)) == ([("u", "s")], ["r"]), "they are still to be compared"
    cache.confirm_user(a_user("u"), "s", asked_before)
    cache.confirm_rooms({"r": 0}, asked_before)
    assert (cache.user("u", "s"), cache.room("r")) == (None, None)
    cache.confirm_user(a_user("u"), "s", cache.mark())
    cache.confirm_rooms({"r": 0, "unknown": 0}, cache.mark())
    assert (cache.user("u", "s"), cache.room("r")) == (a_user("u"), a_room("r"))


async def test_a_room_whose_rules_have_changed_is_not_believed() -> None:
    cache = AccountCache()
    for room_id in "rst":
        cache.keep_room(a_room(room_id), cache.mark())
    cache.confirm_rooms({"r": 1, "s": 0}, cache.mark())
    assert [cache.room(room_id) is None for room_id in "rst"] == [True, False, False]


async def test_with_more_revocations_than_are_remembered_an_old_answer_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache_module, "MOST_ENDED", 3)
    cache = AccountCache()
    before = cache.mark()
    for number in range(4):
        cache.handle_notice(TokenRevoked(f"{number}"))
    cache.keep_user(a_user("u"), "0", before)
    assert cache.user("u", "0") is None


async def test_what_is_old_or_one_too_many_is_forgotten(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "MOST", 3)
    cache = AccountCache()
    for one in "abcd":
        cache.keep_room(a_room(one), cache.mark())
        cache.keep_user(a_user(one), f"sign-in of {one}", cache.mark())
    assert [cache.room(one) is None for one in "abcd"] == [True, False, False, False]
    assert [cache.user(one, f"sign-in of {one}") is None for one in "abcd"] == [True, False, False, False]
    cache.drop_room("c")
    await trio.sleep(cache_module.VALID_SECONDS - 1)
    cache.keep_room(a_room("d"), cache.mark())
    cache.confirm_rooms({"b": 0}, cache.mark())
    cache.confirm_user(a_user("b"), "sign-in of b", cache.mark())
    await trio.sleep(1)
    assert [cache.room(one) is None for one in "bcd"] == [True, True, False], "to be confirmed is not to be used"
    assert cache.user("b", "sign-in of b") is None


async def test_a_notice_costs_no_more_however_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = AccountCache()
    for number in range(1000):
        cache.keep_user(a_user(f"user {number}"), f"sign-in {number}", cache.mark())
    looked_at: list[str] = []

    class Watched(OrderedDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            looked_at.append(key)
            return super().__getitem__(key)

        def pop(self, key: str, *default: Any) -> Any:
            looked_at.append(key)
            return super().pop(key, *default)

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("a notice must not look at everybody")

        def keys(self) -> Any:
            raise AssertionError("a notice must not look at everybody")

        items = values = keys

    monkeypatch.setattr(cache, "_users", Watched(cache._users))
    for notice in (TokenRevoked("sign-in 7"), UserErased("user 8"), UserRenamed("user 9", "Nine"), UserErased("none")):
        cache.handle_notice(notice)
    assert looked_at == ["sign-in 7", "sign-in 8", "sign-in 9"]
