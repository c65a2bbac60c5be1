"""What has to be looked at when: in memory within bounds, the rest in the register; and a room's index, in order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.store.redis import schedule as module
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.schedule import HORIZON, Schedule
from evanesce.store.redis.walk import TRIM_AHEAD, TRIM_ENTRIES, UNKNOWN, Walk

NOW = 1_000_000


def scheduled() -> tuple[Schedule, list[int]]:
    woken: list[int] = []
    return Schedule(NOW, lambda: woken.append(1)), woken


def test_what_is_due_soon_is_in_memory_and_what_is_due_later_is_known() -> None:
    schedule, woken = scheduled()
    assert schedule.add("soon", NOW + 10, NOW, NOW + 25)
    assert not schedule.add("later", NOW + HORIZON + 1, NOW, NOW + HORIZON + 16)
    assert "soon" in schedule
    assert "later" in schedule
    assert dict(schedule.held()) == {"soon": NOW + 10}
    assert len(woken) == 1


def test_what_is_later_is_unconfirmed_until_the_register_has_it_with_its_end() -> None:
    schedule, _ = scheduled()
    early, late = NOW + 2 * HORIZON, NOW + 3 * HORIZON
    schedule.add("one", late, NOW, late)
    schedule.add("two", late, NOW, late)
    assert schedule.unconfirmed(1) == [("one", late)]
    schedule.add("one", early, NOW, early)
    schedule.confirm([("one", late), ("two", late)])
    assert schedule.unconfirmed(10) == [("one", early)]
    schedule.push("one", early, early)
    assert schedule.unconfirmed(10) == []
    schedule.mark_later_unconfirmed()
    assert schedule.unconfirmed(10) == [("two", late)]


def test_an_earlier_end_takes_the_place_of_a_later_one() -> None:
    schedule, woken = scheduled()
    schedule.add("key", NOW + 500, NOW, NOW + 515)
    assert schedule.ends_by("key", NOW + 500)
    assert not schedule.ends_by("key", NOW + 499)
    schedule.add("key", NOW + 100, NOW, NOW + 115)
    assert len(woken) == 2
    assert list(schedule.pop(NOW + 115, 10)) == [("key", NOW + 100)]
    assert list(schedule.pop(NOW + 1_000, 10)) == []


def test_what_does_not_fit_is_loaded_again_from_its_end_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEDULED", 2)
    schedule, _ = scheduled()
    assert schedule.add("one", NOW + 10, NOW, NOW + 25)
    assert schedule.add("two", NOW + 20, NOW, NOW + 35)
    assert not schedule.has_room
    assert not schedule.add("three", NOW + 40, NOW, NOW + 55)
    assert not schedule.add("four", NOW + 30, NOW, NOW + 45)
    assert schedule.horizon < NOW + 30
    list(schedule.pop(NOW + 100, 10))
    assert schedule.has_room


def test_of_what_is_later_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    schedule, _ = scheduled()
    for number in range(10):
        schedule.add(f"key-{number}", NOW + 2 * HORIZON, NOW, NOW + 2 * HORIZON)
    assert [number for number in range(10) if f"key-{number}" in schedule] == [7, 8, 9]
    assert len(schedule.unconfirmed(10)) == 3


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5_000)), max_size=60))
def test_each_key_is_looked_at_once_after_its_earliest_end(noted: list[tuple[int, int]]) -> None:
    schedule, _ = scheduled()
    earliest: dict[str, int] = {}
    for number, after in noted:
        key = f"key-{number}"
        if not schedule.ends_by(key, NOW + after):
            schedule.add(key, NOW + after, NOW, NOW + after)
        earliest[key] = min(after, earliest.get(key, after))
    seen: dict[str, int] = {}
    for at in range(NOW, NOW + 5_001, 50):
        for key, end in schedule.pop(at, 1_000):
            assert key not in seen
            assert at - 50 < end <= at
            seen[key] = end - NOW
    assert seen == earliest


# The walk along an index


def entries(*ends: int, kind: bytes = b"m") -> list[tuple[bytes, list[bytes]]]:
    return [
        (b"%d-%d" % (end - 60_000, number), [kind, b"id-%d" % number, b"c", b"1", b"until", b"%d" % end])
        for number, end in enumerate(ends, 1)
    ]


def walk() -> Walk:
    return Walk(Keys("evanesce"), "evanesce:{room}:index", counted_from=0, latest=0)


def test_messages_are_due_in_order_and_the_position_goes_on() -> None:
    along = walk()
    assert along.read(10) == ("XRANGE", "evanesce:{room}:index", "(0-0", "+", "COUNT", 10)
    assert along.take(entries(NOW, NOW + 10, NOW + 20), NOW) == []
    assert along.read(10)[2] == f"({NOW + 20 - 60_000}-3"
    due = along.due(NOW + 10, 5)
    assert due == [("evanesce:{room}:message:id-1", NOW), ("evanesce:{room}:message:id-2", NOW + 10)]
    assert along.due(NOW + 10, 1) == due[:1]
    along.erased(due)
    along.erased(due)  # told twice: nothing more is taken for gone
    assert along.next_end == NOW + 20


def test_what_ends_before_one_that_was_read_earlier_is_given_back() -> None:
    along = walk()
    assert along.take(entries(NOW + 100, NOW + 40, NOW + 120), NOW) == [
        ("evanesce:{room}:message:id-2", NOW + 40, b"%d-2" % (NOW + 40 - 60_000))
    ]
    assert len(along) == 2


def test_an_index_of_which_redis_may_have_an_earlier_state_is_read_again_and_no_lag_counts_twice() -> None:
    along = walk()
    along.take(entries(NOW, NOW + 10, NOW + 20), NOW)
    along.erased(along.due(NOW + 10, 5))
    along.stale = True
    along.rewind(NOW + 10)
    assert (len(along), along.next_end, along.stale) == (0, None, False)
    assert along.read(10)[2] == "(0-0"
    assert along.counted_from == NOW + 10, "the lag of the first two was counted"
    along.take(entries(NOW, NOW + 10, NOW + 20), NOW + 10)
    assert along.next_read == math.inf, "none was early: the rest of the index is read when these have ended"
    assert len(along.due(NOW + 20, 5)) == 3
    assert along.trim() is None, "what was erased before does not count for it"


def test_an_index_with_early_messages_is_read_again_to_its_end_and_only_new_ones_count_as_late() -> None:
    along = walk()
    read = entries(NOW + 60_000, NOW + 10, NOW + 30)
    along.read(3)
    assert [early[:2] for early in along.take(read, NOW)] == [
        ("evanesce:{room}:message:id-2", NOW + 10),
        ("evanesce:{room}:message:id-3", NOW + 30),
    ]
    along.rewind(NOW + 20)
    along.read(4)
    found = along.take([*read, (b"%d-4" % (NOW + 5), entries(*[NOW + 15] * 4)[3][1])], NOW + 20)
    assert [early[:2] for early in found] == [
        ("evanesce:{room}:message:id-2", UNKNOWN),  # its lag was counted
        ("evanesce:{room}:message:id-3", NOW + 30),
        ("evanesce:{room}:message:id-4", NOW + 15),
    ]
    assert along.next_read <= NOW + 20, "more may be early"
    along.read(4)
    along.take([], NOW + 25)
    assert along.next_read == math.inf


def test_an_index_is_trimmed_once_much_of_it_is_erased_and_never_beyond() -> None:
    along = walk()
    along.take(entries(*range(NOW, NOW + TRIM_ENTRIES)), NOW)
    assert along.trim() is None
    along.erased(along.due(NOW + TRIM_ENTRIES - 2, TRIM_ENTRIES))
    assert along.trim() is None, "one is left"
    along.erased(along.due(NOW + TRIM_ENTRIES, TRIM_ENTRIES))
    last = f"{NOW + TRIM_ENTRIES - 1 - 60_000}-{TRIM_ENTRIES}"
    assert along.trim() == ("XTRIM", "evanesce:{room}:index", "MINID", "~", last)
    assert along.trim() is None


def test_an_index_is_trimmed_up_to_an_entry_that_is_alive() -> None:
    """Otherwise one message that lives long would keep all that were sent before it."""
    along = walk()
    along.take(entries(*range(NOW, NOW + TRIM_AHEAD), NOW + 86_400_000), NOW)
    along.erased(along.due(NOW + TRIM_AHEAD - 2, TRIM_AHEAD))
    assert along.trim() is None
    along.erased(along.due(NOW + TRIM_AHEAD, TRIM_AHEAD))
    last = f"{NOW + TRIM_AHEAD - 1 - 60_000}-{TRIM_AHEAD}"
    assert along.trim() == ("XTRIM", "evanesce:{room}:index", "MINID", "~", last)
    assert (len(along), along.trim()) == (1, None)


def test_the_entry_of_an_early_tombstone_stays_as_does_one_without_an_end() -> None:
    along = walk()
    first, unsent, old = entries(NOW + 100, NOW + 40, NOW + 50)
    unsent[1][0] = b"w"
    del old[1][4:]
    assert [early.entry for early in along.take([first, unsent, old], NOW)] == [None, None]


def test_a_new_index_is_read_from_its_start() -> None:
    along = walk()
    along.take(entries(NOW), NOW)
    assert not along.starts_again(None)
    assert not along.starts_again(b"%d-2" % (NOW - 60_000)), "there is something behind"
    assert along.starts_again(b"%d-1" % (NOW - 70_000))
    assert along.read(1)[2] == "(0-0"
