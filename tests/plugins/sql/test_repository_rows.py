"""What stands in the tables after the repository's calls, and what its statements cost."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest

from evanesce.interfaces import Repository
from evanesce.model import Access, Record, RoomActivity, UserSeen
from evanesce.testing.contracts.rows import a_ban, a_room, a_session, a_user, a_user_ban, an_invite, at, its_end
from evanesce_plugins.sql.driver import Driver, Row, Statement
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sqlite.driver import connect
from tests.plugins.conftest import files, sqlite_repository

SETTING = "plugins.sqlite.path"


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Repository]:
    repository = sqlite_repository(tmp_path)
    async with repository:
        yield repository


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "evanesce.db")) as database:
        return database.execute(sql).fetchall()


async def test_rows_are_as_the_data_model_says(opened: Repository, tmp_path: Path) -> None:
    user = a_user("one-human", email="ada@example.org")
    room = a_room(user, now=at(1))
    session = a_session(user, room, now=at(2))
    await opened.sign_in(user)
    await opened.create_room(room, 10)
    coming: list[Record] = [session, RoomActivity(room_id=room.room_id, active=True)]
    await opened.record(coming)
    await opened.record([UserSeen(user_id=user.user_id, last_active=at(3))])
    name = user.display_name
    stored_user = (user.user_id, "one-human", name, "ada@example.org", at(0), at(3), None, 0)
    assert rows(tmp_path, 'SELECT * FROM "User"') == [stored_user]
    stored_room = (room.room_id, user.user_id, at(1), room.deep_link, 1, None, None, "link", 0, 0, 0)
    assert rows(tmp_path, 'SELECT * FROM "ChatRoom"') == [stored_room]
    stored_session = (session.session_id, user.user_id, room.room_id, at(2))
    assert rows(tmp_path, 'SELECT * FROM "SessionLog"') == [(*stored_session, None, "one", 0)]
    going: list[Record] = [its_end(session, at(4)), RoomActivity(room_id=room.room_id, active=False)]
    await opened.record(going)
    assert rows(tmp_path, 'SELECT * FROM "SessionLog"') == [(*stored_session, at(4), "one", 0)]
    assert rows(tmp_path, 'SELECT active FROM "ChatRoom"') == [(0,)]


async def test_the_rules_of_a_room_are_as_the_data_model_says(opened: Repository, tmp_path: Path) -> None:
    creator, guest, last = a_user(), a_user(), a_user()
    room = a_room(creator, message_ttl=30, access=Access.INVITE, locked=True, encrypted=True)
    for user in (creator, guest, last):
        await opened.sign_in(user)
    await opened.create_room(room, 10)
    await opened.update_room(room)
    stored = rows(tmp_path, 'SELECT messageTtl, access, locked, encrypted, rulesVersion FROM "ChatRoom"')
    assert stored == [(30.0, "invite", 1, 1, 1)]
    invite, revoked = an_invite(room, 2), an_invite(room, created=1)
    for one in (invite, revoked):
        await opened.create_invite(one, 10)
    await opened.revoke_invite(room.room_id, revoked.invite_id, at(2))
    invites = 'SELECT * FROM "RoomInvite" ORDER BY createdAt'
    first = (invite.invite_id, room.room_id, invite.secret_hash, 2)
    second = (revoked.invite_id, room.room_id, revoked.secret_hash, 1, 0, at(1), at(1_000), at(2))
    await opened.admit(room.room_id, guest.user_id, invite.invite_id, at(3), 10)
    assert rows(tmp_path, invites) == [(*first, 1, at(0), at(1_000), None), second]
    await opened.admit(room.room_id, last.user_id, invite.invite_id, at(4), 10)
    assert rows(tmp_path, invites) == [(*first, 2, at(0), at(1_000), at(4)), second]
    assert rows(tmp_path, 'SELECT * FROM "RoomAdmission" ORDER BY admittedAt') == [
        (room.room_id, guest.user_id, at(3)),
        (room.room_id, last.user_id, at(4)),
    ]
    ban = a_ban(room, guest, since=5, until=9, reason="vote")
    await opened.ban(ban, 10)
    assert rows(tmp_path, 'SELECT * FROM "RoomBan"') == [
        (room.room_id, ban.subject, guest.user_id, "vote", at(5), at(9))
    ]
    await opened.unban(room.room_id, ban.subject, at(7))
    assert rows(tmp_path, 'SELECT since, until FROM "RoomBan"') == [(at(5), at(7))]


async def test_nothing_is_stored_about_the_rules_of_a_closed_room(opened: Repository, tmp_path: Path) -> None:
    user = a_user()
    room = a_room(user)
    invite, ban = an_invite(room), a_ban(room, user)
    await opened.sign_in(user)
    await opened.create_room(room, 10)
    await opened.create_invite(invite, 10)
    await opened.ban(ban, 10)
    await opened.close_room(room.room_id, at(1))
    tables = ("ChatRoom", "RoomInvite", "RoomAdmission", "RoomBan")

    def contents() -> list[list[tuple[object, ...]]]:
        return [rows(tmp_path, f'SELECT * FROM "{table}"') for table in tables]

    before = contents()
    await opened.update_room(msgspec.structs.replace(room, locked=True, rules_version=1))
    await opened.create_invite(an_invite(room), 10)
    await opened.revoke_invite(room.room_id, invite.invite_id, at(2))
    await opened.admit(room.room_id, user.user_id, invite.invite_id, at(2), 10)
    await opened.admit_members(room.room_id, [user.user_id], at(2), 10)
    await opened.ban(a_ban(room, user, since=2), 10)
    await opened.unban(room.room_id, ban.subject, at(2))
    assert contents() == before


async def test_of_an_erased_person_the_rules_keep_the_subject_of_a_ban_alone(
    opened: Repository, tmp_path: Path
) -> None:
    creator, user = a_user(), a_user("one-human", email="ada@example.org")
    room = a_room(creator)
    for somebody in (creator, user):
        await opened.sign_in(somebody)
    await opened.create_room(room, 10)
    invite = an_invite(room, 2)
    await opened.create_invite(invite, 10)
    await opened.admit(room.room_id, user.user_id, invite.invite_id, at(1), 10)
    ban = msgspec.structs.replace(a_ban(room, user), subject="5ub1ec7")
    await opened.ban(ban, 10)
    await opened.erase_user(user.user_id, at(2))
    tables = [str(name) for (name,) in rows(tmp_path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    traces = ("one-human", "ada@example.org", user.user_id)
    found = {
        (table, trace)
        for table in tables
        for row in rows(tmp_path, f'SELECT * FROM "{table}"')
        for trace in traces
        if any(trace in str(value) for value in row)
    }
    assert found == {("User", user.user_id)}
    assert rows(tmp_path, 'SELECT used FROM "RoomInvite"') == [(1,)]
    assert rows(tmp_path, 'SELECT subject, userId FROM "RoomBan"') == [("5ub1ec7", None)]


async def test_records_that_come_twice_change_nothing(opened: Repository, tmp_path: Path) -> None:
    user = a_user()
    room = a_room(user)
    session = a_session(user, room, now=at(2))
    await opened.sign_in(user)
    await opened.create_room(room, 10)
    batch: list[Record] = [session, its_end(session, at(4))]
    await opened.record(batch)
    before = rows(tmp_path, 'SELECT * FROM "SessionLog"')
    assert [row[4] for row in before] == [at(4)]
    await opened.record(batch)
    late: list[Record] = [its_end(session, at(9)), session]
    await opened.record(late)
    assert rows(tmp_path, 'SELECT * FROM "SessionLog"') == before


async def test_the_log_of_a_room_that_closed_meanwhile_is_kept(opened: Repository, tmp_path: Path) -> None:
    user = a_user()
    room = a_room(user)
    await opened.sign_in(user)
    await opened.create_room(room, 10)
    await opened.record([RoomActivity(room_id=room.room_id, active=True)])
    await opened.close_room(room.room_id, at(5))
    await opened.record([a_session(user, room), RoomActivity(room_id=room.room_id, active=True)])
    assert rows(tmp_path, 'SELECT active, closedAt FROM "ChatRoom"') == [(0, at(5))]
    assert rows(tmp_path, 'SELECT count(*) FROM "SessionLog"') == [(1,)]


async def test_a_session_that_a_server_left_open_ends_at_the_given_time_but_not_before_it_began(
    opened: Repository, tmp_path: Path
) -> None:
    user = a_user()
    room = a_room(user)
    await opened.sign_in(user)
    await opened.create_room(room, 10)
    early, late, ended = (a_session(user, room, now=at(time)) for time in (1, 9, 1))
    await opened.record([early, late, ended, its_end(ended, at(3))])
    assert await opened.end_sessions("one", at(5), 10) == 2
    stored = dict(rows(tmp_path, 'SELECT sessionId, leaveTime FROM "SessionLog"'))
    assert stored == {early.session_id: at(5), late.session_id: at(9), ended.session_id: at(3)}
    await opened.record([its_end(early, at(7))])
    assert rows(tmp_path, 'SELECT max(leaveTime) FROM "SessionLog" WHERE joinTime < leaveTime') == [(at(5),)]


async def test_what_was_deleted_is_in_no_table(opened: Repository, tmp_path: Path) -> None:
    guest, other = a_user(guest=True), a_user()
    for user in (guest, other):
        await opened.sign_in(user)
    rooms = [a_room(guest), a_room(other)]
    for room in rooms:
        await opened.create_room(room, 10)
        session = a_session(other, room)
        await opened.record([session, its_end(session, at(1))])
    await opened.erase_user(guest.user_id, at(2))
    while await opened.delete_rooms(at(3), 1):
        pass
    assert await opened.delete_guests(10) == 1
    assert rows(tmp_path, 'SELECT userId FROM "User"') == [(other.user_id,)]
    assert rows(tmp_path, 'SELECT roomId FROM "ChatRoom"') == [(rooms[1].room_id,)]
    assert rows(tmp_path, 'SELECT roomId FROM "SessionLog"') == [(rooms[1].room_id,)]
    assert rows(tmp_path, "PRAGMA foreign_key_check") == []


async def test_erasing_empties_the_row_and_keeps_what_refers_to_it(opened: Repository, tmp_path: Path) -> None:
    user, other = a_user("one-human", email="ada@example.org"), a_user()
    room, others_room = a_room(user), a_room(other)
    for somebody in (user, other):
        await opened.sign_in(somebody)
    for some_room in (room, others_room):
        await opened.create_room(some_room, 10)
    kept = a_session(other, room)
    await opened.record([a_session(user, room), a_session(user, others_room), kept])
    await opened.erase_user(user.user_id, at(7))
    assert rows(tmp_path, f"""SELECT * FROM "User" WHERE userId = '{user.user_id}'""") == [
        (user.user_id, None, "", None, at(0), at(0), at(7), 0)
    ]
    assert rows(tmp_path, 'SELECT sessionId FROM "SessionLog"') == [(kept.session_id,)]
    closed = 'SELECT roomId, closedAt FROM "ChatRoom" ORDER BY closedAt'
    assert rows(tmp_path, closed) == [(others_room.room_id, None), (room.room_id, at(7))]
    await opened.erase_user(user.user_id, at(9))
    assert rows(tmp_path, 'SELECT erasedAt FROM "User" WHERE erasedAt IS NOT NULL') == [(at(7),)]
    assert rows(tmp_path, "PRAGMA foreign_key_check") == []


async def test_nothing_of_an_erased_account_can_be_read_from_the_file(tmp_path: Path) -> None:
    repository = sqlite_repository(tmp_path)
    user = a_user("canary-world-id", email="canary-address@example.org")
    async with repository:
        await repository.sign_in(user)
        for _ in range(50):
            await repository.sign_in(a_user())
    path = tmp_path / "evanesce.db"
    assert b"canary" in path.read_bytes()
    async with repository:
        await repository.erase_user(user.user_id, at(1))
    assert files(tmp_path) == ["evanesce.db"]
    assert b"canary" not in path.read_bytes()


async def test_revoked_sign_ins_are_forgotten_when_none_of_their_tokens_lives(
    opened: Repository, tmp_path: Path
) -> None:
    await opened.revoke_sign_in("one", at(1000))
    await opened.revoke_sign_in("two", at(2000))
    await opened.revoke_sign_in("two", at(3000))
    await opened.sign_in(a_user(now=at(1000)))
    assert rows(tmp_path, 'SELECT * FROM "RevokedSignIn" ORDER BY signInId') == [("one", at(1000)), ("two", at(3000))]
    await opened.sign_in(a_user(now=at(1001)))
    assert rows(tmp_path, 'SELECT signInId FROM "RevokedSignIn"') == [("two",)]


_READ_WHOLE = (
    "SCAN SessionLog",
    "SCAN json_each VIRTUAL TABLE",
    "SCAN asked VIRTUAL TABLE",
    "SCAN names",
    "SCAN CONSTANT ROW",
    "SCAN User USING INDEX ErasedGuest",
)


class Recorder:
    """A driver that remembers what it was asked."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.batches: list[Sequence[Statement]] = []

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        self.batches.append(statements)
        return await self._driver.execute(statements, patient=patient)

    async def describe(self) -> str:
        return await self._driver.describe()


async def test_every_call_is_one_batch_and_every_statement_finds_its_rows_by_an_index(tmp_path: Path) -> None:
    recorders: list[Recorder] = []

    @asynccontextmanager
    async def recording() -> AsyncIterator[Recorder]:
        async with connect(tmp_path / "evanesce.db", SETTING) as driver:
            recorders.append(Recorder(driver))
            yield recorders[-1]

    async with SqlRepository(recording, SETTING) as repository:
        [recorder] = recorders
        recorder.batches.clear()
        user = a_user()
        rooms = [a_room(user, now=at(index)) for index in range(4)]
        await repository.sign_in(user)
        for room in rooms:
            await repository.create_room(room, 10)
        _, after = await repository.rooms(user.user_id, None, 2)
        await repository.rooms(user.user_id, after, 2)
        await repository.user(user.user_id, "sign-in")
        await repository.update_user(user)
        await repository.room(rooms[0].room_id)
        session = a_session(user, rooms[0])
        active = RoomActivity(room_id=rooms[0].room_id, active=True)
        await repository.record(
            [session, its_end(session, at(1)), active, UserSeen(user_id=user.user_id, last_active=at(1))]
        )
        await repository.open_rooms([room.room_id for room in rooms])
        await repository.lost([(rooms[0].room_id, user.user_id)], at(1), ["one"])
        await repository.update_room(rooms[1])
        invite, ban = an_invite(rooms[1]), a_ban(rooms[1], user)
        await repository.create_invite(invite, 10)
        await repository.invites(rooms[1].room_id, at(1))
        await repository.admit(rooms[1].room_id, user.user_id, invite.invite_id, at(1), 10)
        await repository.revoke_invite(rooms[1].room_id, invite.invite_id, at(1))
        await repository.ban(ban, 10)
        await repository.bans(rooms[1].room_id, at(1))
        await repository.unban(rooms[1].room_id, ban.subject, at(1))
        await repository.close_room(rooms[0].room_id, at(2))
        await repository.revoke_sign_in("sign-in", at(2))
        await repository.erase_user(user.user_id, at(3))
        assert len(recorder.batches) == 24
        assert sum(len(batch) for batch in recorder.batches if "json_each" in batch[0].sql) == 6
        await repository.ban_user(a_user_ban(user))
        await repository.user_ban(a_user_ban(user).subject)
        await repository.user_bans("", 10)
        await repository.unban_user(a_user_ban(user).subject)
        await repository.find_user(user.world_id)
        await repository.all_users("", 10)
        for only_active in (False, True):
            await repository.all_rooms("", 10, active=only_active)
        await repository.servers_in_sessions()
        await repository.end_sessions("one", at(4), 10)
        await repository.active_rooms("", 10)
        await repository.delete_sessions(at(5), 10)
        await repository.delete_rooms(at(5), 10)  # five: the last one deletes the rooms that the others have emptied
        await repository.delete_ended_rules(at(5), 10)  # two: invites, and bans
        await repository.unused_guests(at(5), 0, 10)
        await repository.delete_guests(10)
        assert len(recorder.batches) == 46
        for statement in {statement for batch in recorder.batches for statement in batch}:
            [plan] = await recorder.execute([Statement(f"EXPLAIN QUERY PLAN {statement.sql}", statement.values)])
            # A parent's INSERT looks for its children only where a deferred key is violated (OP_FkIfZero), so never.
            # Read whole are the rows that were given, one row for each server, and the index of erased guests.
            steps = [str(step[3]) for step in plan if not str(step[3]).startswith(_READ_WHOLE)]
            assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step], (statement.sql, steps)
