"""What a repository must tell of those who have lost their connection to a room."""

from __future__ import annotations

import itertools

from evanesce.interfaces import Repository
from evanesce.model import ChatRoom, Record, SessionStarted, User
from evanesce.testing.contracts.repository.parts import RepositoryParts, opened, signed_in
from evanesce.testing.contracts.rows import a_ban, a_session, at, its_end


class LostRows(RepositoryParts):
    """Sessions that ended with a lost connection, or have no end."""

    async def test_only_a_connection_that_was_lost_lately_counts(self, repository: Repository) -> None:
        user, stranger = await signed_in(repository), await signed_in(repository)
        room, lost, early, left, never_ended, never_left = [await opened(repository, user) for _ in range(6)]
        await _log(repository, user, lost, (0, 5, "lost"))
        await _log(repository, user, early, (0, 4, "lost"))
        await _log(repository, user, left, (0, 6, "left"))
        await _log(repository, user, never_ended, (0, None, ""))
        await _log(repository, user, never_left, (0, 4, "lost"), (5, None, ""))
        await _log(repository, stranger, room, (0, 6, "lost"))
        rooms = [room, lost, early, left, never_ended, never_left]
        expected = [False, True, False, False, True, True]
        members = [(one.room_id, user.user_id) for one in rooms]
        assert list(await repository.lost(members, at(5), [])) == expected
        asked = [(room.room_id, stranger.user_id), *members, ("nowhere", user.user_id), (lost.room_id, "nobody")]
        assert list(await repository.lost(asked, at(5), [])) == [True, *expected, False, False]
        assert list(await repository.lost([], at(5), [])) == []

    async def test_the_first_end_of_a_session_says_how_it_ended(self, repository: Repository) -> None:
        user = await signed_in(repository)
        for first, expected in (("lost", True), ("left", False)):
            room = await opened(repository, user)
            [session] = await _log(repository, user, room, (0, 5, first))
            await repository.record([its_end(session, at(6), lost=not expected)])
            assert await _is_lost(repository, user, room) is expected

    async def test_the_sessions_of_a_server_that_is_gone_are_lost(self, repository: Repository) -> None:
        user = await signed_in(repository)
        room = await opened(repository, user)
        await _log(repository, user, room, (0, None, ""))
        assert await repository.end_sessions("one", at(3), 10) == 1
        members = [(room.room_id, user.user_id)]
        assert list(await repository.lost(members, at(3), [])) == [True]
        assert list(await repository.lost(members, at(4), [])) == [False]

    async def test_who_left_on_purpose_afterwards_has_left(self, repository: Repository) -> None:
        """Two sessions, on one server or on two, one lost or without an end, the other left at each time."""
        user = await signed_in(repository)
        for server, end, left_at in itertools.product(("one", "two"), (None, 6), (1, 2, 4, 6, 8)):
            room = await opened(repository, user)
            await _log(repository, user, room, (2, end, "lost"))
            await _log(repository, user, room, (0, left_at, "left"), server=server)
            # Where a session on another server is still open when its user leaves, it may be one of a dead server.
            refuted = left_at >= (2 if server == "two" else 9 if end is None else end)
            assert await _is_lost(repository, user, room) is not refuted, (server, end, left_at)

    async def test_who_may_be_there_still_has_not_lost_the_connection(self, repository: Repository) -> None:
        user = await signed_in(repository)
        room = await opened(repository, user)
        await _log(repository, user, room, (0, 6, "lost"), (7, None, ""))
        members = [(room.room_id, user.user_id)]
        assert list(await repository.lost(members, at(5), ["two", "three"])) == [True]
        assert list(await repository.lost(members, at(5), ["two", "one"])) == [False]

    async def test_who_was_removed_since_has_not_lost_the_connection(self, repository: Repository) -> None:
        for end, removed_at in itertools.product((None, 6), (1, 2, 4, 8)):
            user, other = await signed_in(repository, None), await signed_in(repository, None)
            room = await opened(repository)
            await _log(repository, user, room, (2, end, "lost"))
            await _log(repository, other, room, (2, end, "lost"))
            ban = a_ban(room, user, since=removed_at, until=removed_at)
            assert await repository.ban(ban, 10) is not None
            assert await _is_lost(repository, user, room) is (removed_at < 2), (end, removed_at)
            assert await _is_lost(repository, other, room)
            assert await repository.unban(room.room_id, ban.subject, at(9))
            assert await _is_lost(repository, user, room) is (removed_at < 2), "a removal stays one"

    async def test_an_erased_user_has_lost_no_connection(self, repository: Repository) -> None:
        user = await signed_in(repository)
        room = await opened(repository)
        await _log(repository, user, room, (0, 5, "lost"))
        await repository.erase_user(user.user_id, at(6))
        assert not await _is_lost(repository, user, room)


async def _log(
    repository: Repository, user: User, room: ChatRoom, *sessions: tuple[int, int | None, str], server: str = "one"
) -> list[SessionStarted]:
    """Record sessions: when each began, when it ended (or None), and whether it was `lost` or `left`."""
    started = [a_session(user, room, now=at(began), server=server) for began, _, _ in sessions]
    ends: list[Record] = [
        its_end(session, at(ended), lost=how == "lost")
        for session, (_, ended, how) in zip(started, sessions, strict=True)
        if ended is not None
    ]
    await repository.record([*started, *ends])
    return started


async def _is_lost(repository: Repository, user: User, room: ChatRoom) -> bool:
    [lost] = await repository.lost([(room.room_id, user.user_id)], at(5), [])
    return lost
