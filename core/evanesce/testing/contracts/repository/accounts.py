"""What a repository must keep of accounts."""

from __future__ import annotations

import msgspec
import trio

from evanesce.interfaces import MOST_CHECKED, Repository
from evanesce.model import (
    User,
)
from evanesce.testing.contracts.base import PATIENCE
from evanesce.testing.contracts.repository.parts import RepositoryParts, signed_in
from evanesce.testing.contracts.rows import a_user, at


class AccountRows(RepositoryParts):
    """Accounts: stored once, looked up, renamed and revoked."""

    async def test_a_new_account_is_stored_as_it_is(self, repository: Repository) -> None:
        user = a_user(email="ada@example.org")
        assert await repository.sign_in(user) == (user, True)
        assert await repository.user(user.user_id) == user

    async def test_signing_in_again_moves_last_active_alone(self, repository: Repository) -> None:
        first = a_user("one-human", now=at(0))
        await repository.sign_in(first)
        again = msgspec.structs.replace(
            a_user("one-human", now=at(5000)), display_name="Somebody Else", email="e@x.org"
        )
        expected = msgspec.structs.replace(first, last_active=at(5000))
        assert await repository.sign_in(again) == (expected, False)
        assert await repository.user(first.user_id) == expected
        assert await repository.user(again.user_id) is None

    async def test_the_same_sign_in_twice_gives_one_account(self, repository: Repository) -> None:
        user = a_user()
        assert await repository.sign_in(user) == (user, True)
        assert await repository.sign_in(user) == (user, False)

    async def test_last_active_never_moves_back_at_a_sign_in(self, repository: Repository) -> None:
        await repository.sign_in(a_user("one-human", now=at(5000)))
        account, _ = await repository.sign_in(a_user("one-human", now=at(1)))
        assert account.last_active == at(5000)

    async def test_many_sign_ins_of_one_human_at_once_give_one_account(self, repository: Repository) -> None:
        answers: list[tuple[User, bool]] = []

        async def sign_in() -> None:
            answers.append(await repository.sign_in(a_user("one-human")))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(sign_in)
        assert len({account.user_id for account, _ in answers}) == 1
        assert sum(new for _, new in answers) == 1

    async def test_nobody_is_there_under_an_unknown_id(self, repository: Repository) -> None:
        unknown = a_user()
        assert await repository.user(unknown.user_id) is None
        assert await repository.update_user(unknown) is None
        assert await repository.erase_user(unknown.user_id, at(1)) == []

    async def test_a_profile_changes_in_name_and_address_alone(self, repository: Repository) -> None:
        user = await signed_in(repository)
        wanted = msgspec.structs.replace(user, display_name="שרה", email="sara@example.org")
        asked = msgspec.structs.replace(wanted, world_id="another", created_at=at(9), last_active=at(9))
        assert await repository.update_user(asked) == wanted
        assert await repository.user(user.user_id) == wanted
        cleared = msgspec.structs.replace(wanted, email=None)
        assert await repository.update_user(cleared) == cleared
        assert await repository.user(user.user_id) == cleared

    async def test_a_revoked_sign_in_finds_nobody_and_others_of_the_same_user_do(self, repository: Repository) -> None:
        user = await signed_in(repository)
        await repository.revoke_sign_in("stolen", at(60_000))
        await repository.revoke_sign_in("stolen", at(1_000))
        assert await repository.user(user.user_id, "stolen") is None
        assert await repository.user(user.user_id, "own") == user
        assert await repository.user(user.user_id) == user
        await repository.sign_in(a_user(now=at(60_000)))
        assert await repository.user(user.user_id, "stolen") is None

    async def test_many_sign_ins_are_looked_up_at_once_in_the_order_that_was_asked(
        self, repository: Repository
    ) -> None:
        ada, bob, erased = [await signed_in(repository) for _ in range(3)]
        await repository.revoke_sign_in("ada's first", at(100_000))
        await repository.erase_user(erased.user_id, at(1))
        renamed = await repository.update_user(msgspec.structs.replace(bob, display_name="Bob"))
        asked = [
            (bob.user_id, "bob's"),
            (ada.user_id, "ada's first"),
            (ada.user_id, "ada's second"),
            ("nobody", "nobody's"),
            (erased.user_id, "erased's"),
            (bob.user_id, "bob's"),
        ]
        assert list(await repository.signed_in(asked)) == [renamed, None, ada, None, None, renamed]
        assert list(await repository.signed_in([])) == []
        most = [(ada.user_id, f"{number}") for number in range(MOST_CHECKED)]
        assert list(await repository.signed_in(most)) == [ada] * MOST_CHECKED
