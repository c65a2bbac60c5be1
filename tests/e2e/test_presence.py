"""Who is in a room, over two servers on one Valkey and one database: people are counted, not connections."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio

from evanesce.client.connection import Fields
from tests.e2e.clients import ChatClient, seconds, until
from tests.e2e.running import Server
from tests.patience import PATIENCE, Taken

pytestmark = pytest.mark.slow

LEAVES_WITHIN = 15.0
"""How long after its server was killed somebody is still in a room at most, in seconds."""


def rows(database: Path, sql: str, *values: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql, values).fetchall()


def comings_and_goings(client: ChatClient, user_id: str) -> list[tuple[str, int]]:
    """What somebody was told of another's presence, and of how many were there then."""
    kinds = ("member_joined", "member_left")
    return [(e["type"], e["memberCount"]) for e in client.record if e["type"] in kinds and e["userId"] == user_id]


async def test_one_person_on_two_servers_is_one(
    serve_shared: Callable[..., Server], nursery: trio.Nursery, database: Path
) -> None:
    one, two = serve_shared(), serve_shared()
    ada, ben = await ChatClient.open(one, nursery, "Ada"), await ChatClient.open(two, nursery, "Ben")
    room_id = (await ada.ask("create_room"))["roomId"]
    await ada.join(room_id)
    assert (await ben.join(room_id))["memberCount"] == 2
    again = await ada.open_another(two)
    joined = await again.join(room_id)
    assert joined["memberCount"] == 2
    assert {member["displayName"] for member in joined["members"]} == {"Ada", "Ben"}
    await ada.close()
    room = await ben.ask("room", roomId=room_id)
    assert (room["active"], room["memberCount"]) == (True, 2), "one of her connections is left"
    await again.ask("leave", roomId=room_id)
    await ben.wait_for_event("member_left", userId=ada.user_id, memberCount=1)
    assert comings_and_goings(ben, ada.user_id) == [("member_left", 1)], "he came when she was there"
    await ben.close()
    await until(lambda: rows(database, 'SELECT active FROM "ChatRoom"') == [(0,)])


async def test_people_of_a_killed_server_leave_once(
    serve_shared: Callable[..., Server], nursery: trio.Nursery, database: Path
) -> None:
    one, two, lost = serve_shared(), serve_shared(), serve_shared()
    unlogged = serve_shared("server.session_log=false")
    watching = [await ChatClient.open(server, nursery, "Watching") for server in (one, two)]
    gone = [await ChatClient.open(lost, nursery, f"Gone {number}") for number in range(5)]
    room_id = (await watching[0].ask("create_room"))["roomId"]
    alone = (await watching[0].ask("create_room"))["roomId"]
    for client in (*watching, *gone):
        await client.join(room_id)
    await (await ChatClient.open(unlogged, nursery, "Alone")).join(alone)
    await watching[0].wait_for_event("member_joined", userId=gone[-1].user_id)

    def open_sessions() -> list[tuple[object, ...]]:
        sql = 'SELECT userId FROM "SessionLog" WHERE leaveTime IS NULL AND server IS NOT NULL'
        return [row for row in rows(database, sql) if row[0] in {client.user_id for client in gone}]

    active = 'SELECT active FROM "ChatRoom" WHERE roomId = ?'
    await until(lambda: len(open_sessions()) == 5 and rows(database, active, alone) == [(1,)])
    for server in (lost, unlogged):
        await trio.to_thread.run_sync(server.kill)
    killed_at, taken = time.time(), Taken()
    for watcher in watching:
        with trio.fail_after(PATIENCE):
            while len([e for e in watcher.record if e["type"] == "member_left"]) < len(gone):
                await watcher.wait_for_event("member_left", after=len(watcher.record))
        left = [
            (e, at) for e, at in zip(watcher.record, watcher.received_at, strict=True) if e["type"] == "member_left"
        ]
        assert {event["userId"] for event, _ in left} == {client.user_id for client in gone}
        assert [event["memberCount"] for event, _ in left] == [6, 5, 4, 3, 2]
        assert max(at for _, at in left) - killed_at < LEAVES_WITHIN + taken.seconds()
    assert (await watching[1].ask("members", roomId=room_id))["memberCount"] == 2

    await until(lambda: not open_sessions(), 60)
    sql = 'SELECT count(*), min(leaveTime), max(leaveTime) FROM "SessionLog" WHERE roomId = ? AND leaveTime IS NOT NULL'
    [(count, first, last)] = rows(database, sql, room_id)
    assert count == len(gone)
    assert isinstance(first, str)
    assert first == last, "all at the end of the lease"
    assert abs(seconds(first) - killed_at) < LEAVES_WITHIN
    await until(lambda: rows(database, active, alone) == [(0,)], 60)
    assert rows(database, active, room_id) == [(1,)]


async def test_a_server_that_stood_still_has_its_people_back_once(
    serve_shared: Callable[..., Server], nursery: trio.Nursery
) -> None:
    one, slow = serve_shared(), serve_shared()
    watching, held = await ChatClient.open(one, nursery, "Watching"), await ChatClient.open(slow, nursery, "Held")
    room_id = (await watching.ask("create_room"))["roomId"]
    await watching.join(room_id)
    await held.join(room_id)
    slow.send_signal(signal.SIGSTOP)
    try:
        await watching.wait_for_event("member_joined", userId=held.user_id)
        await until(lambda: comings_and_goings(watching, held.user_id)[-1][0] == "member_left")
    finally:
        slow.send_signal(signal.SIGCONT)
    await watching.wait_for_event("member_joined", userId=held.user_id, after=len(watching.record) - 1)
    for _ in range(2):  # it is late again, and nobody notices
        slow.send_signal(signal.SIGSTOP)
        await trio.sleep(LEAVES_WITHIN / 2)  # less than the longer lease, and more than the first was
        slow.send_signal(signal.SIGCONT)
        await held.say(room_id, "Here I am.")
    expected = [("member_joined", 2), ("member_left", 1), ("member_joined", 2)]
    assert comings_and_goings(watching, held.user_id) == expected
    assert "its members had left their rooms" in slow.errors


async def test_above_the_roster_size_people_are_counted(
    serve_shared: Callable[..., Server], nursery: trio.Nursery
) -> None:
    servers = [serve_shared("rooms.roster_size=3") for _ in range(2)]
    clients = [await ChatClient.open(servers[number % 2], nursery, f"Person {number}") for number in range(6)]
    room_id = (await clients[0].ask("create_room"))["roomId"]
    visits = [await client.join(room_id) for client in clients]
    assert [visit["memberCount"] for visit in visits] == [1, 2, 3, 4, 5, 6]
    assert ["members" in visit for visit in visits] == [True] * 3 + [False] * 3
    for client in clients[:3]:
        await client.wait_for_event("member_count", memberCount=6)
        named = [event["userId"] for event in client.record if event["type"] == "member_joined"]
        assert not {other.user_id for other in clients[3:]} & set(named)
    for client in clients[3:]:
        await client.close()
    for client in clients[:3]:
        await client.wait_for(told_of_three)
        members = await client.ask("members", roomId=room_id)
        assert {member["userId"] for member in members["members"]} == {other.user_id for other in clients[:3]}


def told_of_three(event: Fields) -> bool:
    return bool(event["type"] in ("member_count", "member_left") and event["memberCount"] == 3)
