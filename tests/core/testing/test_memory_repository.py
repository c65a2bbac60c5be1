"""What the repository in memory adds to the contract: it fails and hangs when told, and shows what it holds."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from evanesce.errors import PersistenceUnavailable
from evanesce.model import ChatRoom, SessionEnded, SessionStarted, User, timestamp
from evanesce.testing.memory_repository import MemoryRepository, SessionLog

NOW = timestamp(1_795_000_000_000)
USER = User(user_id="u", world_id="guest:u", display_name="Ada", created_at=NOW, last_active=NOW)
ROOM = ChatRoom(room_id="r", created_by="u", created_at=NOW, deep_link="/r/r")


async def test_when_down_it_refuses_and_does_nothing() -> None:
    async with MemoryRepository() as repository:
        repository.state = "down"
        with pytest.raises(PersistenceUnavailable):
            await repository.sign_in(USER)
        with pytest.raises(PersistenceUnavailable):
            await repository.check()
        repository.state = "up"
        assert repository.users == {}
        assert await repository.sign_in(USER) == (USER, True)


async def test_when_hung_a_call_waits_until_it_is_cancelled_and_does_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with MemoryRepository() as repository:
        repository.state = "hung"
        with trio.move_on_after(3600) as scope:
            await repository.sign_in(USER)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(3600)
        assert repository.users == {}


async def test_what_it_holds_can_be_looked_at() -> None:
    async with MemoryRepository() as repository:
        await repository.sign_in(USER)
        await repository.create_room(ROOM, 1)
        session = SessionStarted(session_id="s", user_id="u", room_id="r", join_time=NOW, server="one")
        end = SessionEnded(session_id="s", leave_time=timestamp(1_795_000_001_000))
        await repository.record([session, end])
        await repository.record([session])
        await repository.revoke_sign_in("sid", NOW)
        assert repository.users == {"u": USER}
        assert repository.chat_rooms == {"r": ROOM}
        assert repository.session_logs == {"s": SessionLog("s", "u", "r", NOW, end.leave_time, "one")}
        assert repository.revoked == {"sid": NOW}
        await repository.erase_user("u", NOW)
        assert repository.erased == {"u": NOW}
        assert repository.closed == {"r": (ROOM, NOW)}
        assert not repository.users
        assert not repository.chat_rooms
        assert not repository.session_logs
