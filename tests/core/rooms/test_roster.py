"""The roster: what members are told of who comes and goes, each change once."""

from __future__ import annotations

from evanesce.protocol.events import MemberJoined, MemberLeft, MemberUpdated
from evanesce.rooms.roster import Roster
from evanesce.store.events import Joined, Left, Renamed
from evanesce.store.presence import Member, PresenceSnapshot

ROOM = "room"


def presence(version: int, *names: str) -> PresenceSnapshot:
    return PresenceSnapshot(len(names), version, tuple(Member(name.lower(), name) for name in names))


def test_a_snapshot_tells_the_difference() -> None:
    roster = Roster(ROOM, 10)
    assert [type(event) for event in roster.snapshot(presence(1, "Ada"))] == [MemberJoined]
    told = roster.snapshot(PresenceSnapshot(2, 3, (Member("ada", "Ada L."), Member("bob", "Bob"))))
    assert [(type(event), getattr(event, "display_name", "")) for event in told] == [
        (MemberUpdated, "Ada L."),
        (MemberJoined, "Bob"),
    ]
    assert [type(event) for event in roster.snapshot(presence(4, "Bob"))] == [MemberLeft]
    assert roster.count == 1


def test_what_a_snapshot_had_is_not_told_again() -> None:
    roster = Roster(ROOM, 10)
    roster.snapshot(presence(5, "Ada", "Bob"))
    assert roster.apply(Joined(Member("bob", "Bob"), 2, 5)) is None
    assert roster.snapshot(presence(4, "Ada")) == []
    assert roster.count == 2


def test_single_changes() -> None:
    roster = Roster(ROOM, 10)
    assert roster.apply(Joined(Member("ada", "Ada"), 1, 1)) == MemberJoined(
        room_id=ROOM, user_id="ada", display_name="Ada", member_count=1
    )
    assert roster.apply(Renamed(Member("ada", "Ida"), 2)) == MemberUpdated(
        room_id=ROOM, user_id="ada", display_name="Ida"
    )
    members = roster.members
    assert members is not None
    assert [member.display_name for member in members] == ["Ida"]
    assert roster.apply(Left("ada", 0, 3)) == MemberLeft(room_id=ROOM, user_id="ada", member_count=0)
    assert roster.members == []


def test_above_its_size_nobody_is_named() -> None:
    roster = Roster(ROOM, 1)
    roster.snapshot(presence(1, "Ada"))
    assert roster.apply(Joined(Member("bob", "Bob"), 2, 2)) is None
    assert roster.members is None
    assert not roster.complete
    assert roster.snapshot(PresenceSnapshot(3, 3, None)) == []
    roster.apply(Left("bob", 2, 4))
    roster.apply(Left("cyd", 1, 5))
    assert not roster.complete, "it is small enough again, but the names were not kept"
    assert roster.snapshot(presence(5, "Ada")) == []
    assert roster.complete
