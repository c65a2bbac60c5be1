"""People, and rooms with rules, for the tests of the stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

from evanesce.store import Store
from evanesce.store.message_log import RoomClosed
from evanesce.store.presence import Barred, JoinOutcome, Member
from evanesce.store.rules import Ballot, Person, RoomRules, VoteRefused
from tests.core.store.backends import RULES, join, joiners

CREATOR = Member(RULES.created_by, "Creator")
ADA, BOB, CYD, DAN, EVE = PEOPLE = [Member(name, name.title()) for name in ("ada", "bob", "cyd", "dan", "eve")]
LOCKED = replace(RULES, version=1, locked=True)
OPEN = replace(LOCKED, version=2, locked=False)
DAY = 86_400_000


def subject(person: Member) -> str:
    return joiners(person)[0].subject


def of(person: Member) -> Person:
    return Person(person.user_id, subject(person))


async def barred(store: Store, room_id: str, person: Member, rules: RoomRules = LOCKED, **more: Any) -> Barred | None:
    """Let one user join; return what keeps the user from that."""
    outcome = await store.presence.join(room_id, joiners(person, **more), 100, 10, rules)
    assert isinstance(outcome, JoinOutcome)
    return outcome.barred.get(person.user_id)


async def vote(store: Store, room_id: str, voter: Member, person: Member) -> Ballot | VoteRefused:
    outcome = await store.rules.vote(room_id, of(voter), of(person), CREATOR.user_id)
    assert not isinstance(outcome, RoomClosed)
    return outcome


async def installed(store: Store, rules: RoomRules, *people: Member, **bans: int) -> str:
    """Return a new room with rules, in which some people are."""
    room_id = str(uuid4())
    if people:
        await join(store, room_id, people)
    await store.rules.install(room_id, rules, bans)
    return room_id
