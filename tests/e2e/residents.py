"""People on every worker of one server: who stays and comes back as the protocol says, and who comes and goes."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from evanesce.cli.client import Disconnected, Ending, Refused, Unreachable
from tests.e2e.people import PATIENCE, Person, conversation, ids, until
from tests.e2e.running import Server
from tests.e2e.talkers import Talk, check_contents, check_record
from tests.e2e.wanderers import Wanderer, a_moment, all_are_there, tells_of

WANDERERS = 6


async def sessions(server: Server) -> dict[int, int]:
    """Count the connections of each worker: each is asked, by asking until all have answered."""
    found: dict[int, int] = {}
    with trio.fail_after(PATIENCE):
        while found.keys() != server.workers().keys():
            _, metrics = await trio.to_thread.run_sync(server.ask, "GET", "/metrics")
            worker, count = (
                re.search(rf"^evanesce_{name} (\d+)\.0$", metrics.decode(), re.MULTILINE)
                for name in ("worker", "sessions")
            )
            assert worker is not None
            assert count is not None
            found[int(worker[1])] = int(count[1])
    return found


async def arrive_everywhere(server: Server, nursery: trio.Nursery, least: int) -> list[Person]:
    """Have people arrive until each worker has `least` of them; the kernel chooses the worker."""
    people: list[Person] = []
    while min((await sessions(server)).values()) < least:
        people.append(await Person.arrive(server, nursery, f"Person {len(people)}"))
    return people


class Resident:
    """Somebody who never leaves a room, and who comes back as the server's goodbye says."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.endings: list[Ending] = []

    async def stay(self, room_id: str) -> None:
        while True:
            await self.person.hears_the_end()
            ending = self.person.present.ending
            assert ending is not None
            self.endings.append(ending)
            await trio.sleep(ending.reconnect_after or 0.0)
            await self.come_back(room_id)

    async def come_back(self, room_id: str) -> None:
        while True:
            try:
                await self.person.connect()
                await self.person.join(room_id, self.person.cursor(room_id))
            except (Unreachable, Disconnected):
                continue
            except Refused as refused:
                await a_moment(refused)
            else:
                return


class Faithful(Wanderer):
    """A wanderer who takes nothing back: so there is nothing that anybody may have missed."""

    async def take_back(self) -> None:
        await self.speak()


class Gathering:
    """A room with residents on every worker, and with others who come and go and talk."""

    def __init__(self, server: Server, talk: Talk, residents: list[Resident], wanderers: list[Faithful]) -> None:
        self.server = server
        self.talk = talk
        self.residents = residents
        self.wanderers = wanderers

    @classmethod
    async def of(cls, server: Server, nursery: trio.Nursery) -> Gathering:
        residents = [Resident(person) for person in await arrive_everywhere(server, nursery, 2)]
        room_id = (await residents[0].person.ask("create_room"))["roomId"]
        for resident in residents:
            await resident.person.join(room_id)
        talk = Talk(room_id, float("inf"))
        texts = conversation()
        people = [await Person.arrive(server, nursery, f"Wanderer {number}") for number in range(WANDERERS)]
        wanderers = [Faithful(one, talk, random.Random(n), texts, [server]) for n, one in enumerate(people)]
        for wanderer in wanderers:
            await wanderer.ask("join")
        return cls(server, talk, residents, wanderers)

    async def live_through(self, trouble: Callable[[], Awaitable[None]]) -> None:
        """Have all of them there and talking while `trouble` comes, then check what each was told."""
        async with trio.open_nursery() as staying:
            for resident in self.residents:
                staying.start_soon(resident.stay, self.talk.room_id)
            async with trio.open_nursery() as talking:
                for wanderer in self.wanderers:
                    talking.start_soon(wanderer.live, 0.0)
                await until(lambda: len(self.talk.acknowledged) >= 5)
                await trouble()
                said = len(self.talk.acknowledged)
                await until(lambda: len(self.talk.acknowledged) >= said + 5)
                self.talk.until = 0.0
            await self.check()
            staying.cancel_scope.cancel()

    async def check(self) -> None:
        wanderers, talk = self.wanderers, self.talk
        message = talk.new_message(wanderers[0].person, "And that was all.")
        await wanderers[0].say(message, "And that was all.")
        for wanderer in wanderers:
            await wanderer.ask("members")  # who lost the connection and had nothing to ask since comes back
        people = [resident.person for resident in self.residents] + [wanderer.person for wanderer in wanderers]
        for person in people:
            await person.hears(partial(tells_of, message))
        order = ids(self.residents[0].person.messages())
        assert len(order) == len(set(order)), "no message comes twice"
        assert set(talk.acknowledged) == set(order), "what was acknowledged was heard, and nothing else"
        for person in people:
            check_contents(person, talk)
            check_record(person, talk, order)
            assert {event["missed"] for event in person.record if event["type"] == "joined"} == {0}
        for resident in self.residents:
            assert ids(resident.person.messages()) == order, "one order, on whichever worker"
            await all_are_there(resident.person, talk, {person.user_id for person in people})
