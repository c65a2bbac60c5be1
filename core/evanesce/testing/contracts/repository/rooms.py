"""What a repository must keep of rooms."""

from __future__ import annotations

import msgspec
import pytest
import trio

from evanesce.errors import BadRequest
from evanesce.interfaces import MOST_CHECKED, Repository
from evanesce.model import (
    ChatRoom,
    User,
)
from evanesce.testing.contracts.base import PATIENCE
from evanesce.testing.contracts.repository.parts import RepositoryParts, opened, signed_in
from evanesce.testing.contracts.rows import a_room, a_user, at


async def pages(repository: Repository, user: User, count: int) -> list[list[ChatRoom]]:
    """Return all pages of a user's rooms."""
    result: list[list[ChatRoom]] = []
    after: str | None = None
    while True:
        rooms, after = await repository.rooms(user.user_id, after, count)
        result.append(rooms)
        if after is None:
            return result
        assert len(after) <= 256


class RoomRows(RepositoryParts):
    """Rooms: created up to a limit, listed in pages, and closed once."""

    async def test_a_room_comes_out_as_it_went_in(self, repository: Repository) -> None:
        user = await signed_in(repository)
        room = await opened(repository, user)
        assert await repository.room(room.room_id) == room
        assert await repository.room(a_room(user).room_id) is None

    async def test_a_creator_has_at_most_so_many_open_rooms(self, repository: Repository) -> None:
        user, other = await signed_in(repository), await signed_in(repository)
        rooms = [a_room(user) for _ in range(3)]
        assert [await repository.create_room(room, 2) for room in rooms] == [True, True, False]
        assert await repository.room(rooms[2].room_id) is None
        assert await repository.create_room(a_room(other), 2)
        await repository.close_room(rooms[0].room_id, at(1))
        assert await repository.create_room(rooms[2], 2)

    async def test_of_many_rooms_created_at_once_no_more_than_the_limit_are_stored(
        self, repository: Repository
    ) -> None:
        user = await signed_in(repository)
        created: list[bool] = []

        async def create() -> None:
            created.append(await repository.create_room(a_room(user), 5))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(create)
        assert sum(created) == 5
        rooms, _ = await repository.rooms(user.user_id, None, 100)
        assert len(rooms) == 5

    async def test_a_room_that_is_created_again_is_there_once(self, repository: Repository) -> None:
        user, other = await signed_in(repository), await signed_in(repository)
        room = a_room(user)
        assert await repository.create_room(room, 1)
        assert await repository.create_room(room, 1)
        assert not await repository.create_room(msgspec.structs.replace(room, created_by=other.user_id), 1)
        assert await repository.room(room.room_id) == room
        await repository.close_room(room.room_id, at(1))
        assert not await repository.create_room(room, 1)

    async def test_nobody_and_the_erased_create_no_room(self, repository: Repository) -> None:
        user = await signed_in(repository)
        await repository.erase_user(user.user_id, at(1))
        for creator in (user, a_user()):
            room = a_room(creator)
            assert not await repository.create_room(room, 10)
            assert await repository.room(room.room_id) is None

    async def test_a_room_is_closed_once(self, repository: Repository) -> None:
        room = await opened(repository, await signed_in(repository))
        assert await repository.close_room(room.room_id, at(1))
        assert not await repository.close_room(room.room_id, at(2))
        assert not await repository.close_room("00000000-0000-4000-8000-000000000000", at(2))
        assert await repository.room(room.room_id) is None

    @pytest.mark.parametrize(("count", "sizes"), [(10, [10, 10, 4]), (8, [8, 8, 8]), (24, [24]), (100, [24])])
    async def test_rooms_come_in_pages_newest_first(self, repository: Repository, count: int, sizes: list[int]) -> None:
        user = await signed_in(repository)
        rooms = [a_room(user, now=at(index // 3)) for index in range(25)]
        for room in rooms:
            await repository.create_room(room, 100)
        await repository.close_room(rooms.pop(7).room_id, at(99))
        await opened(repository, await signed_in(repository))
        got = await pages(repository, user, count)
        assert [len(page) for page in got] == sizes
        expected = sorted(rooms, key=lambda room: (room.created_at, room.room_id), reverse=True)
        assert [room for page in got for room in page] == expected

    async def test_rooms_that_come_and_go_between_two_pages_shift_nothing(self, repository: Repository) -> None:
        user = await signed_in(repository)
        rooms = [a_room(user, now=at(index)) for index in range(6)]
        for room in rooms:
            await repository.create_room(room, 100)
        first, after = await repository.rooms(user.user_id, None, 3)
        await repository.close_room(first[-1].room_id, at(50))
        await repository.create_room(a_room(user, now=at(60)), 100)
        second, end = await repository.rooms(user.user_id, after, 3)
        assert second == [rooms[2], rooms[1], rooms[0]]
        assert end is None

    async def test_who_has_no_rooms_gets_an_empty_page(self, repository: Repository) -> None:
        user = await signed_in(repository)
        assert await repository.rooms(user.user_id, None, 10) == ([], None)

    @pytest.mark.parametrize("after", ["", "garbage", "!!!!", "AAAA", "é", "\ud800", "\x00", "MjAyNg==", "x" * 256])
    async def test_an_after_that_no_page_gave_is_refused(self, repository: Repository, after: str) -> None:
        user = await signed_in(repository)
        with pytest.raises(BadRequest) as refused:
            await repository.rooms(user.user_id, after, 10)
        assert refused.value.field == "after"

    async def test_open_rooms_are_told_from_closed_and_unknown_ones(self, repository: Repository) -> None:
        ada, erased = await signed_in(repository), await signed_in(repository)
        rooms = [await opened(repository, ada) for _ in range(3)]
        of_erased = await opened(repository, erased)
        await repository.close_room(rooms[1].room_id, at(1))
        await repository.erase_user(erased.user_id, at(1))
        asked = [*(room.room_id for room in rooms), of_erased.room_id, "nowhere"]
        assert set(await repository.open_rooms(asked)) == {rooms[0].room_id, rooms[2].room_id}
        assert set(await repository.open_rooms([])) == set()
        assert len(asked) < MOST_CHECKED
