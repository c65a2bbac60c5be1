"""What a repository must keep of invites and admissions."""

from __future__ import annotations

from functools import partial

import msgspec

from evanesce.interfaces import MOST_CHECKED, Repository
from evanesce.model import (
    User,
)
from evanesce.testing.contracts.base import at_once
from evanesce.testing.contracts.repository.parts import ROUNDS, RepositoryParts, opened, signed_in
from evanesce.testing.contracts.rows import a_room, a_user, an_invite, at


class InviteRows(RepositoryParts):
    """Invites and admissions: never more places than there are, whatever comes at once."""

    async def test_live_invites_are_listed_newest_first(self, repository: Repository) -> None:
        room, other = await opened(repository), await opened(repository)
        invites = [an_invite(room, people, created=created) for people, created in ((1, 5), (1000, 7), (3, 6))]
        for invite in (*invites, an_invite(other)):
            assert await repository.create_invite(invite, 10)
        short = an_invite(room, created=8, expires=20)
        assert await repository.create_invite(short, 10)
        newest_first = [invites[1], invites[2], invites[0]]
        assert list(await repository.invites(room.room_id, at(19))) == [short, *newest_first]
        assert list(await repository.invites(room.room_id, at(20))) == newest_first
        assert list(await repository.invites(room.room_id, at(1_000))) == []
        assert list(await repository.invites("nowhere", at(0))) == []
        await repository.close_room(room.room_id, at(21))
        assert list(await repository.invites(room.room_id, at(22))) == []
        assert len(await repository.invites(other.room_id, at(22))) == 1

    async def test_a_room_has_at_most_so_many_live_invites(self, repository: Repository) -> None:
        room, other, guest = await opened(repository), await opened(repository), await signed_in(repository)
        first, second, third = (an_invite(room) for _ in range(3))
        assert [await repository.create_invite(invite, 2) for invite in (first, second, third)] == [True, True, False]
        assert await repository.create_invite(first, 2), "its answer may have been lost"
        assert await repository.create_invite(an_invite(other), 2), "another room's do not count"
        assert await repository.revoke_invite(room.room_id, first.invite_id, at(1))
        assert await repository.create_invite(third, 2), "one that was revoked does not count"
        assert not await repository.create_invite(an_invite(room), 2)
        assert await repository.admit(room.room_id, guest.user_id, second.invite_id, at(2), 10)
        assert await repository.create_invite(an_invite(room), 2), "nor does one that is used up"
        assert not await repository.create_invite(an_invite(room, created=999), 2)
        assert await repository.create_invite(an_invite(room, created=1_000, expires=2_000), 2), (
            "nor one that has expired"
        )
        moved = msgspec.structs.replace(first, room_id=other.room_id)
        assert not await repository.create_invite(moved, 10), "its id is taken"

    async def test_no_invite_is_stored_for_a_room_that_is_not_open(self, repository: Repository) -> None:
        room = await opened(repository)
        before = an_invite(room)
        assert await repository.create_invite(before, 10)
        await repository.close_room(room.room_id, at(1))
        for invite in (before, an_invite(room), an_invite(a_room(a_user()))):
            assert not await repository.create_invite(invite, 10)

    async def test_only_a_live_invite_of_the_room_is_revoked(self, repository: Repository) -> None:
        room, other, guest = await opened(repository), await opened(repository), await signed_in(repository)
        live, expired, used = an_invite(room, 2), an_invite(room, expires=5), an_invite(room)
        for invite in (live, expired, used):
            await repository.create_invite(invite, 10)
        assert await repository.admit(room.room_id, guest.user_id, used.invite_id, at(2), 10)
        for room_id, invite_id in (
            (other.room_id, live.invite_id),
            (room.room_id, "none"),
            (room.room_id, expired.invite_id),
            (room.room_id, used.invite_id),
        ):
            assert not await repository.revoke_invite(room_id, invite_id, at(5))
        assert await repository.revoke_invite(room.room_id, live.invite_id, at(6))
        assert not await repository.revoke_invite(room.room_id, live.invite_id, at(7))
        assert await repository.admit(room.room_id, guest.user_id, live.invite_id, at(7), 10), "admitted before"
        stranger = await signed_in(repository)
        assert await repository.admit(room.room_id, stranger.user_id, live.invite_id, at(7), 10) is False
        assert list(await repository.invites(room.room_id, at(7))) == []

    async def test_an_invite_admits_so_many_persons_each_once(self, repository: Repository) -> None:
        room = await opened(repository)
        invite = an_invite(room, 2)
        await repository.create_invite(invite, 10)
        ada, bob, eve = [await signed_in(repository) for _ in range(3)]

        async def admit(user: User) -> bool | None:
            return await repository.admit(room.room_id, user.user_id, invite.invite_id, at(1), 10)

        assert [await admit(user) for user in (ada, ada)] == [True, True]
        assert list(await repository.invites(room.room_id, at(1))) == [msgspec.structs.replace(invite, used=1)]
        assert [await admit(user) for user in (bob, eve, ada, bob)] == [True, False, True, True]
        assert list(await repository.invites(room.room_id, at(1))) == [], "it is used up"
        asked = [(room.room_id, user.user_id) for user in (eve, ada, bob, eve)]
        assert list(await repository.admitted(asked)) == [False, True, True, False]

    async def test_only_a_live_invite_of_the_room_admits(self, repository: Repository) -> None:
        room, other, closed = [await opened(repository) for _ in range(3)]
        live, of_other, of_closed = an_invite(room), an_invite(other), an_invite(closed)
        expired, revoked = an_invite(room, expires=5), an_invite(room)
        for invite in (live, of_other, of_closed, expired, revoked):
            assert await repository.create_invite(invite, 10)
        await repository.close_room(closed.room_id, at(1))
        await repository.revoke_invite(room.room_id, revoked.invite_id, at(9))
        user, erased = await signed_in(repository), await signed_in(repository)
        await repository.erase_user(erased.user_id, at(1))
        for room_id, user_id, invite_id in (
            (room.room_id, user.user_id, of_other.invite_id),
            (other.room_id, user.user_id, live.invite_id),
            (room.room_id, user.user_id, "none"),
            (closed.room_id, user.user_id, of_closed.invite_id),
            (room.room_id, erased.user_id, live.invite_id),
            (room.room_id, "nobody", live.invite_id),
            (room.room_id, user.user_id, expired.invite_id),
            (room.room_id, user.user_id, revoked.invite_id),
        ):
            # The clock may have been set back since one was revoked.
            assert await repository.admit(room_id, user_id, invite_id, at(5), 10) is False
            assert list(await repository.admitted([(room_id, user_id)])) == [False]
        assert list(await repository.invites(room.room_id, at(5))) == [live], "none has taken a place"
        assert await repository.admit(room.room_id, user.user_id, live.invite_id, at(5), 10) is True

    async def test_a_room_admits_at_most_so_many(self, repository: Repository) -> None:
        room, other = await opened(repository), await opened(repository)
        invite, elsewhere = an_invite(room, 10), an_invite(other, 10)
        for one in (invite, elsewhere):
            await repository.create_invite(one, 10)
        users = [await signed_in(repository) for _ in range(4)]

        async def admit(user: User, most: int) -> bool | None:
            return await repository.admit(room.room_id, user.user_id, invite.invite_id, at(1), most)

        assert await repository.admit(other.room_id, users[3].user_id, elsewhere.invite_id, at(1), 2)
        assert [await admit(user, 2) for user in users] == [True, True, None, None]
        assert await admit(users[0], 2) is True, "admitted before"
        assert list(await repository.invites(room.room_id, at(1))) == [msgspec.structs.replace(invite, used=2)]
        assert await admit(users[2], 3) is True

    async def test_members_are_admitted_in_their_order_as_far_as_there_is_room(self, repository: Repository) -> None:
        room = await opened(repository)
        invite = an_invite(room)
        await repository.create_invite(invite, 10)
        users = [await signed_in(repository) for _ in range(6)]
        erased = users.pop()
        await repository.erase_user(erased.user_id, at(1))
        ids = [user.user_id for user in users]
        ids.sort(reverse=True)  # another order than that of an index

        async def admitted() -> list[bool]:
            return list(await repository.admitted([(room.room_id, user_id) for user_id in [*ids, erased.user_id]]))

        assert await repository.admit(room.room_id, ids[1], invite.invite_id, at(1), 3)
        await repository.admit_members(room.room_id, [erased.user_id, "nobody", *ids[:1], *ids], at(1), 3)
        assert await admitted() == [True, True, True, False, False, False]
        await repository.admit_members(room.room_id, ids, at(1), 3)
        await repository.admit_members(room.room_id, ids, at(1), 2)
        assert await admitted() == [True, True, True, False, False, False]
        await repository.admit_members(room.room_id, [], at(1), 10)
        await repository.admit_members(room.room_id, ids, at(1), 4)
        assert await admitted() == [True, True, True, True, False, False]
        await repository.close_room(room.room_id, at(2))
        await repository.admit_members(room.room_id, ids, at(3), 10)
        assert await admitted() == [True, True, True, True, False, False]

    async def test_many_admissions_are_looked_up_in_the_order_that_was_asked(self, repository: Repository) -> None:
        room, other, user = await opened(repository), await opened(repository), await signed_in(repository)
        await repository.admit_members(room.room_id, [user.user_id], at(1), 10)
        asked = [
            ("nowhere", user.user_id),
            (room.room_id, user.user_id),
            (other.room_id, user.user_id),
            (room.room_id, "nobody"),
        ]
        most = (asked * MOST_CHECKED)[:MOST_CHECKED]
        assert list(await repository.admitted(most)) == ([False, True, False, False] * MOST_CHECKED)[:MOST_CHECKED]
        assert list(await repository.admitted([])) == []

    async def test_of_many_who_want_the_last_places_as_many_are_admitted(
        self, pair: tuple[Repository, Repository]
    ) -> None:
        """Two persons come twice at once, on both servers, and take one place each."""
        users = [await signed_in(pair[0]) for _ in range(5)]
        for _ in range(ROUNDS):
            room = await opened(pair[0])
            invite = an_invite(room, 3)
            await pair[0].create_invite(invite, 10)

            coming = [*users, *users[:2]]
            key = invite.invite_id
            results = await at_once(
                *(
                    partial(pair[p % 2].admit, room.room_id, user.user_id, key, at(1), 10)
                    for p, user in enumerate(coming)
                )
            )
            admitted = await pair[1].admitted([(room.room_id, user.user_id) for user in users])
            assert sum(admitted) == 3
            assert [result is True for result in results] == [admitted[users.index(user)] for user in coming]
            assert None not in results
            assert await pair[0].invites(room.room_id, at(1)) == []

    async def test_of_many_invites_at_once_no_more_than_the_limit_are_stored(
        self, pair: tuple[Repository, Repository]
    ) -> None:
        for _ in range(ROUNDS):
            room = await opened(pair[0])
            invites = [an_invite(room) for _ in range(5)]
            stored = await at_once(*(partial(pair[p % 2].create_invite, one, 2) for p, one in enumerate(invites)))
            assert sorted(map(bool, stored)) == [False, False, False, True, True]
            assert len(await pair[1].invites(room.room_id, at(1))) == 2
