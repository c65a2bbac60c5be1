"""What every repository must keep, asked of each of them."""

from __future__ import annotations

import math

import msgspec
import pytest
import trio

from evanesce.errors import BadRequest, RegistrationTaken
from evanesce.interfaces import MOST_CHECKED, Repository
from evanesce.model import (
    ChatRoom,
    RegisteredAccount,
    Registration,
    RoomActivity,
    SessionEnded,
    SessionStarted,
    User,
    UserSeen,
)
from tests.patience import PATIENCE
from tests.plugins.rows import a_room, a_session, a_user, at, its_end

pytestmark = pytest.mark.slow


async def signed_in(repository: Repository) -> User:
    user, _ = await repository.sign_in(a_user())
    return user


async def opened(repository: Repository, creator: User) -> ChatRoom:
    room = a_room(creator)
    assert await repository.create_room(room, 1000)
    return room


# Users


async def test_a_new_account_is_stored_as_it_is(repository: Repository) -> None:
    user = a_user(email="ada@example.org")
    assert await repository.sign_in(user) == (user, True)
    assert await repository.user(user.user_id) == user


async def test_signing_in_again_moves_last_active_alone(repository: Repository) -> None:
    first = a_user("one-human", now=at(0))
    await repository.sign_in(first)
    again = msgspec.structs.replace(a_user("one-human", now=at(5000)), display_name="Somebody Else", email="e@x.org")
    expected = msgspec.structs.replace(first, last_active=at(5000))
    assert await repository.sign_in(again) == (expected, False)
    assert await repository.user(first.user_id) == expected
    assert await repository.user(again.user_id) is None


async def test_the_same_sign_in_twice_gives_one_account(repository: Repository) -> None:
    user = a_user()
    assert await repository.sign_in(user) == (user, True)
    assert await repository.sign_in(user) == (user, False)


async def test_last_active_never_moves_back_at_a_sign_in(repository: Repository) -> None:
    await repository.sign_in(a_user("one-human", now=at(5000)))
    account, _ = await repository.sign_in(a_user("one-human", now=at(1)))
    assert account.last_active == at(5000)


async def test_many_sign_ins_of_one_human_at_once_give_one_account(repository: Repository) -> None:
    answers: list[tuple[User, bool]] = []

    async def sign_in() -> None:
        answers.append(await repository.sign_in(a_user("one-human")))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(sign_in)
    assert len({account.user_id for account, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1


async def test_nobody_is_there_under_an_unknown_id(repository: Repository) -> None:
    unknown = a_user()
    assert await repository.user(unknown.user_id) is None
    assert await repository.update_user(unknown) is None
    assert await repository.erase_user(unknown.user_id, at(1)) == []


async def test_a_profile_changes_in_name_and_address_alone(repository: Repository) -> None:
    user = await signed_in(repository)
    wanted = msgspec.structs.replace(user, display_name="שרה", email="sara@example.org")
    asked = msgspec.structs.replace(wanted, world_id="another", created_at=at(9), last_active=at(9))
    assert await repository.update_user(asked) == wanted
    assert await repository.user(user.user_id) == wanted
    cleared = msgspec.structs.replace(wanted, email=None)
    assert await repository.update_user(cleared) == cleared
    assert await repository.user(user.user_id) == cleared


async def test_a_revoked_sign_in_finds_nobody_and_others_of_the_same_user_do(repository: Repository) -> None:
    user = await signed_in(repository)
    await repository.revoke_sign_in("stolen", at(60_000))
    await repository.revoke_sign_in("stolen", at(1_000))
    assert await repository.user(user.user_id, "stolen") is None
    assert await repository.user(user.user_id, "own") == user
    assert await repository.user(user.user_id) == user
    await repository.sign_in(a_user(now=at(60_000)))
    assert await repository.user(user.user_id, "stolen") is None


async def test_many_sign_ins_are_looked_up_at_once_in_the_order_that_was_asked(repository: Repository) -> None:
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


# What providers keep


async def test_an_account_is_found_by_its_world_id(repository: Repository) -> None:
    user = await signed_in(repository)
    assert await repository.has_account(user.world_id)
    assert not await repository.has_account(user.world_id.upper())
    await repository.erase_user(user.user_id, at(1))
    assert not await repository.has_account(user.world_id)


def registration(value: str) -> Registration:
    return Registration(value=value, account_code=f"CODE OF {value}")


async def registered(repository: Repository, provider: str, value: str) -> User:
    """Sign somebody new in, with something registered."""
    user, _ = await repository.sign_in(a_user(), provider, registration(value))
    return user


async def test_what_is_registered_first_stays(repository: Repository) -> None:
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


async def test_a_new_account_has_what_was_registered_with_it(repository: Repository) -> None:
    user = await registered(repository, "keys", "one")
    assert await repository.find_registration("keys", "CODE OF one") == RegisteredAccount(
        user_id=user.user_id, value="one"
    )


async def test_a_value_of_anothers_makes_no_account_and_changes_none(repository: Repository) -> None:
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


async def test_of_many_who_register_at_once_with_one_account_one_stays(repository: Repository) -> None:
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


async def test_a_proof_is_spent_once_by_one_attempt(repository: Repository) -> None:
    user, other = await signed_in(repository), await signed_in(repository)
    assert await repository.spend("keys", user.user_id, "proof", "attempt")
    assert await repository.spend("keys", user.user_id, "proof", "attempt"), "its answer may have been lost"
    assert not await repository.spend("keys", user.user_id, "proof", "another attempt")
    assert not await repository.spend("keys", other.user_id, "proof", "attempt")
    assert await repository.spend("keys", user.user_id, "another proof", "another attempt")
    assert await repository.spend("others", other.user_id, "proof", "attempt")


async def test_of_many_who_spend_a_proof_at_once_one_succeeds(repository: Repository) -> None:
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


async def test_what_was_registered_and_spent_goes_with_the_account(repository: Repository) -> None:
    user, other = await registered(repository, "keys", "one"), await registered(repository, "keys", "two")
    await repository.spend("keys", user.user_id, "proof", "attempt")
    await repository.erase_user(user.user_id, at(1))
    assert await repository.find_registration("keys", "CODE OF one") is None
    assert await repository.account_code(user.user_id) is None
    assert not await repository.spend("keys", user.user_id, "proof", "attempt")
    assert await repository.account_code(other.user_id) == "CODE OF two"
    again = await registered(repository, "keys", "one")
    assert again.user_id != user.user_id


# Erasing


async def test_an_erased_account_is_gone_with_its_rooms(repository: Repository) -> None:
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


async def test_who_erases_again_gets_the_same_rooms_again(repository: Repository) -> None:
    user = await signed_in(repository)
    room = await opened(repository, user)
    assert await repository.erase_user(user.user_id, at(2)) == [room.room_id]
    assert await repository.erase_user(user.user_id, at(3)) == [room.room_id]


async def test_who_was_erased_may_come_back_as_somebody_new(repository: Repository) -> None:
    before, _ = await repository.sign_in(a_user("one-human"))
    await repository.erase_user(before.user_id, at(1))
    after = a_user("one-human", now=at(2))
    assert await repository.sign_in(after) == (after, True)
    assert await repository.user(before.user_id) is None


async def test_two_erased_accounts_do_not_get_in_each_others_way(repository: Repository) -> None:
    for _ in range(2):
        user = await signed_in(repository)
        await repository.erase_user(user.user_id, at(1))
        assert await repository.user(user.user_id) is None


# Rooms


async def test_a_room_comes_out_as_it_went_in(repository: Repository) -> None:
    user = await signed_in(repository)
    room = await opened(repository, user)
    assert await repository.room(room.room_id) == room
    assert await repository.room(a_room(user).room_id) is None


async def test_a_creator_has_at_most_so_many_open_rooms(repository: Repository) -> None:
    user, other = await signed_in(repository), await signed_in(repository)
    rooms = [a_room(user) for _ in range(3)]
    assert [await repository.create_room(room, 2) for room in rooms] == [True, True, False]
    assert await repository.room(rooms[2].room_id) is None
    assert await repository.create_room(a_room(other), 2)
    await repository.close_room(rooms[0].room_id, at(1))
    assert await repository.create_room(rooms[2], 2)


async def test_of_many_rooms_created_at_once_no_more_than_the_limit_are_stored(repository: Repository) -> None:
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


async def test_a_room_that_is_created_again_is_there_once(repository: Repository) -> None:
    user, other = await signed_in(repository), await signed_in(repository)
    room = a_room(user)
    assert await repository.create_room(room, 1)
    assert await repository.create_room(room, 1)
    assert not await repository.create_room(msgspec.structs.replace(room, created_by=other.user_id), 1)
    assert await repository.room(room.room_id) == room
    await repository.close_room(room.room_id, at(1))
    assert not await repository.create_room(room, 1)


async def test_nobody_and_the_erased_create_no_room(repository: Repository) -> None:
    user = await signed_in(repository)
    await repository.erase_user(user.user_id, at(1))
    for creator in (user, a_user()):
        room = a_room(creator)
        assert not await repository.create_room(room, 10)
        assert await repository.room(room.room_id) is None


async def test_a_room_is_closed_once(repository: Repository) -> None:
    room = await opened(repository, await signed_in(repository))
    assert await repository.close_room(room.room_id, at(1))
    assert not await repository.close_room(room.room_id, at(2))
    assert not await repository.close_room("00000000-0000-4000-8000-000000000000", at(2))
    assert await repository.room(room.room_id) is None


async def pages(repository: Repository, user: User, count: int) -> list[list[ChatRoom]]:
    result: list[list[ChatRoom]] = []
    after: str | None = None
    while True:
        rooms, after = await repository.rooms(user.user_id, after, count)
        result.append(rooms)
        if after is None:
            return result
        assert len(after) <= 256


@pytest.mark.parametrize(("count", "sizes"), [(10, [10, 10, 4]), (8, [8, 8, 8]), (24, [24]), (100, [24])])
async def test_rooms_come_in_pages_newest_first(repository: Repository, count: int, sizes: list[int]) -> None:
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


async def test_rooms_that_come_and_go_between_two_pages_shift_nothing(repository: Repository) -> None:
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


async def test_who_has_no_rooms_gets_an_empty_page(repository: Repository) -> None:
    user = await signed_in(repository)
    assert await repository.rooms(user.user_id, None, 10) == ([], None)


@pytest.mark.parametrize("after", ["", "garbage", "!!!!", "AAAA", "é", "\ud800", "\x00", "MjAyNg==", "x" * 256])
async def test_an_after_that_no_page_gave_is_refused(repository: Repository, after: str) -> None:
    user = await signed_in(repository)
    with pytest.raises(BadRequest) as refused:
        await repository.rooms(user.user_id, after, 10)
    assert refused.value.field == "after"


async def test_open_rooms_are_told_from_closed_and_unknown_ones(repository: Repository) -> None:
    ada, erased = await signed_in(repository), await signed_in(repository)
    rooms = [await opened(repository, ada) for _ in range(3)]
    of_erased = await opened(repository, erased)
    await repository.close_room(rooms[1].room_id, at(1))
    await repository.erase_user(erased.user_id, at(1))
    asked = [*(room.room_id for room in rooms), of_erased.room_id, "nowhere"]
    assert set(await repository.open_rooms(asked)) == {rooms[0].room_id, rooms[2].room_id}
    assert set(await repository.open_rooms([])) == set()
    assert len(asked) < MOST_CHECKED


# Records


async def test_activity_shows_in_the_room(repository: Repository) -> None:
    user = await signed_in(repository)
    room = await opened(repository, user)
    for active in (True, True, False):
        await repository.record([RoomActivity(room_id=room.room_id, active=active)])
        assert await repository.room(room.room_id) == msgspec.structs.replace(room, active=active)
        assert await repository.rooms(user.user_id, None, 1) == ([msgspec.structs.replace(room, active=active)], None)


async def test_being_seen_moves_last_active_forward_only(repository: Repository) -> None:
    user = await signed_in(repository)
    for seen, expected in ((10, 10), (30, 30), (20, 30), (30, 30)):
        await repository.record([UserSeen(user_id=user.user_id, last_active=at(seen))])
        assert await repository.user(user.user_id) == msgspec.structs.replace(user, last_active=at(expected))


async def test_records_of_what_is_not_there_are_dropped_and_the_others_kept(repository: Repository) -> None:
    user = await signed_in(repository)
    room, unknown_room = await opened(repository, user), a_room(user)
    await repository.record(
        [
            a_session(a_user(), room),
            a_session(user, unknown_room),
            SessionEnded(session_id="00000000-0000-4000-8000-000000000000", leave_time=at(1)),
            UserSeen(user_id=a_user().user_id, last_active=at(1)),
            RoomActivity(room_id=unknown_room.room_id, active=True),
            RoomActivity(room_id=room.room_id, active=True),
        ]
    )
    found = await repository.room(room.room_id)
    assert found is not None
    assert found.active
    assert await repository.room(unknown_room.room_id) is None


async def test_no_records_change_nothing(repository: Repository) -> None:
    user = await signed_in(repository)
    await repository.record([])
    assert await repository.user(user.user_id) == user


async def test_an_erased_user_is_not_brought_back_by_late_records(repository: Repository) -> None:
    user = await signed_in(repository)
    room = await opened(repository, await signed_in(repository))
    session: SessionStarted = a_session(user, room)
    await repository.record([session])
    await repository.erase_user(user.user_id, at(1))
    await repository.record([session, its_end(session, at(2)), UserSeen(user_id=user.user_id, last_active=at(3))])
    assert await repository.user(user.user_id) is None


# Sessions that nobody ends


async def a_busy_room(repository: Repository, *servers: str) -> tuple[ChatRoom, list[SessionStarted]]:
    """Return a room that somebody is in on each of `servers`."""
    user = await signed_in(repository)
    room = await opened(repository, user)
    sessions = [a_session(user, room, server=server) for server in servers]
    await repository.record([*sessions, RoomActivity(room_id=room.room_id, active=True)])
    return room, sessions


async def test_it_names_the_servers_whose_sessions_have_not_ended(repository: Repository) -> None:
    assert list(await repository.servers_in_sessions()) == []
    _, sessions = await a_busy_room(repository, "two", "one", "one", "", "three")
    await repository.record([its_end(sessions[-1], at(1))])
    assert sorted(await repository.servers_in_sessions()) == ["", "one", "two"]


async def test_the_sessions_of_one_server_end_a_few_at_a_time(repository: Repository) -> None:
    await a_busy_room(repository, "one", "one", "one", "two", "one", "one")
    assert [await repository.end_sessions("one", at(5), 2) for _ in range(4)] == [2, 2, 1, 0]
    assert list(await repository.servers_in_sessions()) == ["two"]
    assert await repository.end_sessions("nobody", at(5), 2) == 0


async def test_deep_links_are_written_anew_a_few_at_a_time(repository: Repository) -> None:
    rooms = [(await a_busy_room(repository, "one"))[0] for _ in range(3)]
    await repository.close_room(rooms[2].room_id, at(5))
    base = "https://chat.example/r/"
    assert [await repository.renew_links(base, 1) for _ in range(3)] in ([1, 1, 1], [1, 1, 0])
    assert await repository.renew_links(base, 10) == 0
    for old in rooms[:2]:
        found = await repository.room(old.room_id)
        assert found == msgspec.structs.replace(old, active=True, deep_link=base + old.room_id)


async def test_rooms_that_are_marked_active_are_named_in_order(repository: Repository) -> None:
    rooms = [(await a_busy_room(repository, "one"))[0].room_id for _ in range(4)]
    rooms.sort()
    await repository.record([RoomActivity(room_id=rooms[1], active=False)])
    await repository.close_room(rooms[3], at(5))
    assert list(await repository.active_rooms("", 10)) == [rooms[0], rooms[2]]
    assert list(await repository.active_rooms("", 1)) == [rooms[0]]
    assert list(await repository.active_rooms(rooms[0], 1)) == [rooms[2]]
    assert list(await repository.active_rooms(rooms[2], 1)) == []
    again = [RoomActivity(room_id=rooms[1], active=True), RoomActivity(room_id=rooms[3], active=True)]
    await repository.record(again)
    assert list(await repository.active_rooms("", 10)) == rooms[:3], "one that was closed stays so"


# What was kept long enough


async def test_a_session_never_ends_before_it_began(repository: Repository) -> None:
    """The store's clock may have been set back in between: then it ends at the moment in which it began."""
    user = await signed_in(repository)
    session = a_session(user, await opened(repository, user), now=at(100))
    await repository.record([session, its_end(session, at(40))])
    assert await repository.delete_sessions(at(100), 10) == 0
    assert await repository.delete_sessions(at(101), 10) == 1


async def test_sessions_that_ended_long_ago_are_deleted_a_few_at_a_time(repository: Repository) -> None:
    _, sessions = await a_busy_room(repository, *["one"] * 7)
    await repository.record([its_end(session, at(time)) for time, session in enumerate(sessions[:6])])
    assert [await repository.delete_sessions(at(5), 2) for _ in range(4)] == [2, 2, 1, 0]
    assert await repository.delete_sessions(at(6), 2) == 1
    assert list(await repository.servers_in_sessions()) == ["one"]


async def test_rooms_that_were_closed_long_ago_are_deleted_with_their_sessions(repository: Repository) -> None:
    rooms = [(await a_busy_room(repository, "one", "one"))[0] for _ in range(4)]
    for time, room in enumerate(rooms[:3]):
        await repository.close_room(room.room_id, at(time))
    deleted = []
    while count := await repository.delete_rooms(at(2), 1):
        assert count <= 2, "one room, and one session"
        deleted.append(count)
    assert sum(deleted) == 2 + 4
    assert await repository.end_sessions("one", at(9), 10) == 4
    assert await repository.room(rooms[3].room_id) is not None
    assert not await repository.create_room(rooms[2], 100), "one that was closed lately is still known"


async def test_guests_who_were_not_seen_for_long_are_named_longest_ago_first(repository: Repository) -> None:
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


async def test_guests_who_were_erased_are_deleted_once_their_rooms_are(repository: Repository) -> None:
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


async def test_purging_changes_nothing_that_can_be_read(repository: Repository) -> None:
    ada, erased = await signed_in(repository), await signed_in(repository)
    await repository.erase_user(erased.user_id, at(1))
    for _ in range(2):
        await repository.purge()
    assert await repository.user(ada.user_id) == ada
    assert await repository.user(erased.user_id) is None


async def test_it_says_how_it_is(repository: Repository) -> None:
    assert await repository.check()


async def test_trying_to_write_can_be_done_again_by_many(repository: Repository) -> None:
    ada = await signed_in(repository)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(repository.try_write)
    await repository.try_write()
    assert await repository.user(ada.user_id, "try_write") == ada, "no sign-in is revoked by it"


# Which Redis it is bound to


async def test_it_is_bound_to_one_redis_at_a_time(repository: Repository) -> None:
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


async def test_heartbeats_are_counted_and_a_release_holds_until_the_next(repository: Repository) -> None:
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


async def test_it_is_inspected_as_what_it_is(repository: Repository) -> None:
    found = await repository.inspect()
    assert found.found == found.newest
    assert found.steps == ()
