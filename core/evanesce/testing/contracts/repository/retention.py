"""What a repository must delete, and how it is bound to one Redis."""

from __future__ import annotations

import math

import trio

from evanesce.interfaces import Repository
from evanesce.model import (
    UserSeen,
)
from evanesce.testing.contracts.repository.parts import RepositoryParts, a_busy_room, opened, signed_in
from evanesce.testing.contracts.rows import a_session, a_user, at, its_end


class RetentionRows(RepositoryParts):
    """What has been kept long enough is deleted a few rows at a time; one Redis at a time uses the database."""

    async def test_a_session_never_ends_before_it_began(self, repository: Repository) -> None:
        """The store's clock may have been set back in between: then it ends at the moment in which it began."""
        user = await signed_in(repository)
        session = a_session(user, await opened(repository, user), now=at(100))
        await repository.record([session, its_end(session, at(40))])
        assert await repository.delete_sessions(at(100), 10) == 0
        assert await repository.delete_sessions(at(101), 10) == 1

    async def test_sessions_that_ended_long_ago_are_deleted_a_few_at_a_time(self, repository: Repository) -> None:
        _, sessions = await a_busy_room(repository, *["one"] * 7)
        await repository.record([its_end(session, at(time)) for time, session in enumerate(sessions[:6])])
        assert [await repository.delete_sessions(at(5), 2) for _ in range(4)] == [2, 2, 1, 0]
        assert await repository.delete_sessions(at(6), 2) == 1
        assert list(await repository.servers_in_sessions()) == ["one"]

    async def test_rooms_that_were_closed_long_ago_are_deleted_with_their_sessions(
        self, repository: Repository
    ) -> None:
        rooms = [(await a_busy_room(repository, "one", "one"))[0] for _ in range(4)]
        for time, room in enumerate(rooms[:3]):
            await repository.close_room(room.room_id, at(time))
        deleted: list[int] = []
        while count := await repository.delete_rooms(at(2), 1):
            assert count <= 2, "one room, and one session"
            deleted.append(count)
        assert sum(deleted) == 2 + 4
        assert await repository.end_sessions("one", at(9), 10) == 4
        assert await repository.room(rooms[3].room_id) is not None
        assert not await repository.create_room(rooms[2], 100), "one that was closed lately is still known"

    async def test_guests_who_were_not_seen_for_long_are_named_longest_ago_first(self, repository: Repository) -> None:
        guests = [a_user(guest=True, now=at(time)) for time in (3, 1, 2, 4)]
        for user in (*guests, a_user(now=at(0))):
            await repository.sign_in(user)
        found = [guests[1].user_id, guests[2].user_id, guests[0].user_id]
        assert list(await repository.unused_guests(at(4), 0, 10)) == found
        assert list(await repository.unused_guests(at(4), 1, 1)) == found[1:2]
        assert list(await repository.unused_guests(at(1), 0, 10)) == []
        await repository.record([UserSeen(user_id=found[0], last_active=at(9))])
        await repository.erase_user(found[1], at(9))
        assert list(await repository.unused_guests(at(4), 0, 10)) == found[2:]
        stored = await repository.user(found[0])
        assert stored is not None
        assert stored.guest

    async def test_guests_who_were_erased_are_deleted_once_their_rooms_are(self, repository: Repository) -> None:
        guests = [a_user(guest=True) for _ in range(4)]
        nobody = await signed_in(repository)
        for user in guests:
            await repository.sign_in(user)
        room = await opened(repository, guests[0])
        for user in (*guests[:3], nobody):
            await repository.erase_user(user.user_id, at(1))
        assert [await repository.delete_guests(1) for _ in range(3)] == [1, 1, 0]
        assert await repository.erase_user(guests[0].user_id, at(2)) == [room.room_id], "its row is still there"
        while await repository.delete_rooms(at(2), 10):
            pass
        assert await repository.delete_guests(10) == 1
        assert await repository.user(guests[3].user_id) == guests[3]

    async def test_purging_changes_nothing_that_can_be_read(self, repository: Repository) -> None:
        ada, erased = await signed_in(repository), await signed_in(repository)
        await repository.erase_user(erased.user_id, at(1))
        for _ in range(2):
            await repository.purge()
        assert await repository.user(ada.user_id) == ada
        assert await repository.user(erased.user_id) is None

    async def test_it_says_how_it_is(self, repository: Repository) -> None:
        assert await repository.check()

    async def test_trying_to_write_can_be_done_again_by_many(self, repository: Repository) -> None:
        ada = await signed_in(repository)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(repository.try_write)
        await repository.try_write()
        assert await repository.user(ada.user_id, "try_write") == ada, "no sign-in is revoked by it"

    async def test_it_is_bound_to_one_redis_at_a_time(self, repository: Repository) -> None:
        assert await repository.bound_redis() is None
        assert not await repository.bind_redis("first", "of before")
        assert await repository.bound_redis() is None
        assert await repository.bind_redis("first", None)
        assert not await repository.bind_redis("second", None)
        assert not await repository.bind_redis("second", "another")
        bound = await repository.bound_redis()
        assert bound is not None
        assert bound.identity == "first"
        assert -1 <= bound.silent < 60
        assert await repository.bind_redis("second", "first")
        assert not await repository.bind_redis("first", None)
        bound = await repository.bound_redis()
        assert bound is not None
        assert bound.identity == "second"

    async def test_heartbeats_are_counted_and_a_release_holds_until_the_next(self, repository: Repository) -> None:
        await repository.bind_redis("first", None)
        before = await repository.bound_redis()
        await repository.bind_redis("first", "first")
        after = await repository.bound_redis()
        assert before is not None
        assert after is not None
        assert after.heartbeats > before.heartbeats
        await repository.release_redis("another")
        kept = await repository.bound_redis()
        assert kept is not None
        assert kept.silent < 60
        await repository.release_redis("first")
        released = await repository.bound_redis()
        assert released is not None
        assert (released.identity, released.silent) == ("first", math.inf)
        assert await repository.bind_redis("first", "first")
        again = await repository.bound_redis()
        assert again is not None
        assert again.silent < 60

    async def test_it_is_inspected_as_what_it_is(self, repository: Repository) -> None:
        found = await repository.inspect()
        assert found.found == found.newest
        assert found.steps == ()
