"""`evanesce serve --workers`: several processes on one port, whichever of them ends, and however."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing

import pytest
import trio

from evanesce.client.errors import Refused
from evanesce.errors import CloseCode
from tests.e2e.clients import ChatClient, until
from tests.e2e.reconnecting import check_members, wait_before_retry
from tests.e2e.running import START_SECONDS, Server, alive, arguments_of
from tests.e2e.worker_load import WorkerLoad, connect_to_all_workers, sessions
from tests.patience import PATIENCE, Taken, undisturbed

pytestmark = pytest.mark.slow

SECRET = "s" * 32
SHARED = (
    "limits.messages_per_second=100000",
    "limits.burst=100000",
    f"server.secret={SECRET}",
    "plugins.quart.metrics_public=true",
)
LEASES = "evanesce:{servers}:leases"
RESTART_SECONDS = 120.0
"""How long a restart of all workers may take on a machine with much else to do."""

Serve = Callable[..., Server]


async def test_people_on_all_workers_are_in_one_room(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=3")
    load = await WorkerLoad.start(server, nursery)

    async def nothing() -> None:
        pass

    await load.run_during(nothing)
    assert min((await sessions(server)).values()) >= 2
    assert sorted(server.workers()) == [1, 2, 3]
    assert server.listeners() == 3
    assert [client.close_reasons for client in load.clients] == [[]] * len(load.clients)
    assert "listening on" not in server.errors
    for process in server.workers().values():
        assert not any(SECRET in argument for argument in arguments_of(process)), "anybody may read a command line"


async def test_a_killed_worker_is_started_again_and_nothing_is_lost(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    load = await WorkerLoad.start(server, nursery)
    before = server.workers()

    async def kill() -> None:
        os.kill(before[1], signal.SIGKILL)
        await until(lambda: server.listeners() == 2 and server.workers().get(1) != before[1], START_SECONDS)

    await load.run_during(kill)
    assert server.workers()[2] == before[2]
    codes = [reason.code for client in load.clients for reason in client.close_reasons]
    assert codes == [1006] * len(codes)
    assert len(codes) >= 2, "those who were on the worker that was killed"
    assert "worker 1 ended with exit code -9" in server.errors


async def test_who_does_not_come_back_from_a_killed_worker_has_left(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    clients = await connect_to_all_workers(server, nursery, 1)
    room_id = (await clients[0].ask("create_room"))["roomId"]
    for client in clients:
        await client.join(room_id)

    def lease() -> float:
        """Until when others leave the people of worker 1 in their rooms, in seconds since 1970."""
        with server.redis() as redis:
            [end] = [end for name, end in redis.zrange(LEASES, 0, -1, withscores=True) if b"/1." in name]
        return float(end) / 1000

    before = lease()
    await until(lambda: lease() > before)  # it was renewed at this moment
    end, taken = lease(), Taken()
    os.kill(server.workers()[1], signal.SIGKILL)
    await until(lambda: any(client.connection.close_reason is not None for client in clients))
    await until(lambda: "worker 1 ended" in server.errors)
    gone = [client for client in clients if client.connection.close_reason is not None]
    stayed = [client for client in clients if client.connection.close_reason is None]
    for client in stayed:
        await check_members(client, room_id, {one.user_id for one in stayed})
    assert time.time() < end + taken.seconds(), "the one that was started again has cleared up"
    assert gone
    assert stayed


async def test_a_restart_takes_one_worker_after_the_other(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=3")
    load = await WorkerLoad.start(server, nursery)
    before = server.workers()
    serving: set[int] = set()

    async def restart() -> None:
        server.send_signal(signal.SIGHUP)

        def done() -> bool:
            serving.add(server.listeners())
            return "all workers were restarted" in server.errors

        await until(done, RESTART_SECONDS)

    await load.run_during(restart)
    assert min(serving) == 2, "never is more than one away"
    after = server.workers()
    assert sorted(after) == [1, 2, 3]
    assert set(before.values()).isdisjoint(after.values())
    delays: list[float] = []
    for client in load.clients:
        assert client.close_reasons
        for reason in client.close_reasons:
            assert (reason.code, reason.reconnect) == (CloseCode.RESTARTING, True)
            assert reason.reconnect_after is not None
            delays.append(reason.reconnect_after)
        goodbyes = [event for event in client.chat.record if event["type"] == "goodbye"]
        assert len(goodbyes) >= len(client.close_reasons), "more, where one was sent away while coming back"
        assert {goodbye["code"] for goodbye in goodbyes} == {CloseCode.RESTARTING}
    assert len(set(delays)) > len(delays) / 2, "they do not all come back at once"
    assert min(delays) >= 0.5
    assert "starting it again" not in server.errors


async def test_a_request_that_was_taken_in_is_answered_before_its_worker_goes(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2")
    await undisturbed(lambda: requests_are_answered(server))  # the worker waits 2 s for them


async def requests_are_answered(server: Server) -> None:
    """Begin requests to both workers, end one of these, and finish the requests."""
    await until(lambda: server.listeners() == 2, RESTART_SECONDS)
    body = b'{"provider": "guest", "displayName": "Ana"}'
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    async with AsyncExitStack() as stack:
        requests = [
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port)) for _ in range(16)
        ]  # as the kernel chooses, on either
        for request in requests:
            await request.send_all(head % len(body))
        # To the worker itself: its supervisor would try the configuration first, for longer than a request may take.
        os.kill(server.workers()[1], signal.SIGHUP)
        await until(lambda: server.listeners() == 1)
        answers = [await answer_to(request, body) for request in requests]
    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 201 "] * len(requests)


async def answer_to(request: trio.SocketStream, body: bytes) -> bytes:
    """Send the rest of a request, and return the answer: nothing if the connection was closed instead."""
    try:
        await request.send_all(body)
        with trio.fail_after(PATIENCE):
            return await request.receive_some()
    except trio.BrokenResourceError:
        return b""


async def test_a_restart_that_is_asked_for_during_a_restart_follows_it(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2")
    before = server.workers()
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.workers().get(1) != before[1], RESTART_SECONDS)
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.errors.count("all workers were restarted") == 2, RESTART_SECONDS)
    assert server.listeners() == 2


async def test_a_restart_takes_a_new_configuration_but_for_what_its_supervisor_keeps(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2")
    kept = "[server]\nnode = 'other'\nlame_duck_seconds = 1\ndrain_seconds = 9"
    (server.folder / "config.toml").write_text(f"{kept}\n[messages]\nttl = 7")
    server.send_signal(signal.SIGHUP)
    await until(lambda: "all workers were restarted" in server.errors, RESTART_SECONDS)
    assert server.listeners() == 2
    for key in ("node", "lame_duck_seconds", "drain_seconds"):
        assert f"server.{key} has changed, but a restart by SIGHUP does not change it" in server.errors
    assert "server.workers has changed" not in server.errors
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            client = ChatClient(server, nursery, "Ana")
            assert (await client.connect())["messageTtl"] == 7
            await client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_of_them(serve: Serve, nursery: trio.Nursery, number: int) -> None:
    server = serve(*SHARED, "server.workers=2")
    clients = await connect_to_all_workers(server, nursery, 1)
    room_id = (await clients[0].ask("create_room"))["roomId"]
    for client in clients:
        await client.join(room_id)
    processes = [*server.workers().values(), server.valkey()[0]]
    server.send_signal(number)
    for client in clients:
        goodbye = await client.wait_for_event("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == (CloseCode.GOING_AWAY, True)
        assert (await client.wait_closed_by_server()).code == CloseCode.GOING_AWAY
    assert await trio.to_thread.run_sync(server.wait) == 0
    assert not any(alive(process) for process in processes)
    with closing(sqlite3.connect(server.database)) as database:
        leaves = database.execute('SELECT leaveTime FROM "SessionLog"').fetchall()
    assert len(leaves) == len(clients)
    assert None not in (leave for (leave,) in leaves)


async def test_a_killed_supervisor_leaves_nothing_behind(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    clients = await connect_to_all_workers(server, nursery, 1)
    processes = [*server.workers().values(), server.valkey()[0]]
    await trio.to_thread.run_sync(server.kill)
    for client in clients:
        assert (await client.wait_closed_by_server()).code == CloseCode.GOING_AWAY, "they are told, all the same"
    await until(lambda: not any(alive(process) for process in processes), 30)
    assert server.listeners() == 0
    await trio.to_thread.run_sync(server.start)


async def test_all_workers_have_one_valkey_which_comes_back(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*SHARED, "server.workers=2")
    clients = await connect_to_all_workers(server, nursery, 1)
    room_id = (await clients[0].ask("create_room"))["roomId"]
    for client in clients:
        await client.join(room_id)
    with server.redis() as valkey:
        subscribers = valkey.client_list(_type="pubsub")
        assert len(subscribers) == 2
    killed = server.valkey()[0]
    os.kill(killed, signal.SIGKILL)

    async def say(client: ChatClient, content: str) -> None:
        while True:
            try:
                await client.say(room_id, content)
            except Refused as refused:
                await wait_before_retry(refused)
            else:
                return

    with trio.fail_after(PATIENCE):
        for number, client in enumerate(clients):
            await say(client, f"back again {number}")
        for client in clients:
            for number in range(len(clients)):
                await client.wait_for_event("message", content=f"back again {number}")
    assert server.valkey()[0] != killed
    assert all(client.connection.close_reason is None for client in clients)


async def test_one_scrape_has_all_workers_and_says_which_do_not_answer(serve: Serve) -> None:
    server = serve(*SHARED, "server.workers=2")
    await until(lambda: server.listeners() == 2, RESTART_SECONDS)
    both = metrics_by_worker(await first_answer(server))
    assert sorted(both) == ["1", "2"]
    assert both["1"] == both["2"], "the same metrics of each"
    assert {"evanesce_sessions", "process_cpu_seconds_total", "evanesce_event_loop_delay_seconds_bucket"} <= both["1"]
    stopped = server.workers()[2]
    os.kill(stopped, signal.SIGSTOP)
    try:
        text = await first_answer(server)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert metrics_by_worker(text) == {"1": both["1"], "2": {"evanesce_worker_up"}}
    assert 'evanesce_worker_up{worker="1"} 1.0' in text
    assert 'evanesce_worker_up{worker="2"} 0.0' in text


async def first_answer(server: Server) -> str:
    """Ask for the metrics on so many connections that each worker has some, and return the first whole answer."""
    answers: list[str] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answers.append(b"".join([part async for part in stream]).decode())
                nursery.cancel_scope.cancel()

        for _ in range(16):
            nursery.start_soon(ask)
    return answers[0]


def metrics_by_worker(text: str) -> dict[str, set[str]]:
    """Return the names of the metrics of each worker."""
    found: dict[str, set[str]] = {}
    for name, worker in re.findall(r'^(\w+)\{[^}]*worker="(\d)"[^}]*\} ', text, re.MULTILINE):
        found.setdefault(worker, set()).add(name)
    return found
