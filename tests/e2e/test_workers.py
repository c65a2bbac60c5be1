"""`evanesce serve --workers`: several processes on one port, whichever of them ends, and however."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from functools import partial

import pytest
import trio

from evanesce.cli.client import Disconnected, Ending, Refused, Unreachable
from evanesce.errors import CloseCode
from tests.e2e.people import PATIENCE, Person, conversation, ids, until
from tests.e2e.running import START_SECONDS, Server, alive, arguments_of
from tests.e2e.talkers import Talk, check_contents, check_record
from tests.e2e.wanderers import Wanderer, a_moment, all_are_there, tells_of

SECRET = "s" * 32
SHARED = (
    "limits.messages_per_second=100000",
    "limits.burst=100000",
    f"server.secret={SECRET}",
    "plugins.quart.metrics_public=true",
)
WANDERERS = 6
RESTART_SECONDS = 120.0
"""How long a restart of all workers may take on a machine with much else to do."""

Serve = Callable[..., Server]


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
            present = self.person.present
            await until(lambda: present.ending is not None, float("inf"))  # noqa: B023 - it is awaited here
            assert present.ending is not None
            self.endings.append(present.ending)
            await trio.sleep(present.ending.reconnect_after or 0.0)
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


class Gathering:
    """A room with residents on every worker, and with others who come and go and talk."""

    def __init__(self, server: Server, talk: Talk, residents: list[Resident], wanderers: list[Wanderer]) -> None:
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
        wanderers = [Wanderer(one, talk, random.Random(n), texts, [server]) for n, one in enumerate(people)]
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
        for resident in self.residents:
            assert ids(resident.person.messages()) == order, "one order, on whichever worker"
            await all_are_there(resident.person, talk, {person.user_id for person in people})


async def test_people_on_all_workers_are_in_one_room(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=3")
    gathering = await Gathering.of(server, nursery)

    async def nothing() -> None:
        pass

    await gathering.live_through(nothing)
    assert min((await sessions(server)).values()) >= 2
    assert sorted(server.workers()) == [1, 2, 3]
    assert server.listeners() == 3
    assert [resident.endings for resident in gathering.residents] == [[]] * len(gathering.residents)
    assert "listening on" not in server.errors
    for process in server.workers().values():
        assert not any(SECRET in argument for argument in arguments_of(process)), "anybody may read a command line"


async def test_a_killed_worker_is_started_again_and_nothing_is_lost(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    gathering = await Gathering.of(server, nursery)
    before = server.workers()

    async def kill() -> None:
        os.kill(before[1], signal.SIGKILL)
        await until(lambda: server.listeners() == 2 and server.workers().get(1) != before[1], START_SECONDS)

    await gathering.live_through(kill)
    assert server.workers()[2] == before[2]
    endings = [ending.code for resident in gathering.residents for ending in resident.endings]
    assert endings == [1006] * len(endings)
    assert len(endings) >= 2, "those who were on the worker that was killed"
    assert "worker 1 ended with -9" in server.errors


async def test_who_does_not_come_back_from_a_killed_worker_has_left(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    people = await arrive_everywhere(server, nursery, 1)
    room_id = (await people[0].ask("create_room"))["roomId"]
    for person in people:
        await person.join(room_id)
    os.kill(server.workers()[1], signal.SIGKILL)
    await until(lambda: any(person.present.ending is not None for person in people))
    await until(lambda: "worker 1 ended" in server.errors)
    gone = [person for person in people if person.present.ending is not None]
    stayed = [person for person in people if person.present.ending is None]
    # A lease lasts longer than these people wait: the one that was started again has cleared up.
    for person in stayed:
        await all_are_there(person, Talk(room_id, 0.0), {one.user_id for one in stayed})
    assert len(gone) + len(stayed) == len(people)
    assert gone
    assert stayed


async def test_a_restart_takes_one_worker_after_the_other(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=3")
    gathering = await Gathering.of(server, nursery)
    before = server.workers()
    serving: set[int] = set()

    async def restart() -> None:
        server.send_signal(signal.SIGHUP)

        def done() -> bool:
            serving.add(server.listeners())
            return "all workers were restarted" in server.errors

        await until(done, RESTART_SECONDS)

    await gathering.live_through(restart)
    assert min(serving) == 2, "never is more than one away"
    after = server.workers()
    assert sorted(after) == [1, 2, 3]
    assert set(before.values()).isdisjoint(after.values())
    delays: list[float] = []
    for resident in gathering.residents:
        assert resident.endings
        for ending in resident.endings:
            assert (ending.code, ending.reconnect) == (CloseCode.RESTARTING, True)
            assert ending.reconnect_after is not None
            delays.append(ending.reconnect_after)
        goodbyes = [event for event in resident.person.record if event["type"] == "goodbye"]
        assert [goodbye["code"] for goodbye in goodbyes] == [CloseCode.RESTARTING] * len(resident.endings)
    assert len(set(delays)) == len(delays) > 3, "they do not all come back at once"
    assert min(delays) >= 0.5
    assert "is started again" not in server.errors


async def test_a_request_that_was_taken_in_is_answered_before_its_worker_goes(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2")
    body = b'{"provider": "guest", "displayName": "Ana"}'
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with AsyncExitStack() as stack:
        requests = [
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port)) for _ in range(16)
        ]  # as the kernel chooses, on either
        for request in requests:
            await request.send_all(head % len(body))
        server.send_signal(signal.SIGHUP)
        await until(lambda: server.listeners() == 1)
        for request in requests:
            await request.send_all(body)
        with trio.fail_after(PATIENCE):
            answers = [await request.receive_some() for request in requests]
    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 201 "] * len(requests)


async def test_a_restart_that_is_asked_for_during_a_restart_follows_it(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2")
    before = server.workers()
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.workers().get(1) != before[1], RESTART_SECONDS)
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.errors.count("all workers were restarted") == 2, RESTART_SECONDS)
    assert server.listeners() == 2


async def test_a_restart_takes_a_new_configuration_and_stops_at_one_that_cannot_be_used(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2")
    before = server.workers()
    configuration = server.folder / "config.toml"
    configuration.write_text("[messages]\nttl = 0")
    server.send_signal(signal.SIGHUP)
    await until(lambda: "evanesce: messages.ttl: expected a number" in server.errors, RESTART_SECONDS)
    assert server.workers()[2] == before[2], "the others go on"
    assert server.listeners() == 1
    configuration.write_text("[messages]\nttl = 7")
    await until(lambda: "all workers were restarted" in server.errors, RESTART_SECONDS)
    assert server.listeners() == 2
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            person = Person(server, nursery, "Ana")
            assert (await person.connect())["messageTtl"] == 7
            await person.leave()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_of_them(serve: Serve, nursery: trio.Nursery, number: int) -> None:
    server = serve(*SHARED, "server.workers=2")
    people = await arrive_everywhere(server, nursery, 1)
    room_id = (await people[0].ask("create_room"))["roomId"]
    for person in people:
        await person.join(room_id)
    processes = [*server.workers().values(), server.valkey()[0]]
    server.send_signal(number)
    for person in people:
        goodbye = await person.hears_of("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == (CloseCode.GOING_AWAY, True)
        assert (await person.is_sent_away()).code == CloseCode.GOING_AWAY
    assert await trio.to_thread.run_sync(server.wait) == 0
    assert not any(alive(process) for process in processes)
    with closing(sqlite3.connect(server.database)) as database:
        leaves = database.execute('SELECT leaveTime FROM "SessionLog"').fetchall()
    assert len(leaves) == len(people)
    assert None not in (leave for (leave,) in leaves)


async def test_a_killed_supervisor_leaves_nothing_behind(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    people = await arrive_everywhere(server, nursery, 1)
    processes = [*server.workers().values(), server.valkey()[0]]
    await trio.to_thread.run_sync(server.kill)
    for person in people:
        assert (await person.is_sent_away()).code == CloseCode.GOING_AWAY, "they are told, all the same"
    await until(lambda: not any(alive(process) for process in processes), 30)
    assert server.listeners() == 0
    await trio.to_thread.run_sync(server.start)


async def test_all_workers_have_one_valkey_which_comes_back(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    people = await arrive_everywhere(server, nursery, 1)
    room_id = (await people[0].ask("create_room"))["roomId"]
    for person in people:
        await person.join(room_id)
    with server.redis() as valkey:
        subscribers = valkey.client_list(_type="pubsub")
        assert len(subscribers) == 2
    killed = server.valkey()[0]
    os.kill(killed, signal.SIGKILL)

    async def say(person: Person, content: str) -> None:
        while True:
            try:
                await person.say(room_id, content)
            except Refused as refused:
                await a_moment(refused)
            else:
                return

    with trio.fail_after(PATIENCE):
        for number, person in enumerate(people):
            await say(person, f"back again {number}")
        for person in people:
            for number in range(len(people)):
                await person.hears_of("message", content=f"back again {number}")
    assert server.valkey()[0] != killed
    assert all(person.present.ending is None for person in people)
