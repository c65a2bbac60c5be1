"""Several servers on one Valkey: people who move between them, while connections and servers are lost at random.

It lasts 20 s; for another time, up to a minute, set EVANESCE_TALK_SECONDS.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import trio

from evanesce.cli.client import Refused
from tests.e2e.people import Person, conversation, ids
from tests.e2e.running import Server
from tests.e2e.talkers import TALK_SECONDS, Talk, check_contents, check_record
from tests.e2e.valkey import Valkey
from tests.e2e.wanderers import Wanderer, a_moment, all_are_there, tells_of

ROOMS = 2
PEOPLE = 12
"""In each room."""

FAST = "limits.messages_per_second=100000", "limits.burst=100000"
REFUSED = ("store_unavailable", "message_not_found")
"""What people are told while Valkey is cut off; the second where the answer to taking something back was lost."""

FEW_BYTES, MANY_BYTES = 8192, 32 * 1024 * 1024
"""How much may wait in Valkey for a subscriber: while it is to lose one, and else."""


@pytest.fixture
def servers(serve_shared: Callable[..., Server]) -> list[Server]:
    return [serve_shared(*FAST) for _ in range(3)]


class Trouble:
    """What befalls the servers and their connections to Valkey, over and over."""

    def __init__(self, valkey: Valkey, victim: Server, talks: Sequence[Talk], loud: Sequence[Person]) -> None:
        self.valkey = valkey
        self.victim = victim
        self.talks = talks
        self.loud = loud
        self.cut = 0
        self.killed = 0
        self.overflowed = 0

    async def go_on(self, dice: random.Random) -> None:
        while trio.current_time() < self.talks[0].until:
            for trouble in dice.sample([self.cut_one, self.cut_one, self.cut_one, self.overflow, self.kill], 5):
                await trouble(dice)
                await trio.sleep(dice.uniform(0.1, 0.6))

    async def cut_one(self, dice: random.Random) -> None:
        def cut() -> None:
            connections = self.valkey.connections(dice.choice(["normal", "pubsub"]))
            if connections:
                self.valkey.cut(dice.choice(connections))
                self.cut += 1

        await trio.to_thread.run_sync(cut)

    async def overflow(self, dice: random.Random) -> None:
        """Have so much said at once that Valkey ends the subscribers' connections for what waits for them."""
        talk, person = dice.choice(list(zip(self.talks, self.loud, strict=True)))
        before = self.valkey.overflows
        await trio.to_thread.run_sync(self.valkey.keep_for_subscribers, FEW_BYTES)
        while await trio.to_thread.run_sync(lambda: self.valkey.overflows) == before:
            async with trio.open_nursery() as speaking:
                for number in range(40):
                    speaking.start_soon(self.shout, talk, person, f"{number} " + "x" * 3000)
        await trio.to_thread.run_sync(self.valkey.keep_for_subscribers, MANY_BYTES)
        self.overflowed += 1

    async def shout(self, talk: Talk, person: Person, content: str) -> None:
        message_id = talk.new_message(person, content)
        while message_id not in talk.acknowledged:
            try:
                talk.acknowledged[message_id] = await person.say(talk.room_id, content, message_id)
            except Refused as refused:
                await a_moment(refused)

    async def kill(self, dice: random.Random) -> None:
        await trio.to_thread.run_sync(self.victim.kill)
        await trio.to_thread.run_sync(self.victim.start)
        self.killed += 1


async def test_everyone_hears_the_same_on_whichever_server(
    servers: list[Server], valkey: Valkey, nursery: trio.Nursery
) -> None:
    dice = random.Random(20261125)
    texts = conversation()
    steady = servers[:2]
    talks: list[Talk] = []
    observers: list[list[Person]] = []
    end = trio.current_time() + min(TALK_SECONDS, 60)
    for number in range(ROOMS):
        watching = [await Person.arrive(server, nursery, f"Observer {number}") for server in steady]
        room_id = (await watching[0].ask("create_room"))["roomId"]
        for observer in watching:
            await observer.join(room_id)
        talks.append(Talk(room_id, end))
        observers.append(watching)
    crowds: list[list[Wanderer]] = []
    for talk in talks:
        people = [await Person.arrive(dice.choice(servers), nursery, f"Person {number}") for number in range(PEOPLE)]
        crowds.append([Wanderer(person, talk, random.Random(n), texts, servers) for n, person in enumerate(people)])
    trouble = Trouble(valkey, servers[2], talks, [watching[0] for watching in observers])
    async with trio.open_nursery() as talking:
        for crowd in crowds:
            for wanderer in crowd:
                talking.start_soon(wanderer.live, 0.0)
        talking.start_soon(trouble.go_on, dice)
    assert min(trouble.cut, trouble.killed, trouble.overflowed) > 0
    assert sum(wanderer.lost for crowd in crowds for wanderer in crowd) > 0

    for talk, watching, crowd in zip(talks, observers, crowds, strict=True):
        people = [*watching, *(wanderer.person for wanderer in crowd)]
        last = await talk.say(watching[0], "And that was all.")
        for wanderer in crowd:
            await wanderer.ask("members")  # who lost the connection and had nothing to ask since comes back
        for person in people:
            await person.hears(partial(tells_of, last))
        order = ids(watching[0].messages())
        assert order == ids(watching[1].messages()), "one order, on whichever server"
        assert len(order) == len(set(order)), "no message comes twice"
        assert set(talk.acknowledged) == set(order), "what was acknowledged was heard, and nothing else"
        assert len(order) > PEOPLE
        for person in people:
            check_contents(person, talk)
            check_record(person, talk, order, REFUSED)
        for observer in watching:
            await all_are_there(observer, talk, {person.user_id for person in people})
