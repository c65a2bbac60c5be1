"""What a repository must erase and delete of the rules of rooms."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from evanesce.interfaces import Repository
from evanesce.model import (
    Ban,
)
from evanesce.testing.contracts.repository.parts import RepositoryParts, opened, signed_in, version
from evanesce.testing.contracts.rows import a_ban, a_user, an_invite, at


class RuleRetentionRows(RepositoryParts):
    """What an erasure and the retention leave of invites, admissions and bans."""

    async def test_an_erased_account_leaves_its_places_taken_and_its_bans_without_it(
        self, repository: Repository
    ) -> None:
        room, ada, bob = await opened(repository), await signed_in(repository), await signed_in(repository, "bob")
        invite = an_invite(room, 2)
        await repository.create_invite(invite, 10)
        for user in (ada, bob):
            assert await repository.admit(room.room_id, user.user_id, invite.invite_id, at(1), 10)
        await repository.revoke_invite(room.room_id, invite.invite_id, at(1))
        second = an_invite(room, 2)
        await repository.create_invite(second, 10)
        eve = await signed_in(repository)
        assert await repository.admit(room.room_id, eve.user_id, second.invite_id, at(1), 10)
        bans = [a_ban(room, bob), a_ban(room, eve)]
        for ban in bans:
            await repository.ban(ban, 10)
        for user in (bob, eve):
            for _ in range(2):
                await repository.erase_user(user.user_id, at(2))
        asked = [(room.room_id, user.user_id) for user in (ada, bob, eve)]
        assert list(await repository.admitted(asked)) == [True, False, False]
        assert list(await repository.invites(room.room_id, at(2))) == [msgspec.structs.replace(second, used=1)]
        without = [msgspec.structs.replace(ban, user_id=None, display_name="") for ban in bans]
        found = await repository.bans(room.room_id, at(2))
        assert sorted(found, key=lambda ban: ban.subject) == sorted(without, key=lambda ban: ban.subject)
        again = await signed_in(repository, "bob")
        assert await repository.admit(room.room_id, again.user_id, second.invite_id, at(3), 10)
        assert list(await repository.invites(room.room_id, at(3))) == [], "who comes back takes another place"
        assert await version(repository, room) == 2

    async def test_a_person_whose_account_was_erased_meanwhile_is_banned_without_it(
        self, repository: Repository
    ) -> None:
        room, user = await opened(repository), await signed_in(repository)
        await repository.erase_user(user.user_id, at(1))
        ban = a_ban(room, user)
        for asked in (ban, msgspec.structs.replace(a_ban(room, a_user()), user_id=None)):
            assert await repository.ban(asked, 10)
        found: Sequence[Ban] = await repository.bans(room.room_id, at(0))
        assert [(one.user_id, one.display_name) for one in found] == [(None, ""), (None, "")]
        assert ban.subject in {one.subject for one in found}

    async def test_erased_guests_with_admissions_and_bans_are_deleted(self, repository: Repository) -> None:
        room, guest = await opened(repository), a_user(guest=True)
        await repository.sign_in(guest)
        await repository.admit_members(room.room_id, [guest.user_id], at(1), 10)
        ban = a_ban(room, guest)
        await repository.ban(ban, 10)
        await repository.erase_user(guest.user_id, at(2))
        assert await repository.delete_guests(10) == 1
        assert [one.subject for one in await repository.bans(room.room_id, at(2))] == [ban.subject]

    async def test_invites_and_bans_that_ended_long_ago_are_deleted_a_few_at_a_time(
        self, repository: Repository
    ) -> None:
        room, guest = await opened(repository), await signed_in(repository)
        live, expired, younger, revoked, used = (
            an_invite(room, expires=expires) for expires in (1_000, 5, 10, 1_000, 1_000)
        )
        for invite in (live, expired, younger, revoked, used):
            assert await repository.create_invite(invite, 10)
        await repository.revoke_invite(room.room_id, revoked.invite_id, at(2))
        await repository.admit(room.room_id, guest.user_id, used.invite_id, at(3), 10)
        for until in (1, 2, 3, 10, 11):
            await repository.ban(a_ban(room, await signed_in(repository), until=until), 10)
        assert [await repository.delete_ended_rules(at(10), 2) for _ in range(3)] == [4, 2, 0]
        left = sorted([live, younger], key=lambda invite: invite.invite_id, reverse=True)
        assert list(await repository.invites(room.room_id, at(0))) == left
        assert sorted(ban.until for ban in await repository.bans(room.room_id, at(0))) == [at(10), at(11)]
        assert list(await repository.admitted([(room.room_id, guest.user_id)])) == [True], "the invite is gone"
        assert await version(repository, room) == 5, "nothing has changed by it"

    async def test_rooms_that_were_closed_long_ago_are_deleted_with_their_rules(self, repository: Repository) -> None:
        rooms = [await opened(repository) for _ in range(3)]
        users = [await signed_in(repository) for _ in range(3)]
        for room in rooms:
            for user in users:
                await repository.create_invite(an_invite(room), 10)
                await repository.ban(a_ban(room, user), 10)
            await repository.admit_members(room.room_id, [user.user_id for user in users], at(1), 10)
        for time, room in enumerate(rooms[:2]):
            await repository.close_room(room.room_id, at(time))
        deleted: list[int] = []
        while count := await repository.delete_rooms(at(1), 2):
            assert count <= 8, "two of each kind, and the room"
            deleted.append(count)
        assert sum(deleted) == 1 + 3 * 3
        assert len(deleted) > 1
        for room, kept in zip(rooms, (0, 3, 3), strict=True):
            assert len(await repository.bans(room.room_id, at(0))) == kept
            asked = [(room.room_id, user.user_id) for user in users]
            assert sum(await repository.admitted(asked)) == kept
        assert len(await repository.invites(rooms[2].room_id, at(1))) == 3
