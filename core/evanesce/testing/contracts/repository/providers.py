"""What a repository must keep for providers, and what an erasure leaves."""

from __future__ import annotations

import msgspec
import pytest
import trio

from evanesce.errors import RegistrationTaken
from evanesce.interfaces import Repository
from evanesce.model import (
    RegisteredAccount,
    Registration,
    User,
)
from evanesce.testing.contracts.base import PATIENCE
from evanesce.testing.contracts.repository.parts import RepositoryParts, opened, signed_in
from evanesce.testing.contracts.rows import a_user, at


def registration(value: str) -> Registration:
    """Return what a provider registers."""
    return Registration(value=value, account_code=f"CODE OF {value}")


async def registered(repository: Repository, provider: str, value: str) -> User:
    """Sign somebody new in, with something registered."""
    user, _ = await repository.sign_in(a_user(), provider, registration(value))
    return user


class ProviderRows(RepositoryParts):
    """What providers register and spend, and what is left of an account that was erased."""

    async def test_an_account_is_found_by_its_world_id(self, repository: Repository) -> None:
        user = await signed_in(repository)
        assert await repository.has_account(user.world_id)
        assert not await repository.has_account(user.world_id.upper())
        await repository.erase_user(user.user_id, at(1))
        assert not await repository.has_account(user.world_id)

    async def test_what_is_registered_first_stays(self, repository: Repository) -> None:
        user = await signed_in(repository)
        assert await repository.account_code(user.user_id) is None
        again = a_user(user.world_id, now=at(5))
        for value in ("first", "second", "first"):
            assert await repository.sign_in(again, "keys", registration(value)) == (
                msgspec.structs.replace(user, last_active=at(5)),
                False,
            )
        found = RegisteredAccount(user_id=user.user_id, value="first")
        assert await repository.find_registration("keys", "CODE OF first") == found
        assert await repository.account_code(user.user_id) == "CODE OF first"
        assert await repository.find_registration("keys", "CODE OF second") is None
        assert await repository.find_registration("others", "CODE OF first") is None
        assert await repository.find_registration("keys", "code of first") is None, "codes are compared as they are"
        assert await repository.find_registration("keys", "") is None

    async def test_a_new_account_has_what_was_registered_with_it(self, repository: Repository) -> None:
        user = await registered(repository, "keys", "one")
        assert await repository.find_registration("keys", "CODE OF one") == RegisteredAccount(
            user_id=user.user_id, value="one"
        )

    async def test_a_value_of_anothers_makes_no_account_and_changes_none(self, repository: Repository) -> None:
        await registered(repository, "keys", "one")
        other, new = await signed_in(repository), a_user()
        for user in (msgspec.structs.replace(other, last_active=at(9)), new):
            with pytest.raises(RegistrationTaken):
                await repository.sign_in(user, "keys", Registration(value="one", account_code="ANOTHER"))
        assert await repository.user(new.user_id) is None
        assert not await repository.has_account(new.world_id)
        assert await repository.user(other.user_id) == other
        assert await repository.account_code(other.user_id) is None
        kept = Registration(value="one", account_code="ANOTHER")
        assert await repository.sign_in(other, "others", kept) == (other, False), "another provider's is another thing"

    async def test_of_many_who_register_at_once_with_one_account_one_stays(self, repository: Repository) -> None:
        user = await signed_in(repository)

        async def register(value: str) -> None:
            assert await repository.sign_in(user, "keys", registration(value)) == (user, False)

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(register, f"value {number}")
        code = await repository.account_code(user.user_id)
        found = [await repository.find_registration("keys", f"CODE OF value {number}") for number in range(20)]
        assert [account.value for account in found if account is not None] == [(code or "").removeprefix("CODE OF ")]

    async def test_what_is_registered_is_replaced_where_it_is_still_what_the_provider_has_read(
        self, repository: Repository
    ) -> None:
        user, other = await registered(repository, "keys", "one"), await registered(repository, "keys", "two")
        assert await repository.change_registration("keys", user.user_id, "three", "one")
        assert await repository.change_registration("keys", user.user_id, "three", "one"), "its answer may be lost"
        assert not await repository.change_registration("keys", user.user_id, "four", "one"), "it has changed since"
        assert not await repository.change_registration("others", user.user_id, "four", "three")
        assert not await repository.change_registration("keys", "nobody", "four", "three")
        found = RegisteredAccount(user_id=user.user_id, value="three")
        assert await repository.find_registration("keys", "CODE OF one") == found, "the code stays"
        untouched = RegisteredAccount(user_id=other.user_id, value="two")
        assert await repository.find_registration("keys", "CODE OF two") == untouched
        with pytest.raises(RegistrationTaken):
            await repository.change_registration("keys", user.user_id, "two", "three")
        assert await repository.find_registration("keys", "CODE OF one") == found
        long = "x" * 65_536
        assert await repository.change_registration("keys", user.user_id, long, "three")
        assert await repository.find_registration("keys", "CODE OF one") == RegisteredAccount(
            user_id=user.user_id, value=long
        )
        await repository.erase_user(user.user_id, at(1))
        assert not await repository.change_registration("keys", user.user_id, "four", long)
        assert await repository.find_registration("keys", "CODE OF one") is None

    async def test_of_many_who_replace_what_is_registered_at_once_one_succeeds(self, repository: Repository) -> None:
        user = await registered(repository, "keys", "one")
        stored: list[str] = []

        async def change(value: str) -> None:
            if await repository.change_registration("keys", user.user_id, value, "one"):
                stored.append(value)

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(change, f"value {number}")
        found = await repository.find_registration("keys", "CODE OF one")
        assert found is not None
        assert stored == [found.value]

    async def test_a_proof_is_spent_once_by_one_attempt(self, repository: Repository) -> None:
        user, other = await signed_in(repository), await signed_in(repository)
        assert await repository.spend("keys", user.user_id, "proof", "attempt")
        assert await repository.spend("keys", user.user_id, "proof", "attempt"), "its answer may have been lost"
        assert not await repository.spend("keys", user.user_id, "proof", "another attempt")
        assert not await repository.spend("keys", other.user_id, "proof", "attempt")
        assert await repository.spend("keys", user.user_id, "another proof", "another attempt")
        assert await repository.spend("others", other.user_id, "proof", "attempt")

    async def test_of_many_who_spend_a_proof_at_once_one_succeeds(self, repository: Repository) -> None:
        user = await signed_in(repository)
        spent: list[str] = []

        async def spend(attempt: str) -> None:
            if await repository.spend("keys", user.user_id, "proof", attempt):
                spent.append(attempt)

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(spend, f"attempt {number}")
        assert len(spent) == 1

    async def test_what_was_registered_and_spent_goes_with_the_account(self, repository: Repository) -> None:
        user, other = await registered(repository, "keys", "one"), await registered(repository, "keys", "two")
        await repository.spend("keys", user.user_id, "proof", "attempt")
        await repository.erase_user(user.user_id, at(1))
        assert await repository.find_registration("keys", "CODE OF one") is None
        assert await repository.account_code(user.user_id) is None
        assert not await repository.spend("keys", user.user_id, "proof", "attempt")
        assert await repository.account_code(other.user_id) == "CODE OF two"
        again = await registered(repository, "keys", "one")
        assert again.user_id != user.user_id

    async def test_an_erased_account_is_gone_with_its_rooms(self, repository: Repository) -> None:
        user, other = await signed_in(repository), await signed_in(repository)
        rooms = [await opened(repository, user) for _ in range(3)]
        closed = await opened(repository, user)
        await repository.close_room(closed.room_id, at(1))
        kept = await opened(repository, other)
        assert sorted(await repository.erase_user(user.user_id, at(2))) == sorted(room.room_id for room in rooms)
        assert await repository.user(user.user_id) is None
        assert await repository.update_user(user) is None
        assert await repository.rooms(user.user_id, None, 10) == ([], None)
        for room in rooms:
            assert await repository.room(room.room_id) is None
        assert await repository.user(other.user_id) == other
        assert await repository.room(kept.room_id) == kept

    async def test_who_erases_again_gets_the_same_rooms_again(self, repository: Repository) -> None:
        user = await signed_in(repository)
        room = await opened(repository, user)
        assert await repository.erase_user(user.user_id, at(2)) == [room.room_id]
        assert await repository.erase_user(user.user_id, at(3)) == [room.room_id]

    async def test_who_was_erased_may_come_back_as_somebody_new(self, repository: Repository) -> None:
        before, _ = await repository.sign_in(a_user("one-human"))
        await repository.erase_user(before.user_id, at(1))
        after = a_user("one-human", now=at(2))
        assert await repository.sign_in(after) == (after, True)
        assert await repository.user(before.user_id) is None

    async def test_two_erased_accounts_do_not_get_in_each_others_way(self, repository: Repository) -> None:
        for _ in range(2):
            user = await signed_in(repository)
            await repository.erase_user(user.user_id, at(1))
            assert await repository.user(user.user_id) is None
