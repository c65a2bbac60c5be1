"""Who comes back to a locked room after a restart of a deployment on one machine, whose Valkey starts with it."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
import trio

from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.e2e.test_ending import served_again
from tests.e2e.test_rule_races import outcome

pytestmark = pytest.mark.slow

SECRET = f"server.secret={'s' * 32}"


async def restart(server: Server, how: signal.Signals) -> None:
    if how is signal.SIGHUP:
        server.send_signal(how)
        await served_again(server)
        return
    await trio.to_thread.run_sync(server.kill if how is signal.SIGKILL else server.stop)
    await trio.to_thread.run_sync(server.start)


def ends(server: Server) -> tuple[int, int, int]:
    """Return how many sessions are in the log, how many of them have ended, and how many of these were lost."""
    with closing(sqlite3.connect(server.database)) as database:
        counts = database.execute('SELECT count(*), count(leaveTime), sum(lost) FROM "SessionLog"').fetchone()
    return counts[0], counts[1], counts[2]


@pytest.mark.parametrize(
    ("how", "workers"), [(signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGKILL, 1), (signal.SIGKILL, 2)]
)
async def test_the_members_of_a_locked_room_come_back_after_a_restart(
    serve: Callable[..., Server], nursery: trio.Nursery, how: signal.Signals, workers: int
) -> None:
    server = serve(SECRET, f"server.workers={workers}")
    names = ("Ana", "Bob", "lost", "left", "removed", "stranger")
    ana, bob, lost, left, removed, stranger = [await ChatClient.open(server, nursery, name) for name in names]
    room_id = (await ana.ask("create_room"))["roomId"]
    for client in (ana, bob, lost, left, removed):
        await client.join(room_id)
    await ana.ask("update_room", roomId=room_id, locked=True)
    await lost.abort()
    await left.ask("leave", roomId=room_id)
    await ana.ask("remove_member", roomId=room_id, userId=removed.user_id)
    await removed.wait_for_event("removed")
    await until(lambda: ends(server) == (5, 3, 1))
    before = server.valkey()[0]
    await restart(server, how)
    assert server.valkey()[0] != before, "Redis has lost its data"
    for client in (stranger, left, removed):
        await client.connect()
        assert await outcome(client.join(room_id)) == "room_locked", client.name
    for client in (bob, lost, ana):
        await client.connect()
        assert (await client.join(room_id))["memberCount"] >= 1, client.name
    await bob.ask("leave", roomId=room_id)
    assert await outcome(bob.join(room_id)) == "room_locked", "whoever leaves on purpose now stays out"
    await lost.abort()
    await lost.connect()
    assert await outcome(lost.join(room_id)) == "joined"


async def test_without_a_session_log_the_creator_alone_comes_back(
    serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    server = serve(SECRET, "server.session_log=false")
    ana, bob = [await ChatClient.open(server, nursery, name) for name in ("Ana", "Bob")]
    room_id = (await ana.ask("create_room"))["roomId"]
    for client in (ana, bob):
        await client.join(room_id)
    await ana.ask("update_room", roomId=room_id, locked=True)
    await restart(server, signal.SIGTERM)
    for client, expected in ((bob, "room_locked"), (ana, "joined")):
        await client.connect()
        assert await outcome(client.join(room_id)) == expected
