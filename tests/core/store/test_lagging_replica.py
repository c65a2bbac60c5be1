"""A replica that lagged behind took its primary's place: everything is as it was some moments ago."""

from __future__ import annotations

import pytest
import trio

from evanesce.store.events import HistoryLost, PresenceChanged
from evanesce.store.message_log import LogEntry, RoomClosed
from evanesce.store.presence import Member
from tests.core.store.backends import RedisBackend, appended, draft, eventually, join, of_kind, until

ADA, BOB = Member("ada", "Ada"), Member("bob", "Bob")


def snapshot(valkey: RedisBackend) -> dict[bytes, tuple[bytes, int]]:
    """All that Valkey holds, with what is left of its life in milliseconds, or 0."""
    return {key: (valkey.client.dump(key), max(0, valkey.client.pttl(key))) for key in valkey.client.scan_iter()}


def go_back(valkey: RedisBackend, then: dict[bytes, tuple[bytes, int]], *, cut: bool) -> None:
    """Make everything as it was; with `cut`, the connections break, as they do when a primary is lost."""
    gone = set(valkey.client.scan_iter()) - then.keys()
    with valkey.client.pipeline() as all_at_once:
        for key, (value, left) in then.items():
            all_at_once.restore(key, left, value, replace=True)
        if gone:
            all_at_once.delete(*gone)
        all_at_once.execute()
    if cut:
        valkey.client.client_kill_filter(_type="normal", skipme=True)
        valkey.client.client_kill_filter(_type="pubsub")


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("said_after", [1, 2, 5])
async def test_when_numbers_come_again_it_is_told_and_nothing_new_is_missed(
    valkey: RedisBackend, room_id: str, said_after: int, cut: bool
) -> None:
    store, other = await valkey.open("one"), await valkey.open("two")
    await join(store, room_id, [ADA])
    async with store.events.follow(room_id, 10) as feed, other.events.follow(room_id, 10) as elsewhere:
        await store.messages.append(room_id, [draft(room_id, "kept")])
        then = snapshot(valkey)
        await join(store, room_id, [BOB])
        await store.messages.append(room_id, [draft(room_id, f"lost {number}") for number in range(2)])
        heard = of_kind(await until(feed, LogEntry, 3), LogEntry)
        await until(elsewhere, LogEntry, 3)
        go_back(valkey, then, cut=cut)
        await trio.sleep(0.002)  # what is said next is of a later millisecond: a replica takes far longer
        await eventually(lambda: store.health.healthy)
        said = [f"new {number}" for number in range(said_after)]
        for content in said:
            await eventually(lambda content=content: appended(store, room_id, content))
        for one in (feed, elsewhere):
            told = await until(one, LogEntry, said_after)
            assert of_kind(told, HistoryLost), "what may be lost is told"
            assert [each.message.content for each in of_kind(told, LogEntry)] == said, "and nothing new is missed"
            assert isinstance(told[0], HistoryLost | PresenceChanged)
            numbers = [each.number for each in of_kind(told, LogEntry)]
            assert of_kind(told, HistoryLost)[0].number < numbers[0], "or rooms would take what is new for old"
            assert numbers == sorted(set(numbers))

        async def both_are_there() -> bool:
            return set((await other.presence.snapshot(room_id, 10)).members or ()) == {ADA, BOB}

        await eventually(both_are_there)
        history = await store.messages.history(room_id, heard[-1].cursor, 10, 100_000)
        assert not isinstance(history, RoomClosed)
        assert history.missed is None, "a cursor of before serves no more"
        assert [each.message.content for each in history.messages] == ["kept", *said]


async def test_a_cursor_whose_number_came_again_serves_no_more(valkey: RedisBackend, room_id: str) -> None:
    """Also where nobody is in the room who would have noticed."""
    store = await valkey.open()
    await store.messages.append(room_id, [draft(room_id, "kept")])
    then = snapshot(valkey)
    await store.messages.append(room_id, [draft(room_id, "lost")])
    before = await store.messages.history(room_id, None, 10, 100_000)
    assert not isinstance(before, RoomClosed)
    go_back(valkey, then, cut=False)
    await trio.sleep(0.002)  # the next one is of a later millisecond
    for content in ("new", "newer"):
        await store.messages.append(room_id, [draft(room_id, content)])
    history = await store.messages.history(room_id, before.cursor, 10, 100_000)
    assert not isinstance(history, RoomClosed)
    assert history.missed is None
    assert [each.message.content for each in history.messages] == ["kept", "new", "newer"]
