"""Several workers on one port: the people of a room that they name in the address are on one worker."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import trio

from evanesce.workers.placement import SLACK_CONNECTIONS, SLACK_SHARE
from tests.e2e.clients import PATIENCE, ChatClient, until
from tests.e2e.load import Transcript
from tests.e2e.running import START_SECONDS, TRANSPORTS, Server
from tests.e2e.test_workers import RESTART_SECONDS, SHARED
from tests.e2e.worker_load import SENDERS, LongLivedClient, Sender, WorkerLoad, metric_of_workers, sessions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("not sys.platform.startswith('linux')", reason="workers pass connections on Linux alone"),
]

Serve = Callable[..., Server]


class HintedServer:
    """Where the clients of one room connect: they name it in the address."""

    def __init__(self, server: Server, room_id: str, transport: str = "quart") -> None:
        self.ws_url = f"ws://127.0.0.1:{server.ports[transport]}/ws?roomId={room_id}"


def descriptors(server: Server) -> dict[int, int]:
    """Return how many descriptors each worker has open."""
    return {worker: len(os.listdir(f"/proc/{process}/fd")) for worker, process in server.workers().items()}


async def create_room(server: Server) -> str:
    return str((await trio.to_thread.run_sync(server.open_room))["roomId"])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_people_of_each_room_are_on_one_worker_and_their_descriptors_go_with_them(
    serve: Serve, nursery: trio.Nursery, transport: str
) -> None:
    quart_first = ("quart",) if transport == "quart" else ("quart", transport)
    server = serve(*SHARED, "server.workers=3", transports=quart_first)
    rooms = [await create_room(server) for _ in range(4)]
    await sessions(server)
    before = descriptors(server)
    placed: set[int] = set()
    for room_id in rooms:
        already = await sessions(server)
        place = HintedServer(server, room_id, transport)
        people = [await ChatClient.open(place, nursery, f"Client {number}") for number in range(8)]
        for person in people:
            await person.join(room_id)
        await people[0].say(room_id, "hello")
        for person in people:
            await person.wait_for_event("message", content="hello")
        now = await sessions(server)
        [worker] = [worker for worker, count in now.items() if count > already[worker]]
        assert now[worker] == already[worker] + 8
        placed.add(worker)
        for person in people:
            await person.close()
    assert sum((await metric_of_workers(server, "connections_passed_total")).values()) >= 1
    with trio.fail_after(PATIENCE):
        while any((await sessions(server)).values()):  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.05)
    await until(lambda: all(count <= before[worker] + 2 for worker, count in descriptors(server).items()))
    assert placed <= {1, 2, 3}


async def test_a_crowd_that_names_one_room_overloads_no_worker(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2", "limits.hello_seconds=600", "limits.handshakes_per_second=100000")
    room_id = await create_room(server)
    request = (
        f"GET /ws?roomId={room_id} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    crowd = 400

    def gather(stack: ExitStack) -> None:
        for _ in range(crowd):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
            client.sendall(request)
            assert client.recv(4096).startswith(b"HTTP/1.1 101 ")

    with ExitStack() as stack:
        await trio.to_thread.run_sync(gather, stack)
        found = await sessions(server)
    assert sum(found.values()) == crowd
    # One at a time, so each worker knows of all before it. A few requests for metrics are counted as well.
    assert max(found.values()) <= crowd / 2 * (1 + SLACK_SHARE) + SLACK_CONNECTIONS + 5


async def start_hinted(server: Server, nursery: trio.Nursery) -> WorkerLoad:
    """Start a load whose clients all name their room."""
    room_id = await create_room(server)
    place = HintedServer(server, room_id)
    clients = [LongLivedClient(await ChatClient.open(place, nursery, f"Client {number}")) for number in range(8)]
    for client in clients:
        await client.chat.join(room_id)
    transcript = Transcript(room_id, float("inf"))
    texts = ["a", "b", "c"]
    chats = [await ChatClient.open(place, nursery, f"Sender {number}") for number in range(SENDERS)]
    senders = [Sender(chat, transcript, random.Random(n), texts, [place]) for n, chat in enumerate(chats)]
    for sender in senders:
        await sender.ask("join")
    return WorkerLoad(server, transcript, clients, senders)


async def test_a_restart_loses_nothing_of_those_who_name_their_room(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=3")
    load = await start_hinted(server, nursery)
    before = server.workers()

    async def restart() -> None:
        server.send_signal(signal.SIGHUP)
        await until(lambda: "all workers were restarted" in server.errors, RESTART_SECONDS)

    await load.run_during(restart)
    assert set(before.values()).isdisjoint(server.workers().values())
    assert "starting it again" not in server.errors


async def test_a_killed_worker_takes_only_its_own_connections_with_it(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    load = await start_hinted(server, nursery)
    before = await sessions(server)
    worker = max(before, key=lambda number: before[number])
    process = server.workers()[worker]

    async def kill() -> None:
        os.kill(process, signal.SIGKILL)
        back = partial(_is_back, server, worker, process)
        await until(back, START_SECONDS)

    await load.run_during(kill)
    assert f"worker {worker} ended with exit code -9" in server.errors


def _is_back(server: Server, worker: int, killed: int) -> bool:
    return server.listeners() == 2 and server.workers().get(worker, killed) != killed


async def test_a_worker_that_hangs_holds_up_nobody_who_tries_again(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    room_id = await create_room(server)
    member = await ChatClient.open(HintedServer(server, room_id), nursery, "Ana")
    await member.join(room_id)
    before = await sessions(server)
    [other] = [worker for worker, count in before.items() if not count]
    stopped = server.workers()[3 - other]
    os.kill(stopped, signal.SIGSTOP)
    try:
        found: list[Any] = []
        with trio.fail_after(PATIENCE):
            while not found:  # without the hint, until the kernel chooses the other one
                with trio.move_on_after(2):
                    found.append(await ChatClient.open(server, nursery, "Ben"))
    finally:
        os.kill(stopped, signal.SIGCONT)
    await found[0].join(room_id)
    await found[0].say(room_id, "hello")
    await member.wait_for_event("message", content="hello")
