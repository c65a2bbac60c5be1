"""What every repository must keep of the rules of rooms: options, invites, admissions and bans.

SQLite is asked a second time with each batch executed twice, as after a lost answer: nothing may differ.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from evanesce.interfaces import MOST_CHECKED, Repository
from evanesce.model import Access, Ban, ChatRoom, RoomActivity, User
from evanesce_plugins.sql.driver import Driver, Row, Statement
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sqlite.driver import connect
from tests.patience import PATIENCE
from tests.plugins.conftest import KINDS, repository_of
from tests.plugins.rows import a_ban, a_room, a_user, an_invite, at

pytestmark = pytest.mark.slow

TWICE = "sqlite, each batch twice"
ROUNDS = 12
"""How often each race is run."""


class Twice:
    """A driver that executes each batch twice, but for those of maintenance jobs, which count what they change."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        if not patient:
            await self._driver.execute(statements)
        return await self._driver.execute(statements, patient=patient)

    async def purge(self) -> None:
        await self._driver.purge()

    async def describe(self) -> str:
        return await self._driver.describe()


@asynccontextmanager
async def connect_twice(path: Path) -> AsyncGenerator[Driver]:
    async with connect(path, "plugins.sqlite.path") as driver:
        async with SqlRepository(lambda: connect(path, "plugins.sqlite.path"), "plugins.sqlite.path"):
            pass  # the migrations are not repeated
        yield Twice(driver)


@pytest.fixture(params=[*KINDS, TWICE])
async def repository(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Repository]:
    if request.param == TWICE:
        opened: Repository = SqlRepository(lambda: connect_twice(tmp_path / "evanesce.db"), "plugins.sqlite.path")
    else:
        opened = repository_of(request.param, request, tmp_path)
    async with opened:
        yield opened


async def signed_in(repository: Repository, world_id: str | None = None) -> User:
    user = a_user(world_id)
    await repository.sign_in(user)
    return user


async def opened(repository: Repository) -> ChatRoom:
    room = a_room(await signed_in(repository))
    assert await repository.create_room(room, 1000)
    return room


async def version(repository: Repository, room: ChatRoom) -> int:
    found = await repository.room(room.room_id)
    assert found is not None
    return found.rules_version


async def at_once(*calls: Callable[[], Awaitable[object]]) -> list[object]:
    """Make calls at the same time, and return their results in the order of the calls."""
    results: dict[int, object] = {}

    async def call(number: int, function: Callable[[], Awaitable[object]]) -> None:
        results[number] = await function()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number, function in enumerate(calls):
                nursery.start_soon(call, number, function)
    return [results[number] for number in range(len(calls))]


# Options


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
    repository: Repository, options: dict[str, object]
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
async def test_options_are_replaced_and_the_version_grows(repository: Repository, options: dict[str, object]) -> None:
    user = await signed_in(repository)
    room = a_room(user, message_ttl=60.0, access=Access.INVITE, locked=True, encrypted=True)
    await repository.create_room(room, 10)
    await repository.record([RoomActivity(room_id=room.room_id, active=True)])
    expected = msgspec.structs.replace(room, active=True, rules_version=1, **options)
    asked = msgspec.structs.replace(
        expected, created_by="nobody", created_at=at(9), deep_link="/", active=False, encrypted=False, rules_version=0
    )
    assert await repository.update_room(asked) == expected
    assert await repository.room(room.room_id) == expected
    assert await repository.open_rooms([room.room_id, "nowhere"]) == {room.room_id: 1}


async def test_options_are_replaced_only_as_of_the_version_of_the_database(repository: Repository) -> None:
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


async def test_of_servers_that_change_the_options_at_once_one_succeeds(pair: tuple[Repository, Repository]) -> None:
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


# Invites


async def test_live_invites_are_listed_newest_first(repository: Repository) -> None:
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


async def test_a_room_has_at_most_so_many_live_invites(repository: Repository) -> None:
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
    assert await repository.create_invite(an_invite(room, created=1_000, expires=2_000), 2), "nor one that has expired"
    moved = msgspec.structs.replace(first, room_id=other.room_id)
    assert not await repository.create_invite(moved, 10), "its id is taken"


async def test_no_invite_is_stored_for_a_room_that_is_not_open(repository: Repository) -> None:
    room = await opened(repository)
    before = an_invite(room)
    assert await repository.create_invite(before, 10)
    await repository.close_room(room.room_id, at(1))
    for invite in (before, an_invite(room), an_invite(a_room(a_user()))):
        assert not await repository.create_invite(invite, 10)


async def test_only_a_live_invite_of_the_room_is_revoked(repository: Repository) -> None:
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


# Admissions


async def test_an_invite_admits_so_many_persons_each_once(repository: Repository) -> None:
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


async def test_only_a_live_invite_of_the_room_admits(repository: Repository) -> None:
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


async def test_a_room_admits_at_most_so_many(repository: Repository) -> None:
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


async def test_members_are_admitted_in_their_order_as_far_as_there_is_room(repository: Repository) -> None:
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


async def test_many_admissions_are_looked_up_in_the_order_that_was_asked(repository: Repository) -> None:
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


async def test_of_many_who_want_the_last_places_as_many_are_admitted(pair: tuple[Repository, Repository]) -> None:
    """Two persons come twice at once, on both servers, and take one place each."""
    users = [await signed_in(pair[0]) for _ in range(5)]
    for _ in range(ROUNDS):
        room = await opened(pair[0])
        invite = an_invite(room, 3)
        await pair[0].create_invite(invite, 10)

        coming = [*users, *users[:2]]
        key = invite.invite_id
        results = await at_once(
            *(partial(pair[p % 2].admit, room.room_id, user.user_id, key, at(1), 10) for p, user in enumerate(coming))
        )
        admitted = await pair[1].admitted([(room.room_id, user.user_id) for user in users])
        assert sum(admitted) == 3
        assert [result is True for result in results] == [admitted[users.index(user)] for user in coming]
        assert None not in results
        assert await pair[0].invites(room.room_id, at(1)) == []


async def test_of_many_invites_at_once_no_more_than_the_limit_are_stored(pair: tuple[Repository, Repository]) -> None:
    for _ in range(ROUNDS):
        room = await opened(pair[0])
        invites = [an_invite(room) for _ in range(5)]
        stored = await at_once(*(partial(pair[p % 2].create_invite, one, 2) for p, one in enumerate(invites)))
        assert sorted(map(bool, stored)) == [False, False, False, True, True]
        assert len(await pair[1].invites(room.room_id, at(1))) == 2


# Bans


async def test_a_ban_is_stored_with_the_present_name_and_the_version_grows(repository: Repository) -> None:
    room, other, user = await opened(repository), await opened(repository), await signed_in(repository)
    ban = a_ban(room, user)
    assert await repository.ban(ban, 10) == 1
    assert await repository.ban(ban, 10) == 1, "its answer may have been lost"
    assert await version(repository, room) == 1
    assert await version(repository, other) == 0
    await repository.update_user(msgspec.structs.replace(user, display_name="Renamed"))
    assert list(await repository.bans(room.room_id, at(0))) == [msgspec.structs.replace(ban, display_name="Renamed")]
    assert list(await repository.bans(other.room_id, at(0))) == []


@pytest.mark.parametrize(
    ("since", "until", "reason"),
    [(5, 9, "vote"), (5, 2_000, "creator"), (5, 5, "creator"), (0, 1_000, "vote"), (0, 0, "creator")],
)
async def test_a_ban_takes_the_place_of_an_earlier_one(
    repository: Repository, since: int, until: int, reason: str
) -> None:
    """Also where the room has as many as it may have, and the person has another account by now."""
    room, user = await opened(repository), await signed_in(repository, "one-human")
    assert await repository.ban(a_ban(room, user), 1) == 1
    await repository.erase_user(user.user_id, at(1))
    again = await signed_in(repository, "one-human")
    newer = a_ban(room, again, since=since, until=until, reason=reason)
    assert await repository.ban(newer, 1) == 2
    assert list(await repository.bans(room.room_id, at(-1))) == [newer]


async def test_bans_and_removals_after_a_time_are_listed_newest_first(repository: Repository) -> None:
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


async def test_a_room_has_at_most_so_many_bans_of_others(repository: Repository) -> None:
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
    assert await repository.ban(msgspec.structs.replace(first, until=at(7), since=at(6)), 2) == 4, "nor does one's own"
    assert await repository.ban(msgspec.structs.replace(fourth, since=at(6)), 2) is None
    assert await repository.unban(room.room_id, third.subject, at(6))
    assert await repository.ban(msgspec.structs.replace(fifth, since=at(6)), 2) == 6
    assert await repository.ban(msgspec.structs.replace(sixth, since=at(6)), 2) is None


async def test_nobody_is_banned_from_a_room_that_is_not_open(repository: Repository) -> None:
    room, user = await opened(repository), await signed_in(repository)
    ban = a_ban(room, user)
    assert await repository.ban(ban, 10) == 1
    await repository.close_room(room.room_id, at(1))
    assert await repository.ban(ban, 10) is None
    assert await repository.ban(a_ban(room, user, since=2), 10) is None
    assert await repository.ban(a_ban(a_room(user), user), 10) is None
    assert list(await repository.bans(room.room_id, at(0))) == [ban], "nothing is stored"
    assert not await repository.unban(room.room_id, ban.subject, at(2))


async def test_a_ban_ends_once_and_stays_a_removal(repository: Repository) -> None:
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


async def test_that_somebody_is_not_banned_is_stored_for_a_vote_that_comes_late(repository: Repository) -> None:
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


async def test_a_ban_is_ended_also_by_a_clock_that_was_set_back(repository: Repository) -> None:
    room, user = await opened(repository), await signed_in(repository)
    ban = a_ban(room, user, since=50)
    await repository.ban(ban, 10)
    assert await repository.unban(room.room_id, ban.subject, at(7))
    assert list(await repository.bans(room.room_id, at(7))) == []
    assert list(await repository.bans(room.room_id, at(6))) == [
        msgspec.structs.replace(ban, since=at(7), until=at(7)),
    ]


async def test_of_many_bans_at_once_no_more_than_the_limit_are_stored_and_each_is_counted(
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


async def test_each_change_of_any_kind_has_a_version_of_its_own(pair: tuple[Repository, Repository]) -> None:
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


# Erasing


async def test_an_erased_account_leaves_its_places_taken_and_its_bans_without_it(repository: Repository) -> None:
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


async def test_a_person_whose_account_was_erased_meanwhile_is_banned_without_it(repository: Repository) -> None:
    room, user = await opened(repository), await signed_in(repository)
    await repository.erase_user(user.user_id, at(1))
    ban = a_ban(room, user)
    for asked in (ban, msgspec.structs.replace(a_ban(room, a_user()), user_id=None)):
        assert await repository.ban(asked, 10)
    found: Sequence[Ban] = await repository.bans(room.room_id, at(0))
    assert [(one.user_id, one.display_name) for one in found] == [(None, ""), (None, "")]
    assert ban.subject in {one.subject for one in found}


async def test_erased_guests_with_admissions_and_bans_are_deleted(repository: Repository) -> None:
    room, guest = await opened(repository), a_user(guest=True)
    await repository.sign_in(guest)
    await repository.admit_members(room.room_id, [guest.user_id], at(1), 10)
    ban = a_ban(room, guest)
    await repository.ban(ban, 10)
    await repository.erase_user(guest.user_id, at(2))
    assert await repository.delete_guests(10) == 1
    assert [one.subject for one in await repository.bans(room.room_id, at(2))] == [ban.subject]


# Retention


async def test_invites_and_bans_that_ended_long_ago_are_deleted_a_few_at_a_time(repository: Repository) -> None:
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


async def test_rooms_that_were_closed_long_ago_are_deleted_with_their_rules(repository: Repository) -> None:
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
