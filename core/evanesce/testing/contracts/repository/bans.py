"""What a repository must keep of bans."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from evanesce.interfaces import Repository
from evanesce.testing.contracts.base import at_once
from evanesce.testing.contracts.repository.parts import ROUNDS, RepositoryParts, opened, signed_in, version
from evanesce.testing.contracts.rows import a_ban, a_room, at


class BanRows(RepositoryParts):
    """Bans: bounded, counted by the version of the rules, and ended once."""

    async def test_a_ban_is_stored_with_the_present_name_and_the_version_grows(self, repository: Repository) -> None:
        room, other, user = await opened(repository), await opened(repository), await signed_in(repository)
        ban = a_ban(room, user)
        assert await repository.ban(ban, 10) == 1
        assert await repository.ban(ban, 10) == 1, "its answer may have been lost"
        assert await version(repository, room) == 1
        assert await version(repository, other) == 0
        await repository.update_user(msgspec.structs.replace(user, display_name="Renamed"))
        assert list(await repository.bans(room.room_id, at(0))) == [
            msgspec.structs.replace(ban, display_name="Renamed")
        ]
        assert list(await repository.bans(other.room_id, at(0))) == []

    @pytest.mark.parametrize(
        ("since", "until", "reason"),
        [(5, 9, "vote"), (5, 2_000, "creator"), (5, 5, "creator"), (0, 1_000, "vote"), (0, 0, "creator")],
    )
    async def test_a_ban_takes_the_place_of_an_earlier_one(
        self, repository: Repository, since: int, until: int, reason: str
    ) -> None:
        """Also where the room has as many as it may have, and the person has another account by now."""
        room, user = await opened(repository), await signed_in(repository, "one-human")
        assert await repository.ban(a_ban(room, user), 1) == 1
        await repository.erase_user(user.user_id, at(1))
        again = await signed_in(repository, "one-human")
        newer = a_ban(room, again, since=since, until=until, reason=reason)
        assert await repository.ban(newer, 1) == 2
        assert list(await repository.bans(room.room_id, at(-1))) == [newer]

    async def test_bans_and_removals_after_a_time_are_listed_newest_first(self, repository: Repository) -> None:
        room = await opened(repository)
        users = [await signed_in(repository) for _ in range(5)]
        long, ended, removal, late, late_removal = (
            a_ban(room, user, since=since, until=until)
            for user, (since, until) in zip(users, ((1, 99), (2, 10), (3, 3), (20, 30), (21, 21)), strict=True)
        )
        for ban in (late, long, removal, late_removal, ended):
            await repository.ban(ban, 10)
        for time, expected in (
            (0, [late_removal, late, removal, ended, long]),
            (3, [late_removal, late, ended, long]),
            (10, [late_removal, late, long]),
            (21, [late, long]),
            (98, [long]),
            (99, []),
        ):
            assert list(await repository.bans(room.room_id, at(time))) == expected

    async def test_a_room_has_at_most_so_many_bans_of_others(self, repository: Repository) -> None:
        room, other = await opened(repository), await opened(repository)
        users = [await signed_in(repository) for _ in range(6)]
        await repository.ban(a_ban(other, users[0]), 10)
        first, short, third, fourth, fifth, sixth = (a_ban(room, user) for user in users)
        short = msgspec.structs.replace(short, until=at(5))
        assert [await repository.ban(ban, 2) for ban in (first, short)] == [1, 2]
        for ban in (third, msgspec.structs.replace(third, since=at(4)), msgspec.structs.replace(third, until=at(0))):
            assert await repository.ban(ban, 2) is None
        assert await version(repository, room) == 2
        third = msgspec.structs.replace(third, since=at(5))
        assert await repository.ban(third, 2) == 3, "one that has ended does not count"
        assert await repository.ban(msgspec.structs.replace(first, until=at(7), since=at(6)), 2) == 4, (
            "nor does one's own"
        )
        assert await repository.ban(msgspec.structs.replace(fourth, since=at(6)), 2) is None
        assert await repository.unban(room.room_id, third.subject, at(6))
        assert await repository.ban(msgspec.structs.replace(fifth, since=at(6)), 2) == 6
        assert await repository.ban(msgspec.structs.replace(sixth, since=at(6)), 2) is None

    async def test_nobody_is_banned_from_a_room_that_is_not_open(self, repository: Repository) -> None:
        room, user = await opened(repository), await signed_in(repository)
        ban = a_ban(room, user)
        assert await repository.ban(ban, 10) == 1
        await repository.close_room(room.room_id, at(1))
        assert await repository.ban(ban, 10) is None
        assert await repository.ban(a_ban(room, user, since=2), 10) is None
        assert await repository.ban(a_ban(a_room(user), user), 10) is None
        assert list(await repository.bans(room.room_id, at(0))) == [ban], "nothing is stored"
        assert not await repository.unban(room.room_id, ban.subject, at(2))

    async def test_a_ban_ends_once_and_stays_a_removal(self, repository: Repository) -> None:
        room, other, user = await opened(repository), await opened(repository), await signed_in(repository)
        ban = a_ban(room, user, since=5)
        await repository.ban(ban, 10)
        await repository.ban(a_ban(other, user), 10)
        assert not await repository.unban("nowhere", ban.subject, at(6))
        for _ in range(2):
            assert await repository.unban(room.room_id, ban.subject, at(7))
            assert await version(repository, room) == 2
        assert list(await repository.bans(room.room_id, at(6))) == [msgspec.structs.replace(ban, until=at(7))]
        assert list(await repository.bans(room.room_id, at(7))) == []
        assert await repository.unban(room.room_id, ban.subject, at(8))
        assert list(await repository.bans(room.room_id, at(7))) == [msgspec.structs.replace(ban, until=at(8))]
        assert len(await repository.bans(other.room_id, at(7))) == 1
        assert await repository.ban(msgspec.structs.replace(ban, since=at(9)), 10) == 4

    async def test_that_somebody_is_not_banned_is_stored_for_a_vote_that_comes_late(
        self, repository: Repository
    ) -> None:
        """It is nobody's removal, counts as no ban, and a ban takes its place."""
        room, user = await opened(repository), await signed_in(repository)
        ban = a_ban(room, user, since=9)
        for _ in range(2):
            assert await repository.unban(room.room_id, ban.subject, at(7))
            assert await version(repository, room) == 1
        noted = msgspec.structs.replace(ban, user_id=None, display_name="", since=at(7), until=at(7))
        assert list(await repository.bans(room.room_id, at(6))) == [noted]
        assert list(await repository.bans(room.room_id, at(7))) == []
        assert await repository.ban(ban, 1) == 2
        assert list(await repository.bans(room.room_id, at(7))) == [ban]

    async def test_a_ban_is_ended_also_by_a_clock_that_was_set_back(self, repository: Repository) -> None:
        room, user = await opened(repository), await signed_in(repository)
        ban = a_ban(room, user, since=50)
        await repository.ban(ban, 10)
        assert await repository.unban(room.room_id, ban.subject, at(7))
        assert list(await repository.bans(room.room_id, at(7))) == []
        assert list(await repository.bans(room.room_id, at(6))) == [
            msgspec.structs.replace(ban, since=at(7), until=at(7)),
        ]

    async def test_of_many_bans_at_once_no_more_than_the_limit_are_stored_and_each_is_counted(
        self,
        pair: tuple[Repository, Repository],
    ) -> None:
        users = [await signed_in(pair[0]) for _ in range(6)]
        for _ in range(ROUNDS):
            room = await opened(pair[0])
            bans = [a_ban(room, user) for user in users]
            results = await at_once(*(partial(pair[p % 2].ban, ban, 4) for p, ban in enumerate(bans)))
            assert {result for result in results if result is not None} == {1, 2, 3, 4}
            stored = {ban.subject for ban in await pair[1].bans(room.room_id, at(1))}
            assert stored == {ban.subject for ban, result in zip(bans, results, strict=True) if result is not None}
            assert await version(pair[0], room) == 4

    async def test_each_change_of_any_kind_has_a_version_of_its_own(self, pair: tuple[Repository, Repository]) -> None:
        for _ in range(ROUNDS):
            room, user, banned = await opened(pair[0]), await signed_in(pair[0]), await signed_in(pair[0])
            await pair[0].ban(a_ban(room, banned), 10)
            changed, banned_at, unbanned = await at_once(
                partial(pair[0].update_room, msgspec.structs.replace(room, locked=True, rules_version=1)),
                partial(pair[1].ban, a_ban(room, user), 10),
                partial(pair[0].unban, room.room_id, a_ban(room, banned).subject, at(1)),
            )
            assert isinstance(banned_at, int)
            assert unbanned is True
            assert await version(pair[1], room) == 3 + (changed is not None)
            now = await pair[1].room(room.room_id)
            assert now is not None
            assert now.locked == (changed is not None)
