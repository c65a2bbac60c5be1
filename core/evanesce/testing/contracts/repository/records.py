"""What a repository must keep of records that are written later."""

from __future__ import annotations

import msgspec

from evanesce.interfaces import Repository
from evanesce.model import (
    RoomActivity,
    SessionEnded,
    SessionStarted,
    UserSeen,
)
from evanesce.testing.contracts.repository.parts import RepositoryParts, a_busy_room, opened, signed_in
from evanesce.testing.contracts.rows import a_room, a_session, a_user, at, its_end


class RecordRows(RepositoryParts):
    """Records of sessions and activity: those of what is not there are dropped."""

    async def test_activity_shows_in_the_room(self, repository: Repository) -> None:
        user = await signed_in(repository)
        room = await opened(repository, user)
        for active in (True, True, False):
            await repository.record([RoomActivity(room_id=room.room_id, active=active)])
            assert await repository.room(room.room_id) == msgspec.structs.replace(room, active=active)
            assert await repository.rooms(user.user_id, None, 1) == (
                [msgspec.structs.replace(room, active=active)],
                None,
            )

    async def test_being_seen_moves_last_active_forward_only(self, repository: Repository) -> None:
        user = await signed_in(repository)
        for seen, expected in ((10, 10), (30, 30), (20, 30), (30, 30)):
            await repository.record([UserSeen(user_id=user.user_id, last_active=at(seen))])
            assert await repository.user(user.user_id) == msgspec.structs.replace(user, last_active=at(expected))

    async def test_records_of_what_is_not_there_are_dropped_and_the_others_kept(self, repository: Repository) -> None:
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

    async def test_no_records_change_nothing(self, repository: Repository) -> None:
        user = await signed_in(repository)
        await repository.record([])
        assert await repository.user(user.user_id) == user

    async def test_an_erased_user_is_not_brought_back_by_late_records(self, repository: Repository) -> None:
        user = await signed_in(repository)
        room = await opened(repository, await signed_in(repository))
        session: SessionStarted = a_session(user, room)
        await repository.record([session])
        await repository.erase_user(user.user_id, at(1))
        await repository.record([session, its_end(session, at(2)), UserSeen(user_id=user.user_id, last_active=at(3))])
        assert await repository.user(user.user_id) is None

    async def test_it_names_the_servers_whose_sessions_have_not_ended(self, repository: Repository) -> None:
        assert list(await repository.servers_in_sessions()) == []
        _, sessions = await a_busy_room(repository, "two", "one", "one", "", "three")
        await repository.record([its_end(sessions[-1], at(1))])
        assert sorted(await repository.servers_in_sessions()) == ["", "one", "two"]

    async def test_the_sessions_of_one_server_end_a_few_at_a_time(self, repository: Repository) -> None:
        await a_busy_room(repository, "one", "one", "one", "two", "one", "one")
        assert [await repository.end_sessions("one", at(5), 2) for _ in range(4)] == [2, 2, 1, 0]
        assert list(await repository.servers_in_sessions()) == ["two"]
        assert await repository.end_sessions("nobody", at(5), 2) == 0

    async def test_deep_links_are_written_anew_a_few_at_a_time(self, repository: Repository) -> None:
        rooms = [(await a_busy_room(repository, "one"))[0] for _ in range(3)]
        await repository.close_room(rooms[2].room_id, at(5))
        base = "https://chat.example/r/"
        assert [await repository.renew_links(base, 1) for _ in range(3)] in ([1, 1, 1], [1, 1, 0])
        assert await repository.renew_links(base, 10) == 0
        for old in rooms[:2]:
            found = await repository.room(old.room_id)
            assert found == msgspec.structs.replace(old, active=True, deep_link=base + old.room_id)

    async def test_rooms_that_are_marked_active_are_named_in_order(self, repository: Repository) -> None:
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
