"""Votes in a room, over several servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest
import trio
import trio.testing

from evanesce.store import Store
from evanesce.store.events import Joined, Left, MemberRemoved, RulesChanged, Typing, Voted
from evanesce.store.memory import memory_store
from evanesce.store.memory import room as memory_room
from evanesce.store.memory import rules as memory_rules
from evanesce.store.presence import Bar, Barred, Joiner, JoinOutcome, Member
from evanesce.store.redis import rules as redis_rules
from evanesce.store.rules import VOTE_BAN_SECONDS, VOTE_SECONDS, Ballot, Person, Removal, VoteRefused
from tests.core.store.backends import RULES, Backend, events, eventually, join
from tests.core.store.ruled_rooms import (
    ADA,
    BOB,
    CREATOR,
    CYD,
    DAN,
    DAY,
    EVE,
    LOCKED,
    OPEN,
    PEOPLE,
    barred,
    installed,
    of,
    subject,
    vote,
)

pytestmark = pytest.mark.slow


async def test_how_many_votes_are_needed(backend: Backend) -> None:
    """More than half of those who are present without the person in question, and at least two."""
    one, two = await backend.open("one"), await backend.open("two")
    for others, needed in ((2, 2), (3, 2), (4, 3), (5, 3), (6, 4)):
        voters = [Member(f"voter {number}", "V") for number in range(others)]
        room_id = await installed(one, LOCKED, ADA, *voters)
        async with two.events.follow(room_id, 10) as feed:
            ballots = [await vote((one, two)[n % 2], room_id, voter, ADA) for n, voter in enumerate(voters[:needed])]
            *heard, left = await events(feed, needed + 2)
        assert all(isinstance(ballot, Ballot) for ballot in ballots)
        expires_at = ballots[0].expires_at if isinstance(ballots[0], Ballot) else 0
        now = one.clock.now()
        assert now + VOTE_SECONDS * 1000 - 10_000 < expires_at <= now + VOTE_SECONDS * 1000
        last = ballots[-1]
        assert isinstance(last, Ballot)
        expected = [Ballot("ada", n, needed, expires_at) for n in range(1, needed)]
        expected.append(Ballot("ada", needed, needed, expires_at, last.until))
        assert ballots == expected
        assert heard[:-1] == [Voted(ballot) for ballot in expected]
        [*_, removed] = heard
        assert isinstance(removed, MemberRemoved)
        ends = removed.at + VOTE_BAN_SECONDS * 1000
        assert removed.removal == Removal("ada", "vote", ends)
        assert last.until == ends
        assert isinstance(left, Left)
        assert await barred(two, room_id, ADA) == Barred(Bar.BANNED, ends)


@pytest.mark.parametrize("there", [True, False], ids=["person is there", "person has left"])
@pytest.mark.parametrize("creator", [False, True], ids=["creator has left", "creator is there"])
@pytest.mark.parametrize("others", range(1, 5))
async def test_a_vote_counts_who_is_present(backend: Backend, others: int, there: bool, creator: bool) -> None:
    """Also where the person in question, or the creator, has left or come since the vote began."""
    store = await backend.open()
    voters = [Member(f"voter {number}", "V") for number in range(others)]
    more = [Member(f"gone {number}", "G") for number in range(2)]
    room_id = await installed(store, OPEN, ADA, *voters, *more)
    assert isinstance(await vote(store, room_id, voters[0], ADA), Ballot)
    await store.presence.leave(room_id, [one.user_id for one in more] + ([] if there else ["ada"]))
    if creator:
        await join(store, room_id, [CREATOR], rules=OPEN)
    outcome = await vote(store, room_id, voters[0], ADA)
    if creator:
        assert outcome == VoteRefused.CREATOR
    elif others + there < 3:
        assert outcome == VoteRefused.TOO_FEW
    else:
        assert isinstance(outcome, Ballot)
        assert (outcome.votes, outcome.needed) == (1, max(2, others // 2 + 1))


async def test_only_a_vote_decides_a_vote_and_by_who_is_there_then(backend: Backend, room_id: str) -> None:
    """Who leaves, or loses the connection, has not voted."""
    store = await backend.open()
    people = [*PEOPLE, Member("fay", "Fay"), Member("gus", "Gus")]
    await join(store, room_id, people)
    async with store.events.follow(room_id, 10) as feed:
        first = await vote(store, room_id, BOB, ADA)
        second = await vote(store, room_id, CYD, ADA)
        assert isinstance(first, Ballot)
        assert second == replace(first, votes=2, needed=4)
        await store.presence.leave(room_id, ["dan", "eve", "fay"], lost=["dan", "eve", "fay"])
        await store.events.typing(room_id, "end")
        kinds = [type(event) for event in await events(feed, 6)]
        assert kinds == [Voted, Voted, Left, Left, Left, Typing], "two of three are enough, but nobody has voted"
        ended = await vote(store, room_id, CYD, ADA)
        assert isinstance(ended, Ballot)
        assert (ended.votes, ended.needed, ended.removed) == (2, 2, True)
        removed = MemberRemoved(Removal("ada", "vote", ended.until), ANY)
        assert await events(feed, 3) == [Voted(ended), removed, Left("ada", 3, ANY)]


async def test_a_voter_with_another_account_has_one_vote(backend: Backend, room_id: str) -> None:
    """Also as long as the server that has the connection of the erased account does not know that it ends."""
    store = await backend.open()
    await join(store, room_id, PEOPLE)
    first = await vote(store, room_id, BOB, ADA)
    assert isinstance(first, Ballot)
    await join(store, room_id, [Member("bob-again", "Bob")])
    anew = await store.rules.vote(room_id, Person("bob-again", subject(BOB)), of(ADA), CREATOR.user_id)
    assert anew == replace(first, votes=1, needed=3)
    await store.presence.leave(room_id, ["bob"])
    anew = await store.rules.vote(room_id, Person("bob-again", subject(BOB)), of(ADA), CREATOR.user_id)
    assert anew == first


async def test_the_person_in_question_does_not_escape_by_another_account(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await join(store, room_id, [ADA, BOB, CYD, DAN])
    first = await vote(store, room_id, BOB, ADA)
    assert isinstance(first, Ballot)
    await store.presence.leave(room_id, ["ada"])
    again = Person("ada-again", subject(ADA))
    await join(store, room_id, [Member("ada-again", "Ada")])
    outcome = await store.rules.vote(room_id, again, again, CREATOR.user_id)
    assert outcome == replace(first, user_id="ada-again"), "the person in question has no vote"
    ended = await store.rules.vote(room_id, of(CYD), again, CREATOR.user_id)
    assert isinstance(ended, Ballot)
    assert (ended.user_id, ended.votes, ended.expires_at) == ("ada-again", 2, first.expires_at)
    assert ended.removed
    why = await barred(store, room_id, ADA, RULES)
    assert why is not None
    assert why.bar is Bar.BANNED


async def running(store: Store, room_id: str, *, follows: bool = False) -> Sequence[Ballot]:
    """Return the votes that somebody is told of who joins."""
    outcome = await store.presence.join(
        room_id, [Joiner("new", "New", "subject of new")], 100, 10, RULES, follows=follows
    )
    assert isinstance(outcome, JoinOutcome)
    await store.presence.leave(room_id, ["new"])
    return outcome.votes


async def test_who_joins_is_told_the_votes_that_run(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await join(one, room_id, PEOPLE)
    assert await running(two, room_id) == []
    first = await vote(one, room_id, BOB, ADA)
    second = await vote(one, room_id, BOB, CYD)
    assert sorted(await running(two, room_id), key=lambda ballot: ballot.user_id) == [first, second]
    assert await running(two, room_id, follows=True) == []
    first = await vote(one, room_id, DAN, ADA)
    assert sorted(await running(two, room_id), key=lambda ballot: ballot.user_id) == [first, second]
    last = await vote(one, room_id, EVE, ADA)
    assert isinstance(last, Ballot)
    assert last.removed
    assert await running(two, room_id) == [second]
    kept = sorted(await two.rules.votes(room_id), key=lambda ballot: ballot.user_id)
    assert kept == [last, second], "who has missed the removal reads it"
    await one.messages.close_room(room_id, "closed")


async def test_so_many_votes_are_told_to_who_joins(
    backend: Backend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memory_room, redis_rules):
        monkeypatch.setattr(module, "MOST_TOLD", 2)
    for module in (memory_rules, redis_rules):
        monkeypatch.setattr(module, "VOTE_SECONDS", 4)
    store = await backend.open()
    await join(store, room_id, PEOPLE)
    ballots = [await vote(store, room_id, BOB, person) for person in (ADA, CYD, DAN)]
    told = sorted(await running(store, room_id), key=lambda ballot: ballot.user_id)
    assert told == ballots[:2]
    third = await vote(store, room_id, EVE, DAN)
    assert isinstance(third, Ballot)
    assert third.votes == 2, "it counts all the same"

    await eventually(lambda: store.clock.now() > third.expires_at + 100)  # what a server knows of the store's clock
    assert await running(store, room_id) == []
    again = await vote(store, room_id, BOB, DAN)
    assert await running(store, room_id) == [again]


async def test_which_votes_are_refused(backend: Backend) -> None:
    store = await backend.open()
    three = [ADA, BOB, CYD]
    for people, voter, person, expected in (
        (three, DAN, ADA, VoteRefused.NOT_MEMBER),
        (three, ADA, DAN, VoteRefused.ABSENT),
        ([*three, CREATOR], ADA, BOB, VoteRefused.CREATOR),
        ([*three, CREATOR], ADA, CREATOR, VoteRefused.CREATOR),
        (three, ADA, CREATOR, VoteRefused.CREATOR),
        ([ADA, BOB], ADA, BOB, VoteRefused.TOO_FEW),
        ([ADA, BOB, CREATOR], DAN, CREATOR, VoteRefused.NOT_MEMBER),
        ([ADA, BOB, CREATOR], ADA, DAN, VoteRefused.ABSENT),
        ([ADA, CREATOR], ADA, CREATOR, VoteRefused.CREATOR),
    ):
        room_id = await installed(store, OPEN, *people)
        async with store.events.follow(room_id, 10) as feed:
            assert await vote(store, room_id, voter, person) == expected
            await store.events.typing(room_id, "end")
            assert await events(feed, 1) == [Typing("end")]
    room_id = await installed(store, OPEN, *three, **{subject(BOB): store.clock.now() + DAY})
    assert await vote(store, room_id, ADA, BOB) == VoteRefused.ABSENT, "who is banned is about to leave"


async def test_a_person_has_one_vote_for_as_long_as_they_are_there(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await join(store, room_id, PEOPLE)
    async with store.events.follow(room_id, 10) as feed:
        first = await vote(store, room_id, BOB, ADA)
        assert isinstance(first, Ballot)
        assert (first.votes, first.needed, first.removed) == (1, 3, False)
        assert await vote(store, room_id, BOB, ADA) == first
        assert await vote(store, room_id, ADA, ADA) == first, "the person in question has none"
        assert await vote(store, room_id, CYD, ADA) == replace(first, votes=2)
        await store.presence.leave(room_id, ["bob"])
        ended = await vote(store, room_id, DAN, ADA)
        assert isinstance(ended, Ballot)
        assert ended.removed
        assert ended == replace(first, votes=2, needed=2, until=ended.until)
        heard = await events(feed, 7)
    assert [type(event) for event in heard] == [Voted, Voted, Voted, Left, Voted, MemberRemoved, Left]


async def test_leaving_does_not_end_a_vote(backend: Backend) -> None:
    store = await backend.open()
    room_id = await installed(store, LOCKED, ADA, BOB, CYD, DAN)
    await vote(store, room_id, BOB, ADA)
    await store.presence.leave(room_id, ["ada"], lost=["ada"])
    ballot = await vote(store, room_id, CYD, ADA)
    assert isinstance(ballot, Ballot)
    assert ballot.removed
    why = await barred(store, room_id, ADA)
    assert why is not None
    assert why.bar is Bar.BANNED
    await store.rules.install(
        room_id, replace(LOCKED, version=2), {subject(ADA): ballot.until - VOTE_BAN_SECONDS * 1000}
    )
    later = await barred(store, room_id, ADA, replace(LOCKED, version=2))
    assert later == Barred(Bar.LOCKED), "who was removed does not come back"


async def test_who_asks_again_hears_how_the_vote_has_ended(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await join(store, room_id, [ADA, BOB, CYD, DAN])
    await vote(store, room_id, BOB, ADA)
    async with store.events.follow(room_id, 10) as feed:
        ended = await vote(store, room_id, CYD, ADA)
        assert await vote(store, room_id, CYD, ADA) == ended
        assert await vote(store, room_id, DAN, ADA) == VoteRefused.ABSENT
        assert isinstance(ended, Ballot)
        await store.rules.install(room_id, OPEN, {subject(ADA): ended.until - VOTE_BAN_SECONDS * 1000})
        assert await barred(store, room_id, ADA, OPEN) is None
        again = await vote(store, room_id, CYD, ADA)
        assert isinstance(again, Ballot)
        assert (again.votes, again.removed) == (1, False), "another vote begins"
        assert [type(event) for event in await events(feed, 6)] == [
            Voted,
            MemberRemoved,
            Left,
            RulesChanged,
            Joined,
            Voted,
        ]


async def test_the_database_takes_over_the_ban_of_a_vote(backend: Backend) -> None:
    store = await backend.open()
    room_id = await installed(store, OPEN, ADA, BOB, CYD)
    await vote(store, room_id, BOB, ADA)
    await vote(store, room_id, CYD, ADA)
    await store.rules.install(room_id, replace(OPEN, version=3), {subject(DAN): store.clock.now() + DAY})
    why = await barred(store, room_id, ADA, OPEN)
    assert why is not None
    assert why.until <= store.clock.now() + VOTE_BAN_SECONDS * 1000
    ends = store.clock.now() + DAY
    await store.rules.install(room_id, replace(OPEN, version=4), {subject(ADA): ends})
    assert await barred(store, room_id, ADA, OPEN) == Barred(Bar.BANNED, ends)
    await store.rules.install(room_id, replace(OPEN, version=5), {})
    assert await barred(store, room_id, ADA, OPEN) is None


@pytest.mark.parametrize("ended", [-2, -1, 0, 1])
async def test_what_has_ended_takes_the_place_of_no_later_vote(backend: Backend, ended: int) -> None:
    """Whatever was written of a person before the vote, as long as the database does not have the ban of the vote."""
    store = await backend.open()
    room_id = await installed(store, OPEN, ADA, BOB, CYD)
    await vote(store, room_id, BOB, ADA)
    ballot = await vote(store, room_id, CYD, ADA)
    assert isinstance(ballot, Ballot)
    voted_at = ballot.until - VOTE_BAN_SECONDS * 1000
    await eventually(lambda: store.clock.now() > voted_at + 50)  # it is an estimate
    newer = replace(OPEN, version=3)
    await store.rules.install(room_id, newer, {subject(ADA): voted_at + ended, subject(DAN): voted_at + ended})
    expected = Barred(Bar.BANNED, ballot.until) if ended < 0 else None
    assert await barred(store, room_id, ADA, newer) == expected
    assert await barred(store, room_id, DAN, newer) is None


async def test_a_vote_ends_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    store = memory_store()
    room_id = await installed(store, OPEN, ADA, BOB, CYD)
    await vote(store, room_id, BOB, ADA)
    await trio.sleep(VOTE_SECONDS)
    later = await vote(store, room_id, CYD, ADA)
    assert isinstance(later, Ballot)
    assert (later.votes, later.removed) == (1, False)


async def test_two_last_votes_at_once_remove_once(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    for turn in range(60):
        room_id = str(uuid4())
        await join(one, room_id, [ADA, BOB, CYD, DAN])
        await vote(one, room_id, BOB, ADA)
        outcomes: list[Ballot | VoteRefused] = []

        async def cast(store: Store, voter: Member, to: list[Ballot | VoteRefused], room: str) -> None:
            to.append(await vote(store, room, voter, ADA))

        async with one.events.follow(room_id, 10) as feed:
            async with trio.open_nursery() as nursery:
                for store, voter in [(one, CYD), (two, DAN)][:: 1 if turn % 2 else -1]:
                    nursery.start_soon(cast, store, voter, outcomes, room_id)
            assert [type(event) for event in await events(feed, 3)] == [Voted, MemberRemoved, Left]
        ballots = [outcome for outcome in outcomes if isinstance(outcome, Ballot)]
        assert [ballot.removed for ballot in ballots] == [True]
        assert [outcome for outcome in outcomes if not isinstance(outcome, Ballot)] == [VoteRefused.ABSENT]


async def test_a_vote_is_before_the_creator_comes_or_refused(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    outcome: Any = None
    seen: set[bool] = set()

    async def cast(room_id: str) -> None:
        nonlocal outcome
        outcome = await vote(one, room_id, CYD, ADA)

    async def come(room_id: str) -> None:
        for _ in range(turn // 2 % 3):  # a vote needs more than one round trip
            await two.presence.counts([room_id])
        await join(two, room_id, [CREATOR])

    for turn in range(60):
        room_id = str(uuid4())
        await join(one, room_id, [ADA, BOB, CYD])
        await vote(one, room_id, BOB, ADA)
        async with one.events.follow(room_id, 10) as feed:
            async with trio.open_nursery() as nursery:
                for act in (cast, come) if turn % 2 else (come, cast):
                    nursery.start_soon(act, room_id)
            removed = outcome != VoteRefused.CREATOR
            seen.add(removed)
            expected = [Voted, MemberRemoved, Left, Joined] if removed else [Joined]
            assert [type(event) for event in await events(feed, len(expected))] == expected
    assert seen == {False, True}
