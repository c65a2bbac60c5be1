"""What servers do for each other in virtual time: sessions left open, and what was kept long enough."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from evanesce.accounts.control import ControlPublisher
from evanesce.accounts.erasure import Erasure
from evanesce.accounts.purge import Purge
from evanesce.config.model import (
    Config,
    LimitsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
)
from evanesce.context import ServerContext
from evanesce.errors import PersistenceUnavailable
from evanesce.maintenance import cleanup
from evanesce.maintenance.binding import RedisGuard
from evanesce.maintenance.cleanup import Cleanup
from evanesce.metrics import Metrics
from evanesce.model import (
    Ban,
    ChatRoom,
    Invite,
    RoomActivity,
    SessionEnded,
    SessionStarted,
    Timestamp,
    User,
    milliseconds,
    timestamp,
)
from evanesce.plugins import Plugins
from evanesce.rooms.rule_sync import REMOVALS_SECONDS
from evanesce.store.control_bus import Notice, UserErased
from evanesce.store.memory import MemoryServer, memory_store
from evanesce.store.memory.server_registry import LEASE_SECONDS
from evanesce.store.presence import Joiner
from evanesce.store.rules import RoomRules
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.writebehind import WriteBehind

DAY = 24 * 3600 * 1000


LINKS = "https://chat.example/r/"
RULES = RoomRules("u", 60_000)


class Counting(MemoryRepository):
    """Counts the calls that delete something."""

    def __init__(self) -> None:
        super().__init__()
        self.deletions = 0

    async def delete_sessions(self, before: Timestamp, count: int) -> int:
        self.deletions += 1
        return await super().delete_sessions(before, count)


class Keeper:
    """The clean-up job of one server, and what it works with."""

    def __init__(
        self, repository: MemoryRepository, memory: MemoryServer, name: str = "one", **retention: float | None
    ) -> None:
        self.repository = repository
        self.store = memory_store(server_id=name, server=memory)
        self.metrics = Metrics()
        self.notices: list[Notice] = []
        config = Config(
            plugins={},
            server=ServerTable(secret="a secret for tests, of 32 characters", public_url="https://chat.example"),
            redis=RedisTable(),
            messages=MessagesTable(),
            rooms=RoomsTable(),
            limits=LimitsTable(),
            retention=RetentionTable(**retention),
        )
        records = WriteBehind(repository, self.metrics)
        context = ServerContext(config, self.store, repository, records, Plugins({}), self.metrics)
        publisher = ControlPublisher(self.store, self.notices.append)
        erasure = Erasure(context, publisher, Purge(repository, self.metrics))
        self.rooms_with_members: list[str] = []
        guard = RedisGuard(repository, self.store, self.metrics, embedded=False, alone=False)
        self.cleanup = Cleanup(context, erasure, guard, lambda: self.rooms_with_members)

    def active(self, room_id: str) -> bool:
        return self.repository.chat_rooms[room_id].active

    def ago(self, days: float) -> Timestamp:
        return timestamp(self.store.clock.now() - round(days * DAY))

    async def sign_in(self, user_id: str, days: float = 0, *, guest: bool = False) -> User:
        at = self.ago(days)
        user = User(user_id=user_id, world_id=user_id, display_name=user_id, created_at=at, last_active=at, guest=guest)
        await self.repository.sign_in(user)
        return user

    async def open_room(self, room_id: str, creator: str, links: str = LINKS) -> None:
        room = ChatRoom(room_id=room_id, created_by=creator, created_at=self.ago(0), deep_link=links + room_id)
        assert await self.repository.create_room(room, 100)

    async def begin(self, session_id: str, server: str, days: float = 0, room_id: str = "r") -> None:
        started = SessionStarted(
            session_id=session_id, user_id="u", room_id=room_id, join_time=self.ago(days), server=server
        )
        await self.repository.record([started, RoomActivity(room_id=room_id, active=True)])

    async def end(self, session_id: str, days: float) -> None:
        await self.repository.record([SessionEnded(session_id=session_id, leave_time=self.ago(days))])

    def left(self, session_id: str) -> Timestamp | None:
        return self.repository.session_logs[session_id].leave_time


@pytest.fixture
async def keeper(autojump_clock: MockClock) -> Keeper:
    made = Keeper(Counting(), MemoryServer(), session_log_days=3, closed_room_days=5, guest_days=7)
    await made.sign_in("u")
    await made.open_room("r", "u")
    return made


async def test_a_server_of_version_0_1_0_takes_the_shared_duty_only_if_no_other_server_has_it(keeper: Keeper) -> None:
    await keeper.cleanup.run_once()
    assert not await keeper.store.servers.claim("upkeep", 1), "that version knows the duty by this name"


# Deep links


async def test_deep_links_follow_the_public_address(keeper: Keeper) -> None:
    await keeper.open_room("other", "u", "http://127.0.0.1:8000/r/")
    await keeper.cleanup.run_once()
    links = [room.deep_link for room in keeper.repository.chat_rooms.values()]
    assert links == [f"{LINKS}r", f"{LINKS}other"]


# Sessions left open


async def test_sessions_of_a_server_that_died_end_when_its_lease_ran_out(
    autojump_clock: MockClock, keeper: Keeper
) -> None:
    died = memory_store(server_id="two", server=keeper.store.server)
    await keeper.begin("own", keeper.store.servers.server_name)
    await keeper.begin("left open", died.servers.server_name)
    died.stop()
    died_at = keeper.store.clock.now()
    await trio.sleep(100)
    await keeper.cleanup.run_once()
    left = keeper.left("left open")
    assert left is not None
    assert milliseconds(left) == died_at
    assert keeper.left("own") is None
    assert "evanesce_sessions_left_open_total 1.0" in keeper.metrics.text()


async def test_nothing_is_cleaned_up_while_the_database_is_bound_to_another_redis(
    autojump_clock: MockClock, keeper: Keeper
) -> None:
    stranger = Keeper(keeper.repository, MemoryServer(), "stranger")  # its store knows none of the servers that live
    await keeper.begin("going on", keeper.store.servers.server_name)
    await keeper.cleanup.run_once()
    stranger.store.server.identity = "of another database"
    await trio.sleep(100)
    await stranger.cleanup.run_once()
    assert keeper.left("going on") is None
    assert await keeper.repository.bind_redis("of another database", keeper.store.server.identity)
    await stranger.cleanup.run_once()
    assert keeper.left("going on") is not None


async def test_sessions_of_a_server_that_nobody_remembers_end_when_they_are_found(
    autojump_clock: MockClock, keeper: Keeper
) -> None:
    for server in ("", "of a former life"):
        await keeper.begin(f"by {server}", server)
    await trio.sleep(50)
    found_at = timestamp(keeper.store.clock.now())
    await keeper.cleanup.run_once()
    for server in ("", "of a former life"):
        assert keeper.left(f"by {server}") == found_at


async def test_sessions_of_servers_that_live_go_on(autojump_clock: MockClock, keeper: Keeper) -> None:
    other = memory_store(server_id="two", server=keeper.store.server)
    for server in (keeper.store.servers.server_name, other.servers.server_name):
        await keeper.begin(f"by {server}", server)
    await trio.sleep(1000)
    await keeper.cleanup.run_once()
    assert {log.leave_time for log in keeper.repository.session_logs.values()} == {None}


async def test_nothing_is_taken_for_gone_right_after_the_store_lost_its_memory(
    autojump_clock: MockClock, keeper: Keeper
) -> None:
    await keeper.begin("by somebody", "somebody")
    await keeper.sign_in("g", 99, guest=True)
    keeper.store.server.come_back(with_memory=False)
    await keeper.cleanup.run_once()
    assert keeper.left("by somebody") is None
    assert "g" in keeper.repository.users
    await trio.sleep(LEASE_SECONDS)
    await keeper.cleanup.run_once()
    assert keeper.left("by somebody") is not None
    assert "g" not in keeper.repository.users


async def test_many_sessions_end_in_slices(
    autojump_clock: MockClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "SLICE", 3)
    for number in range(10):
        await keeper.begin(str(number), "gone")
    await keeper.cleanup.run_once()
    assert None not in {log.leave_time for log in keeper.repository.session_logs.values()}
    assert "evanesce_sessions_left_open_total 10.0" in keeper.metrics.text()


# Rooms that are marked active


async def test_a_room_that_nobody_is_in_is_active_no_more(
    autojump_clock: MockClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "SLICE", 2)
    rooms = [f"r{number}" for number in range(5)]
    for room_id in rooms:
        await keeper.open_room(room_id, "u")
    await keeper.repository.record([RoomActivity(room_id=room_id, active=True) for room_id in rooms])
    other = memory_store(server_id="two", server=keeper.store.server)
    await other.presence.join("r3", [Joiner("u", "u", "subject")], 10, 10, RULES)
    await keeper.cleanup.run_once()
    assert [keeper.active(room_id) for room_id in rooms] == [False, False, False, True, False]
    await other.presence.leave("r3", ["u"])
    await trio.sleep(cleanup.RUN_SECONDS)
    await keeper.cleanup.run_once()
    assert not keeper.active("r3")


async def test_a_room_that_somebody_is_in_here_is_active_whatever_was_written(
    autojump_clock: MockClock, keeper: Keeper
) -> None:
    await keeper.store.presence.join("r", [Joiner("u", "u", "subject")], 10, 10, RULES)
    keeper.rooms_with_members = ["r"]
    await keeper.cleanup.run_once()
    assert keeper.active("r")
    await keeper.repository.record([RoomActivity(room_id="r", active=False)])  # of a server that wrote it late
    await trio.sleep(cleanup.RUN_SECONDS)
    await keeper.cleanup.run_once()
    assert keeper.active("r")


async def test_a_look_that_is_cut_short_goes_on_where_it_was(
    autojump_clock: MockClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "SLICE", 1)
    monkeypatch.setattr(cleanup, "PAUSE_SECONDS", 0.4 * cleanup.RUN_SECONDS)
    rooms = [f"r{number}" for number in range(6)]
    for room_id in rooms:
        await keeper.open_room(room_id, "u")
    await keeper.store.presence.join("r0", [Joiner("u", "u", "subject")], 10, 10, RULES)
    await keeper.repository.record([RoomActivity(room_id=room_id, active=True) for room_id in rooms])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.cleanup.run)
        await trio.sleep(cleanup.RUN_SECONDS + 1)
        assert 0 < sum(map(keeper.active, rooms[1:])) < 5
        await trio.sleep(6 * cleanup.RUN_SECONDS)
        assert [room_id for room_id in rooms if keeper.active(room_id)] == ["r0"]
        nursery.cancel_scope.cancel()


# Retention


async def test_sessions_are_deleted_after_their_days(autojump_clock: MockClock, keeper: Keeper) -> None:
    for days in (2.9, 3.1, 30):
        await keeper.begin(str(days), keeper.store.servers.server_name, days)
        await keeper.end(str(days), days)
    await keeper.begin("goes on", keeper.store.servers.server_name, 30)
    await keeper.cleanup.run_once()
    assert set(keeper.repository.session_logs) == {"2.9", "goes on"}
    assert 'evanesce_rows_deleted_total{kind="sessions"} 2.0' in keeper.metrics.text()


async def test_a_clock_that_was_set_forward_deletes_nothing(
    autojump_clock: MockClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keeper.sign_in("guest", guest=True)
    await keeper.begin("s", keeper.store.servers.server_name)
    await keeper.end("s", 0)
    await keeper.repository.close_room("r", keeper.ago(0))
    now = keeper.store.clock.now
    monkeypatch.setattr(keeper.store.clock, "now", lambda: now() + 30 * DAY)  # `past` is not set forward with it
    await keeper.cleanup.run_once()
    assert keeper.repository.session_logs.keys() == {"s"}
    assert set(keeper.repository.closed) == {"r"}
    assert "guest" in keeper.repository.users


async def test_closed_rooms_are_deleted_after_their_days_and_open_ones_never(
    autojump_clock: MockClock, keeper: Keeper
) -> None:
    for room_id, days in (("young", 4.9), ("old", 5.1)):
        await keeper.open_room(room_id, "u")
        await keeper.repository.close_room(room_id, keeper.ago(days))
    await keeper.cleanup.run_once()
    assert set(keeper.repository.closed) == {"young"}
    assert set(keeper.repository.chat_rooms) == {"r"}


async def test_ended_invites_and_bans_are_deleted_after_a_day(
    autojump_clock: MockClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slices, whatever is configured, and not before every server has seen the removals."""
    assert cleanup.ENDED_RULES_DAYS * DAY > 2 * REMOVALS_SECONDS * 1000
    monkeypatch.setattr(cleanup, "SLICE", 2)
    await keeper.sign_in("v")
    for number, days in enumerate((-1, 0.9, 1.1, 2, 3, 4, 5)):
        times = {"created_at": keeper.ago(9), "expires_at": keeper.ago(days)}
        invite = Invite(invite_id=f"{days}", room_id="r", secret_hash=f"{number}", people=1, **times)
        assert await keeper.repository.create_invite(invite, 100)
        since, until = keeper.ago(9), keeper.ago(days)
        ban = Ban(room_id="r", subject=f"{days}", user_id="v", reason="vote", since=since, until=until)
        assert await keeper.repository.ban(ban, 100)
    await keeper.cleanup.run_once()
    assert set(keeper.repository.room_invites) == {"-1", "0.9"}
    assert {subject for _, subject in keeper.repository.room_bans} == {"-1", "0.9"}
    assert 'evanesce_rows_deleted_total{kind="rules"} 10.0' in keeper.metrics.text()


async def test_the_rules_of_closed_rooms_are_deleted_with_them(autojump_clock: MockClock, keeper: Keeper) -> None:
    now, later = keeper.ago(0), keeper.ago(-99)
    for room_id, days in (("young", 4.9), ("old", 5.1)):
        await keeper.open_room(room_id, "u")
        invite = Invite(
            invite_id=room_id, room_id=room_id, secret_hash=room_id, people=1, created_at=now, expires_at=later
        )
        assert await keeper.repository.create_invite(invite, 100)
        ban = Ban(room_id=room_id, subject="s", user_id="u", reason="creator", since=now, until=later)
        assert await keeper.repository.ban(ban, 100)
        await keeper.repository.admit_members(room_id, ["u"], now, 100)
        await keeper.repository.close_room(room_id, keeper.ago(days))
    await keeper.cleanup.run_once()
    assert set(keeper.repository.closed) == {"young"}
    assert set(keeper.repository.room_invites) == {"young"}
    assert set(keeper.repository.admissions) == {("young", "u")}
    assert set(keeper.repository.room_bans) == {("young", "s")}


async def test_unused_guests_go_with_their_rooms_and_everybody_hears_of_it(
    autojump_clock: MockClock, keeper: Keeper
) -> None:
    await keeper.sign_in("not a guest", 99)
    for user_id, days in (("seen lately", 6.9), ("unused", 7.1), ("unused too", 8)):
        await keeper.sign_in(user_id, days, guest=True)
    await keeper.open_room("of unused", "unused")
    await keeper.cleanup.run_once()
    assert set(keeper.repository.users) == {"u", "not a guest", "seen lately"}
    assert keeper.notices == [UserErased("unused too"), UserErased("unused")]
    assert set(keeper.repository.erased) == {"unused"}, "its row stays until its room is deleted"
    await trio.sleep(5 * DAY / 1000 + 1)
    await keeper.cleanup.run_once()
    assert keeper.repository.erased == {}
    assert 'evanesce_rows_deleted_total{kind="guests"}' in keeper.metrics.text()


async def test_a_guest_whose_room_somebody_is_in_stays_and_keeps_nobody_else(
    autojump_clock: MockClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "SLICE", 2)
    for number in range(6):
        await keeper.sign_in(f"g{number}", 20 - number, guest=True)
    for number in (0, 1, 3):
        await keeper.open_room(f"r{number}", f"g{number}")
        await keeper.store.presence.join(f"r{number}", [Joiner("u", "u", "subject")], 10, 10, RULES)
    await keeper.cleanup.run_once()
    assert set(keeper.repository.users) == {"u", "g0", "g1", "g3"}
    await keeper.store.presence.leave("r0", ["u"])
    await trio.sleep(cleanup.RUN_SECONDS)
    await keeper.cleanup.run_once()
    assert set(keeper.repository.users) == {"u", "g1", "g3"}


async def test_what_is_configured_as_0_is_kept_for_ever(autojump_clock: MockClock) -> None:
    keeper = Keeper(MemoryRepository(), MemoryServer(), session_log_days=0, closed_room_days=0, guest_days=0)
    await keeper.sign_in("u")
    await keeper.sign_in("g", 9999, guest=True)
    await keeper.open_room("r", "u")
    await keeper.begin("s", keeper.store.servers.server_name, 9999)
    await keeper.end("s", 9999)
    await keeper.repository.close_room("r", keeper.ago(9999))
    await keeper.cleanup.run_once()
    assert set(keeper.repository.users) == {"u", "g"}
    assert set(keeper.repository.closed) == {"r"}
    assert set(keeper.repository.session_logs) == {"s"}


async def test_what_is_kept_without_any_configuration(autojump_clock: MockClock) -> None:
    """Session logs 90 days, closed rooms 7, unused guests 1."""
    keeper = Keeper(MemoryRepository(), MemoryServer())
    await keeper.sign_in("u", 9999)
    for guest, days in (("g1", 0.9), ("g2", 1.1)):
        await keeper.sign_in(guest, days, guest=True)
    for room, days in (("r1", 6.9), ("r2", 7.1)):
        await keeper.open_room(room, "u")
        await keeper.repository.close_room(room, keeper.ago(days))
    await keeper.open_room("open", "u")
    for log, days in (("s1", 89), ("s2", 91)):
        await keeper.begin(log, keeper.store.servers.server_name, days, "open")
        await keeper.end(log, days)
    await keeper.cleanup.run_once()
    assert set(keeper.repository.users) == {"u", "g1"}
    assert set(keeper.repository.closed) == {"r1"}
    assert set(keeper.repository.session_logs) == {"s1"}


async def test_one_server_deletes_at_a_time(autojump_clock: MockClock) -> None:
    repository, memory = Counting(), MemoryServer()
    keepers = [Keeper(repository, memory, name, session_log_days=1) for name in ("one", "two", "three")]
    async with trio.open_nursery() as nursery:
        for keeper in keepers:
            nursery.start_soon(keeper.cleanup.run)
        await trio.sleep(10 * cleanup.RUN_SECONDS - 1)
        nursery.cancel_scope.cancel()
    assert 8 <= repository.deletions <= 10, "once each time, not three times"


# Faults


async def test_it_outlives_a_database_that_is_away(autojump_clock: MockClock, keeper: Keeper) -> None:
    await keeper.begin("left open", "gone")
    keeper.repository.state = "down"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.cleanup.run)
        await trio.sleep(100)
        keeper.repository.state = "hung"
        await trio.sleep(100)
        assert keeper.left("left open") is None
        keeper.repository.state = "up"
        await trio.sleep(2 * cleanup.RUN_SECONDS)
        assert keeper.left("left open") is not None
        nursery.cancel_scope.cancel()


async def test_it_outlives_a_repository_that_is_broken(
    autojump_clock: MockClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> list[str]:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("secret text")

    await keeper.begin("left open", "gone")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.cleanup.run)
        with monkeypatch.context() as patch:
            patch.setattr(keeper.repository, "servers_in_sessions", broken)
            await trio.sleep(1)
        assert "the repository failed at the clean-up" in caplog.text
        assert "secret" not in caplog.text
        await trio.sleep(2 * cleanup.RUN_SECONDS)
        assert keeper.left("left open") is not None
        nursery.cancel_scope.cancel()


async def test_a_look_raises_what_is_down(autojump_clock: MockClock, keeper: Keeper) -> None:
    keeper.repository.state = "down"
    with pytest.raises(PersistenceUnavailable):
        await keeper.cleanup.run_once()
