"""What a repository must keep of the options of rooms."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from evanesce.interfaces import Repository
from evanesce.model import (
    Access,
    RoomActivity,
)
from evanesce.testing.contracts.base import at_once
from evanesce.testing.contracts.repository.parts import ROUNDS, RepositoryParts, opened, signed_in, version
from evanesce.testing.contracts.rows import a_room, at


class OptionRows(RepositoryParts):
    """Options of rooms: replaced only as of the version that the database has."""

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"message_ttl": 30.0},
            {"message_ttl": 0.5, "access": Access.INVITE},
            {"locked": True},
            {"encrypted": True},
            {"message_ttl": 86_400.0, "access": Access.INVITE, "locked": True, "encrypted": True},
        ],
    )
    async def test_a_room_keeps_the_options_that_it_was_created_with(
        self, repository: Repository, options: dict[str, object]
    ) -> None:
        user = await signed_in(repository)
        room = msgspec.structs.replace(a_room(user), **options)
        assert await repository.create_room(room, 10)
        assert await repository.room(room.room_id) == room
        assert await repository.rooms(user.user_id, None, 10) == ([room], None)
        assert await repository.open_rooms([room.room_id]) == {room.room_id: 0}

    @pytest.mark.parametrize(
        "options",
        [
            {"message_ttl": 30.0, "access": Access.INVITE, "locked": True},
            {"message_ttl": None, "access": Access.LINK, "locked": False},
            {"message_ttl": 7.25},
            {"access": Access.LINK},
            {"locked": False},
            {},
        ],
    )
    async def test_options_are_replaced_and_the_version_grows(
        self, repository: Repository, options: dict[str, object]
    ) -> None:
        user = await signed_in(repository)
        room = a_room(user, message_ttl=60.0, access=Access.INVITE, locked=True, encrypted=True)
        await repository.create_room(room, 10)
        await repository.record([RoomActivity(room_id=room.room_id, active=True)])
        expected = msgspec.structs.replace(room, active=True, rules_version=1, **options)
        asked = msgspec.structs.replace(
            expected,
            created_by="nobody",
            created_at=at(9),
            deep_link="/",
            active=False,
            encrypted=False,
            rules_version=0,
        )
        assert await repository.update_room(asked) == expected
        assert await repository.room(room.room_id) == expected
        assert await repository.open_rooms([room.room_id, "nowhere"]) == {room.room_id: 1}

    async def test_options_are_replaced_only_as_of_the_version_of_the_database(self, repository: Repository) -> None:
        room = await opened(repository)
        first = await repository.update_room(msgspec.structs.replace(room, locked=True))
        assert first == msgspec.structs.replace(room, locked=True, rules_version=1)
        assert await repository.update_room(msgspec.structs.replace(room, locked=True)) == first, "the same once more"
        for outdated in (0, 2, 7):
            asked = msgspec.structs.replace(room, message_ttl=9.0, rules_version=outdated)
            assert await repository.update_room(asked) is None
        assert await repository.room(room.room_id) == first
        assert first is not None
        second = await repository.update_room(msgspec.structs.replace(first, locked=False))
        assert second == msgspec.structs.replace(room, rules_version=2)
        assert await repository.update_room(msgspec.structs.replace(room, locked=True)) is None, "it has changed since"
        assert await repository.update_room(room) is None, "what it asks for is there, by two other changes"
        assert second is not None
        await repository.close_room(room.room_id, at(1))
        assert await repository.update_room(second) is None
        assert await repository.update_room(a_room(await signed_in(repository))) is None

    async def test_of_servers_that_change_the_options_at_once_one_succeeds(
        self, pair: tuple[Repository, Repository]
    ) -> None:
        room = await opened(pair[0])
        for number in range(ROUNDS):
            asked = [
                msgspec.structs.replace(room, message_ttl=1.0 + place, locked=number % 2 == 0, rules_version=number)
                for place in range(6)
            ]
            results = await at_once(*(partial(pair[p % 2].update_room, one) for p, one in enumerate(asked)))
            [changed] = [result for result in results if result is not None]
            assert await pair[1].room(room.room_id) == changed
            assert await version(pair[0], room) == number + 1

    async def test_the_version_of_rules_is_raised_and_never_lowered(self, repository: Repository) -> None:
        room, other = await opened(repository), await opened(repository)
        for raised, expected in ((7, 7), (7, 7), (3, 7), (8, 8)):
            await repository.raise_rules_version(room.room_id, raised)
            assert await repository.open_rooms([room.room_id, other.room_id]) == {
                room.room_id: expected,
                other.room_id: other.rules_version,
            }
        current = await repository.room(room.room_id)
        assert current is not None
        changed = await repository.update_room(msgspec.structs.replace(current, locked=True))
        assert changed == msgspec.structs.replace(current, locked=True, rules_version=9)
        await repository.close_room(room.room_id, at(2))
        await repository.raise_rules_version(room.room_id, 20)
        await repository.raise_rules_version("nowhere", 20)
        assert await repository.room(room.room_id) is None
