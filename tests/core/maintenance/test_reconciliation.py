"""Signing out, erasing, closing and renaming hold on every server, whatever becomes of the notices about them.

A table of faults by actions, in virtual time: what counts is the end state, and when it is reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from evanesce.maintenance import reconciliation
from evanesce.testing.connection import MemoryConnection
from tests.core.maintenance.faulty import Gate, Pair, a_pair, persist

AWAY = 3.0
"""How long a link is cut, in seconds."""

SOON = 2.0
"""After how many seconds the end state is right, where servers know that they missed something."""

UNNOTICED = 65.0
"""And where they do not."""

Act = Callable[[Pair], Awaitable[None]]


# The faults: what is done before the action, how long until it is undone, and after how long all must be right.


async def nothing(pair: Pair) -> None:
    await trio.lowlevel.checkpoint()


async def lose_unnoticed(pair: Pair) -> None:
    pair.store_a.control.deaf = True
    await trio.lowlevel.checkpoint()


async def cut_a(pair: Pair) -> None:
    pair.store_a.control.link.cut = True
    await trio.lowlevel.checkpoint()


async def cut_b(pair: Pair) -> None:
    pair.store_b.control.link.cut = True
    await trio.lowlevel.checkpoint()


async def cut_both(pair: Pair) -> None:
    pair.store_a.control.link.cut = pair.store_b.control.link.cut = True
    await trio.lowlevel.checkpoint()


async def take_store_away(pair: Pair) -> None:
    pair.memory.go_down()
    await trio.lowlevel.checkpoint()


async def delay(pair: Pair) -> None:
    pair.store_a.control.late = AWAY
    await trio.lowlevel.checkpoint()


async def slow_down(pair: Pair) -> None:
    pair.repository.late = AWAY / 2
    pair.store_a.control.link.cut = True
    await trio.lowlevel.checkpoint()


FAULTS: dict[str, tuple[Act, float]] = {
    "none": (nothing, 1.0),
    "lost unnoticed": (lose_unnoticed, UNNOTICED),
    "link of the receiving server": (cut_a, AWAY + SOON),
    "link of the one who tells": (cut_b, AWAY + SOON),
    "both links": (cut_both, AWAY + SOON),
    "the store": (take_store_away, AWAY + SOON),
    "late": (delay, AWAY + SOON),
    "slow database, and the link": (slow_down, AWAY + SOON + AWAY / 2),
}


async def undo(pair: Pair) -> None:
    """Mend what was cut after `AWAY`; all else stays as it is."""
    await trio.sleep(AWAY)
    if not pair.memory.up:
        pair.memory.come_back()
    for store in (pair.store_a, pair.store_b):
        if store.control.link.cut:
            store.control.mend()


# The actions, all done on server b, and what has to be true on server a.


class Scene:
    """Ada is on both servers, and in a room on each; Bob is in her room on server a."""

    def __init__(self, pair: Pair, here: MemoryConnection, there: MemoryConnection, bob: MemoryConnection) -> None:
        self.pair = pair
        self.here = here
        self.there = there
        self.bob = bob
        self.room_id = ""

    @classmethod
    async def begin(cls, pair: Pair) -> Scene:
        there = await pair.arrive(pair.b, "Ada")
        here = await pair.arrive(pair.a, "Ada")
        scene = cls(pair, here, there, await pair.arrive(pair.a, "Bob"))
        scene.room_id = await pair.b.open_room(there)
        for connection in (scene.here, scene.bob):
            assert (await connection.ask("join", roomId=scene.room_id))["type"] == "joined"
        await trio.sleep(1)  # what a hello makes the servers compare is compared
        return scene

    async def sign_out(self) -> None:
        await persist(self.there, "sign_out")

    async def forget_me(self) -> None:
        await persist(self.there, "forget_me")

    async def close_room(self) -> None:
        await persist(self.there, "close_room", roomId=self.room_id)

    async def rename(self) -> None:
        await persist(self.there, "update_profile", displayName="Countess")

    async def rename_twice(self) -> None:
        await persist(self.there, "update_profile", displayName="Nobody")
        await persist(self.there, "update_profile", displayName="Countess")

    def is_ended(self) -> bool:
        return self.here.closed is not None and self.here.closed[0] == 4401

    def is_closed(self) -> bool:
        told = [event for event in self.bob.waiting() if event["type"] == "room_closed"]
        return bool(told)

    async def names(self) -> set[str]:
        members = (await self.bob.ask("members", roomId=self.room_id))["members"]
        own = (await self.here.ask("hello"))["displayName"]
        return {own, *(member["displayName"] for member in members)} - {"Bob"}

    async def holds(self, action: str) -> bool:
        """Whether what `action` promises is true on server a."""
        await trio.lowlevel.checkpoint()
        if action == "sign_out":
            return self.is_ended()
        if action == "forget_me":
            return self.is_ended() and self.is_closed()
        if action == "close_room":
            return self.is_closed()
        return await self.names() == {"Countess"}


ACTIONS = ["sign_out", "forget_me", "close_room", "rename", "rename_twice"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("action", ACTIONS)
async def test_what_was_done_on_one_server_holds_on_the_other(
    autojump_clock: MockClock, action: str, fault: str
) -> None:
    begin, seconds = FAULTS[fault]
    async with a_pair() as pair:
        scene = await Scene.begin(pair)
        scene.bob.waiting()
        await begin(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(undo, pair)
            nursery.start_soon(getattr(scene, action))
            await trio.sleep(seconds)
            assert await scene.holds(action)


@pytest.mark.parametrize("action", ["rename", "sign_out", "forget_me"])
async def test_notices_in_the_wrong_order_lead_to_the_same_end(autojump_clock: MockClock, action: str) -> None:
    async with a_pair() as pair:
        scene = await Scene.begin(pair)
        scene.bob.waiting()
        pair.store_a.control.swapped = True
        await persist(scene.there, "update_profile", displayName="Nobody")
        await getattr(scene, action)()
        await trio.sleep(SOON)
        assert await scene.holds(action)


async def test_an_answer_that_is_older_than_a_rename_does_not_bring_the_old_name_back(
    autojump_clock: MockClock,
) -> None:
    async with a_pair() as pair:
        scene = await Scene.begin(pair)
        scene.bob.waiting()
        pair.repository.late = 1.0
        pair.store_a.control.mend()  # everybody is compared: the old name is on its way
        await trio.sleep(0.5)
        await scene.rename()
        await trio.sleep(AWAY)
        names = [event["displayName"] for event in scene.bob.waiting() if event["type"] == "member_updated"]
        assert names == ["Countess"]


# Steps of a hello

STEPS = [
    "before the database is read",
    "after the database was read",
    "before it is counted",
    "after it was counted",
]


@pytest.mark.parametrize("fault", ["none", "lost unnoticed", "link of the receiving server", "late", "the database"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("action", ["sign_out", "forget_me", "rename"])
async def test_at_whichever_step_of_a_hello_it_is_done_it_holds(
    autojump_clock: MockClock, action: str, step: str, fault: str
) -> None:
    gate = Gate("none yet")
    async with a_pair(gate) as pair:
        there = await pair.arrive(pair.b, "Ada")
        seconds = SOON
        if fault in FAULTS:
            begin, seconds = FAULTS[fault]
            await begin(pair)
        gate.step = step
        here = pair.a.connect()
        here.say("hello", token=pair.tokens["Ada"])
        await gate.reached.wait()
        fields = {"displayName": "Countess"} if action == "rename" else {}
        await persist(there, "update_profile" if fields else action, **fields)
        await trio.testing.wait_all_tasks_blocked()
        if fault == "the database":
            pair.repository.state = "down"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(undo, pair)
            gate.opened.set()
            if fault == "the database":
                await trio.sleep(1)
                pair.repository.state = "up"
            await trio.sleep(seconds)
            if (fault, step) == ("the database", STEPS[0]):
                assert (await here.hear())["code"] == "persistence_unavailable", "nobody signed in"
                return
            if action == "rename":
                assert (await here.ask("hello"))["displayName"] == "Countess"
            else:
                assert here.closed is not None
                assert here.closed[0] == 4401


async def test_a_hello_that_a_slow_database_answers_after_the_notice_is_refused(autojump_clock: MockClock) -> None:
    gate = Gate("after the database was read")
    async with a_pair() as pair:
        there = await pair.arrive(pair.b, "Ada")
        pair.repository.gate = gate
        here = pair.a.connect()
        here.say("hello", token=pair.tokens["Ada"])
        await gate.reached.wait()
        await there.ask("sign_out")
        gate.opened.set()
        assert (await here.hear())["code"] == "invalid_token", "not even a welcome"
        assert (await here.end())[0] == 4401


# Steps of an erasure

OPENED: dict[str, bool] = {"before the account is erased": True, "after the account was erased": False}


@pytest.mark.parametrize("b_dies", [False, True])
@pytest.mark.parametrize("step", OPENED)
async def test_a_room_that_is_opened_during_an_erasure_is_closed_too(
    autojump_clock: MockClock, step: str, b_dies: bool
) -> None:
    gate = Gate(step)
    async with a_pair(gate) as pair:
        scene = await Scene.begin(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.forget_me)
            await gate.reached.wait()
            answer = await scene.here.ask("create_room")
            assert (answer["type"] == "room") == OPENED[step]
            room_id = answer.get("roomId", scene.room_id)
            if OPENED[step]:
                assert (await scene.bob.ask("join", roomId=room_id))["type"] == "joined"
            pair.store_b.control.link.cut = b_dies
            gate.opened.set()
            with trio.fail_after(UNNOTICED if b_dies else SOON):
                await scene.bob.until("room_closed", roomId=room_id)
                await scene.here.end()
        assert scene.is_ended()
        assert pair.memory.rooms[room_id].closed is not None
        refused = await scene.bob.ask("send", roomId=room_id, content="anybody here?")
        assert refused["code"] in ("not_member", "room_not_found")


@pytest.mark.parametrize("action", ["sign_out", "forget_me"])
async def test_what_the_database_did_without_saying_so_holds_too(autojump_clock: MockClock, action: str) -> None:
    async with a_pair() as pair:
        scene = await Scene.begin(pair)
        pair.repository.unknown = True
        assert (await scene.there.ask(action))["code"] == "persistence_unavailable"
        await trio.sleep(UNNOTICED)
        assert scene.is_ended()
        assert scene.there.closed is not None


# Memory, while the database is away


@pytest.mark.parametrize("action", ["sign_out", "forget_me"])
@pytest.mark.parametrize(
    "fault", ["none", "lost unnoticed", "link of the receiving server", "link of the one who tells"]
)
async def test_nobody_who_was_revoked_is_welcomed_from_memory(
    autojump_clock: MockClock, action: str, fault: str
) -> None:
    begin, seconds = FAULTS[fault]
    async with a_pair() as pair:
        there = await pair.arrive(pair.b, "Ada")
        here = await pair.arrive(pair.a, "Ada")
        here.leave()
        await trio.sleep(1)
        await begin(pair)
        await persist(there, action)
        pair.repository.state = "down"

        async def come_back() -> None:
            back = pair.a.connect()
            answer = await back.ask("hello", token=pair.tokens["Ada"])
            assert answer["code"] in ("invalid_token", "persistence_unavailable")

        if fault == "link of the one who tells":
            await undo(pair)  # until it is back nobody but that server knows
            await trio.sleep(SOON)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(undo, pair)
            for _ in range(10):
                await come_back()
                await trio.sleep(seconds / 10)
        await come_back()
        pair.repository.state = "up"


async def test_who_comes_back_waits_for_no_answer_of_the_database(autojump_clock: MockClock) -> None:
    async with a_pair() as pair:
        here = await pair.arrive(pair.a, "Ada")
        here.leave()
        await trio.sleep(1)
        pair.repository.state = "hung"
        began = trio.current_time()
        back = pair.a.connect()
        assert (await back.ask("hello", token=pair.tokens["Ada"]))["type"] == "welcome"
        assert trio.current_time() == began
        pair.repository.state = "up"


async def test_a_known_room_whose_rules_the_store_has_just_forgotten_admits_nobody_uninvited(
    autojump_clock: MockClock,
) -> None:
    async with a_pair() as pair:
        ada = await pair.arrive(pair.b, "Ada")
        bob, eve = await pair.arrive(pair.a, "Bob"), await pair.arrive(pair.a, "Eve")
        room_id = await pair.b.open_room(ada)
        assert (await bob.ask("join", roomId=room_id))["type"] == "joined"
        await bob.ask("leave", roomId=room_id)
        await ada.ask("update_room", roomId=room_id, access="invite")
        await trio.sleep(1)
        pair.memory.go_down()
        pair.memory.come_back(with_memory=False)  # the servers have not noticed yet
        assert (await eve.ask("join", roomId=room_id))["code"] == "invite_required"


async def test_after_a_loss_the_database_has_to_confirm_before_anybody_is_welcomed_from_memory(
    autojump_clock: MockClock,
) -> None:
    async with a_pair() as pair:
        here = await pair.arrive(pair.a, "Ada")
        room_id = await pair.a.open_room(here)
        here.leave()
        await trio.sleep(1)

        async def answers() -> tuple[Any, Any]:
            pair.repository.state = "down"
            back = pair.a.connect()
            welcome = await back.ask("hello", token=pair.tokens["Ada"])
            joined = await back.ask("join", roomId=room_id)
            back.leave()
            return welcome.get("code", welcome["type"]), joined.get("code", joined["type"])

        assert await answers() == ("welcome", "joined")
        pair.store_a.control.link.cut = True
        pair.store_a.control.mend()
        await trio.sleep(SOON)
        assert await answers() == ("persistence_unavailable", "unauthenticated"), "it may have been revoked meanwhile"
        pair.repository.state = "up"
        await trio.sleep(SOON)
        assert await answers() == ("welcome", "joined"), "people who are not connected are confirmed too"
        pair.repository.state = "up"


async def test_with_the_database_away_the_store_ends_whom_it_knows_to_be_revoked(autojump_clock: MockClock) -> None:
    async with a_pair() as pair:
        scene = await Scene.begin(pair)
        pair.store_a.control.link.cut = True
        await scene.there.ask("sign_out")
        pair.repository.state = "hung"
        await trio.sleep(AWAY)
        assert scene.here.closed is None
        pair.store_a.control.mend()
        await trio.sleep(SOON)
        assert scene.is_ended()
        pair.repository.state = "up"


async def test_with_neither_database_nor_store_nobody_is_welcomed(autojump_clock: MockClock) -> None:
    async with a_pair() as pair:
        here = await pair.arrive(pair.a, "Ada")
        here.leave()
        await trio.sleep(1)
        pair.repository.state = "down"
        pair.store_a.control.link.cut = True
        refused = await pair.a.connect().ask("hello", token=pair.tokens["Ada"])
        assert refused["code"] == "persistence_unavailable"
        pair.repository.state = "up"


# The comparing itself


async def test_everybody_is_compared_in_batches_and_one_fault_of_the_database_ends_nobody(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reconciliation, "MOST_CHECKED", 3)
    async with a_pair() as pair:
        people = [await pair.arrive(pair.a, f"Person {number}") for number in range(10)]
        await trio.sleep(1)
        sizes: list[int] = []
        ask = pair.repository.signed_in

        async def counted(sign_ins: Any) -> Any:
            sizes.append(len(sign_ins))
            if len(sizes) == 2:
                raise ZeroDivisionError("secret text")
            return await ask(sign_ins)

        monkeypatch.setattr(pair.repository, "signed_in", counted)
        pair.repository.revoked[next(iter(pair.a.hub.sign_ins))[1]] = "9999"  # and no notice of it
        await trio.sleep(UNNOTICED)
        assert sizes == [3, 3, 3, 3, 3], "the first round failed, and was done anew with the nine that are left"
        assert "the repository failed at comparing" in caplog.text
        assert "secret" not in caplog.text
        assert [person.closed is not None for person in people] == [True, *[False] * 9]


async def test_a_database_that_is_away_ends_nobody_and_costs_one_question_a_second(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_pair() as pair:
        here = await pair.arrive(pair.a, "Ada")
        asked = 0
        ask = pair.repository.signed_in

        async def counted(sign_ins: Any) -> Any:
            nonlocal asked
            asked += 1
            return await ask(sign_ins)

        monkeypatch.setattr(pair.repository, "signed_in", counted)
        pair.repository.state = "down"
        await trio.sleep(600)
        assert 500 <= asked <= 1300, "by two servers, once a second each at most"
        assert here.closed is None
        pair.repository.state = "up"
        await trio.sleep(SOON)
        assert (await here.ask("ping"))["type"] == "pong"


async def test_a_link_that_breaks_again_and_again_does_not_fill_the_database(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_pair() as pair:
        await pair.arrive(pair.a, "Ada")
        await trio.sleep(1)
        asked = 0
        ask = pair.repository.signed_in

        async def counted(sign_ins: Any) -> Any:
            nonlocal asked
            asked += 1
            return await ask(sign_ins)

        monkeypatch.setattr(pair.repository, "signed_in", counted)
        for _ in range(1000):
            pair.store_a.control.mend()
            await trio.sleep(0.01)
        assert asked <= 25
