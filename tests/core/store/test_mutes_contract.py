"""Mutes in a room, over several servers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from evanesce.store import Store
from evanesce.store.events import MemberMuted, Typing
from evanesce.store.memory import rules as memory_rules
from evanesce.store.message_log import Muted, Outcome, RoomClosed
from evanesce.store.presence import Joiner, JoinOutcome
from evanesce.store.redis import rules as redis_rules
from evanesce.store.rules import MOST_MUTES
from tests.core.store.backends import RULES, Backend, draft, events, eventually, join, joiners, of_kind
from tests.core.store.ruled_rooms import ADA, BOB, CYD, subject

pytestmark = pytest.mark.slow


async def test_a_mute_is_told_and_ends(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert (await join(one, room_id, [ADA])).mutes == {}
    async with two.events.follow(room_id, 10) as feed:
        before = one.clock.now()
        ends = await one.rules.mute(room_id, "ada", 3_600)
        assert isinstance(ends, int)
        assert before + 3_590_000 < ends < before + 3_700_000
        soon = await two.rules.mute(room_id, "bob", 0.3)
        assert isinstance(soon, int)
        assert (await one.rules.mutes(room_id)).items() >= {("ada", ends)}
        assert (await join(two, room_id, [CYD])).mutes.items() >= {("ada", ends)}

        async def ended() -> bool:
            mutes = await two.rules.mutes(room_id), (await join(two, room_id, [CYD])).mutes
            return mutes == ({"ada": ends}, {"ada": ends})

        await eventually(ended)
        for _ in range(2):
            assert await two.rules.mute(room_id, "ada", 0) == 0
        assert await one.rules.mutes(room_id) == {}
        assert (await join(two, room_id, [CYD])).mutes == {}
        heard = of_kind(await events(feed, 5), MemberMuted)
    assert heard == [MemberMuted("ada", ends), MemberMuted("bob", soon), MemberMuted("ada", 0), MemberMuted("ada", 0)]


async def is_muted(store: Store, room_id: str, user_id: str) -> bool:
    [outcome] = await appended(store, room_id, user_id)
    return isinstance(outcome, Muted)


async def appended(store: Store, room_id: str, user_id: str) -> Sequence[Outcome]:
    outcomes = await store.messages.append(room_id, [draft(room_id, sender=user_id)])
    assert not isinstance(outcomes, RoomClosed)
    return outcomes


AGAIN = Joiner("ada-again", "Ada", subject(ADA))


@pytest.mark.parametrize("known", [True, False], ids=["subject known", "subject known from a join"])
@pytest.mark.parametrize("present", [True, False], ids=["present", "absent"])
async def test_a_mute_holds_for_the_person_with_another_account(
    backend: Backend, room_id: str, known: bool, present: bool
) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    if present:
        await join(one, room_id, [ADA])
    ends = await one.rules.mute(room_id, "ada", 3_600, subject(ADA) if known else None)
    if not known:
        await join(two, room_id, [ADA])
    await one.rules.mute(room_id, "bob", 3_600, subject(BOB))
    async with one.events.follow(room_id, 10) as feed:
        outcome = await two.presence.join(room_id, [AGAIN, *joiners(CYD)], 10, 10, RULES)
        assert isinstance(outcome, JoinOutcome)
        assert outcome.mutes["ada-again"] == ends
        assert outcome.mutes.keys() <= {"ada", "ada-again", "bob"}
        assert await one.rules.mutes(room_id) == outcome.mutes
        heard = await events(feed, 3)
        assert of_kind(heard, MemberMuted) == [MemberMuted("ada-again", ends)]
    assert [await is_muted(two, room_id, user) for user in ("ada", "ada-again", "cyd")] == [True, True, False]
    await one.rules.mute(room_id, "ada-again", 0, subject(ADA) if known else None)
    assert (await one.rules.mutes(room_id)).keys() == {"bob"}
    await two.presence.leave(room_id, ["ada-again"])
    outcome = await two.presence.join(room_id, [AGAIN, Joiner("another-ada", "Ada", subject(ADA))], 10, 10, RULES)
    assert isinstance(outcome, JoinOutcome)
    assert outcome.mutes.keys() == {"bob"}
    assert not await is_muted(one, room_id, "another-ada")


async def test_a_later_mute_is_that_of_all_accounts(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await store.rules.mute(room_id, "ada", 3_600, subject(ADA))
    await store.presence.join(room_id, [AGAIN], 10, 10, RULES)
    sooner = await store.rules.mute(room_id, "ada-again", 1_800, subject(ADA))
    assert await store.rules.mutes(room_id) == {"ada-again": sooner}
    outcome = await store.presence.join(room_id, joiners(ADA), 10, 10, RULES)
    assert isinstance(outcome, JoinOutcome)
    assert outcome.mutes == {"ada": sooner, "ada-again": sooner}


async def test_mutes_at_the_same_time_are_of_different_people(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(store.rules.mute, room_id, f"user-{number}", 3_600, f"subject {number}")
    await store.rules.mute(room_id, "user-7", 0, "subject 7")
    assert (await store.rules.mutes(room_id)).keys() == {f"user-{number}" for number in range(50) if number != 7}


async def test_so_many_people_are_muted_in_a_room(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with trio.open_nursery() as nursery:
        for number in range(MOST_MUTES - 1):
            nursery.start_soon(store.rules.mute, room_id, f"user-{number}", 3_600, f"subject {number}")
    ends = await store.rules.mute(room_id, "soon", 0.3, "subject of soon")
    assert isinstance(ends, int)
    assert await store.rules.mute(room_id, "user-3", 7_200, "subject 3") is not None, "muted already"
    assert await store.rules.mute(room_id, "one-more", 0, "subject of another") == 0

    async def ended() -> bool:
        return await store.rules.mute(room_id, "one-more", 3_600, "subject of another") is not None

    async with store.events.follow(room_id, 10) as feed:
        await eventually(ended)
        assert store.clock.now() >= ends - 100  # it is an estimate
        assert await store.rules.mute(room_id, "too-many", 3_600, "subject of too many") is None
        await store.events.typing(room_id, "end")
        assert [type(event) for event in await events(feed, 2)] == [MemberMuted, Typing], "nobody hears of a refusal"
    assert not await is_muted(store, room_id, "too-many")
    assert len(await store.rules.mutes(room_id)) == MOST_MUTES


async def test_a_person_of_two_marks_is_one_who_is_muted(
    backend: Backend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mute without a subject is noted for the account, and for the person when the account joins."""
    for module in (memory_rules, redis_rules):
        monkeypatch.setattr(module, "MOST_MUTES", 2)
    store = await backend.open()
    assert isinstance(await store.rules.mute(room_id, "ada", 3_600), int)
    await join(store, room_id, [ADA])
    bobs = await store.rules.mute(room_id, "bob", 3_600, subject(BOB))
    assert isinstance(bobs, int), "one other person is muted"
    assert await store.rules.mute(room_id, "cyd", 3_600, subject(CYD)) is None
    for module in (memory_rules, redis_rules):
        monkeypatch.setattr(module, "MOST_MUTES", 1)
    assert await store.rules.mute(room_id, "bob", 7_200, subject(BOB)) is None
    assert (await store.rules.mutes(room_id))["bob"] == bobs, "a mute that is refused ends none"


async def test_who_follows_a_room_is_not_told_its_mutes_with_every_join(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await store.rules.mute(room_id, "ada", 3_600)
    for follows in (False, True):
        outcome = await store.presence.join(room_id, joiners(BOB), 10, 10, RULES, follows=follows)
        assert isinstance(outcome, JoinOutcome)
        assert outcome.mutes.keys() == (set() if follows else {"ada"})
