"""What a repository must keep of bans from all servers, and of what operators list."""

from __future__ import annotations

import msgspec

from evanesce.interfaces import Repository
from evanesce.model import FOR_EVER, RoomActivity
from evanesce.testing.contracts.repository.parts import RepositoryParts, opened, signed_in
from evanesce.testing.contracts.rows import a_user, a_user_ban, at


class UserBanRows(RepositoryParts):
    """Bans from all servers: one for each person, kept without the account, and told with each user."""

    async def test_a_ban_is_stored_once_for_each_person_and_told_with_the_user(self, repository: Repository) -> None:
        user, other = await signed_in(repository), await signed_in(repository)
        ban = a_user_ban(user, reason="a note\nof two lines")
        for _ in range(2):
            await repository.ban_user(ban)
        assert await repository.user_ban(ban.subject) == ban
        assert list(await repository.user_bans("", 10)) == [ban]
        banned = msgspec.structs.replace(user, banned_until=ban.until)
        assert await repository.user(user.user_id, "a sign-in") == banned
        assert list(await repository.signed_in([(user.user_id, "s"), (other.user_id, "t")])) == [banned, other]
        assert await repository.find_user(user.world_id) == banned

    async def test_a_newer_ban_takes_the_place_of_an_earlier_one(self, repository: Repository) -> None:
        user = await signed_in(repository)
        await repository.ban_user(a_user_ban(user, until=9_000))
        for newer in (a_user_ban(user, since=5, until=6), msgspec.structs.replace(a_user_ban(user), until=FOR_EVER)):
            await repository.ban_user(newer)
            assert list(await repository.user_bans("", 10)) == [newer]
            found = await repository.user(user.user_id)
            assert found is not None
            assert found.banned_until == newer.until

    async def test_a_ban_ends_once(self, repository: Repository) -> None:
        user = await signed_in(repository)
        ban = a_user_ban(user)
        await repository.ban_user(ban)
        assert [await repository.unban_user(ban.subject) for _ in range(2)] == [True, False]
        assert await repository.user_ban(ban.subject) is None
        assert await repository.user(user.user_id) == user

    async def test_a_ban_stays_when_the_account_is_erased_and_names_it_no_more(self, repository: Repository) -> None:
        user, erased = await signed_in(repository, "one-human"), await signed_in(repository)
        before = a_user_ban(user)
        await repository.ban_user(before)
        for one in (user, erased):
            for _ in range(2):
                await repository.erase_user(one.user_id, at(1))
        late = a_user_ban(erased)
        await repository.ban_user(late)
        await repository.ban_user(unknown := msgspec.structs.replace(a_user_ban(a_user()), user_id=None))
        without = [msgspec.structs.replace(ban, user_id=None) for ban in (before, late)]
        expected = sorted([*without, unknown], key=lambda ban: ban.subject)
        assert list(await repository.user_bans("", 10)) == expected
        again = await signed_in(repository, "one-human")
        assert await repository.user(again.user_id) == again, "the caller looks for the person"

    async def test_bans_are_listed_in_pages(self, repository: Repository) -> None:
        bans = sorted([a_user_ban(await signed_in(repository)) for _ in range(5)], key=lambda ban: ban.subject)
        for ban in bans:
            await repository.ban_user(ban)
        assert list(await repository.user_bans("", 2)) == bans[:2]
        assert list(await repository.user_bans(bans[1].subject, 2)) == bans[2:4]
        assert list(await repository.user_bans(bans[4].subject, 2)) == []

    async def test_bans_are_deleted_after_their_end(self, repository: Repository) -> None:
        bans = [a_user_ban(await signed_in(repository), until=until) for until in (5, 6, 7)]
        for ban in bans:
            await repository.ban_user(ban)
        assert await repository.delete_ended_rules(at(6), 10) == 1
        assert await repository.delete_ended_rules(at(8), 1) == 1
        assert await repository.delete_ended_rules(at(8), 10) == 1
        assert list(await repository.user_bans("", 10)) == []


class ListedRows(RepositoryParts):
    """All users and all open rooms, in pages."""

    async def test_all_users_are_listed_in_pages_but_erased_ones(self, repository: Repository) -> None:
        users = sorted([await signed_in(repository) for _ in range(5)], key=lambda user: user.user_id)
        erased = await signed_in(repository)
        await repository.erase_user(erased.user_id, at(1))
        assert list(await repository.all_users("", 3)) == users[:3]
        assert list(await repository.all_users(users[2].user_id, 3)) == users[3:]
        assert await repository.find_user(erased.world_id) is None

    async def test_all_open_rooms_are_listed_in_pages(self, repository: Repository) -> None:
        rooms = sorted([await opened(repository) for _ in range(5)], key=lambda room: room.room_id)
        closed = await opened(repository)
        await repository.close_room(closed.room_id, at(1))
        active = msgspec.structs.replace(rooms[3], active=True)
        await repository.record([RoomActivity(room_id=active.room_id, active=True)])
        assert list(await repository.all_rooms("", 2, active=False)) == rooms[:2]
        assert list(await repository.all_rooms(rooms[1].room_id, 9, active=False)) == [rooms[2], active, rooms[4]]
        assert list(await repository.all_rooms("", 9, active=True)) == [active]
        assert list(await repository.all_rooms(active.room_id, 9, active=True)) == []
