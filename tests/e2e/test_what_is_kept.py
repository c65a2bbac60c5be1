"""What is in Redis and in the database while people talk, looked at with their own clients; and what is nowhere."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
import trio

from evanesce.client.connection import Fields
from tests.e2e.clients import ChatClient, seconds, until
from tests.e2e.running import Server
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


def rows(server: Server, table: str, key: str, value: str) -> Sequence[Fields]:
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f'SELECT * FROM "{table}" WHERE {key} = ?', (value,))]


async def eventually(
    read: Callable[[], Sequence[Fields]], matches: Callable[[Sequence[Fields]], bool]
) -> Sequence[Fields]:
    """Read until what is read matches: the database is written behind."""
    await until(lambda: matches(read()))
    return read()


async def test_redis(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    content = f"canary {uuid.uuid4()} ünï"
    sent = await ana.say(room_id, content)
    key = f"evanesce:{{{room_id}}}:message:{sent['messageId']}"
    with server.redis() as redis:
        stored = redis.get(key)
        assert isinstance(stored, bytes)
        assert json.loads(stored) == {
            "messageId": sent["messageId"],
            "roomId": room_id,
            "senderId": ana.user_id,
            "senderName": "Ana",
            "content": content,
            "createdAt": sent["createdAt"],
            "expiresAt": sent["expiresAt"],
        }
        life = redis.pttl(key)
        assert isinstance(life, int)
        assert 55_000 < life <= 60_000
        holding = []
        for other in redis.scan_iter():
            assert other.startswith(b"evanesce:")
            dumped = redis.dump(other)
            if content.encode() in other or (isinstance(dumped, bytes) and b"canary" in dumped):
                holding.append(other.decode())
        assert holding == [key], "content is in the message's own key and nowhere else"
        for setting, value in {"save": "", "appendonly": "no"}.items():
            assert redis.config_get(setting) == {setting: value}

    await ana.ask("unsend", roomId=room_id, messageId=sent["messageId"])
    with server.redis() as redis:
        assert redis.exists(key) == 0


async def test_content_is_in_no_file(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    canary = uuid.uuid4().hex
    await ana.say(room_id, canary)
    await ana.connection.send({"type": "send", "roomId": room_id, "content": canary, "messageId": canary})
    await ana.wait_for_event("error", code="bad_request")
    token = ana.token
    await ana.close()
    await trio.to_thread.run_sync(server.stop)
    for file in server.folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert canary.encode() not in data, file
            assert token.encode() not in data, file
            assert token.rpartition(".")[2].encode() not in data, file


async def test_database(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    await ana.ask("update_profile", email="ana@example.org")
    [user] = rows(server, "User", "userId", ana.user_id)
    assert user["worldId"].startswith("guest:")
    assert (user["displayName"], user["email"]) == ("Ana", "ana@example.org")
    room = await ana.ask("create_room")
    room_id = room["roomId"]
    [row] = rows(server, "ChatRoom", "roomId", room_id)
    assert (row["createdBy"], row["createdAt"], row["deepLink"]) == (ana.user_id, room["createdAt"], room["deepLink"])
    assert not row["active"]

    started = seconds((await ana.ask("ping"))["serverTime"])
    joined = await ana.join(room_id)
    ben = await ChatClient.open(server, nursery, "Ben")
    other = await ben.join(room_id)
    await eventually(lambda: rows(server, "ChatRoom", "roomId", room_id), lambda found: bool(found[0]["active"]))
    logs = await eventually(lambda: rows(server, "SessionLog", "roomId", room_id), lambda found: len(found) == 2)
    by_id = {log["sessionId"]: log for log in logs}
    assert by_id[joined["sessionId"]]["userId"] == ana.user_id
    assert by_id[other["sessionId"]]["userId"] == ben.user_id
    for log in logs:
        assert started <= seconds(log["joinTime"]) <= started + PATIENCE
        assert log["leaveTime"] is None

    await ana.ask("leave", roomId=room_id)
    left = await eventually(
        lambda: rows(server, "SessionLog", "sessionId", joined["sessionId"]),
        lambda found: found[0]["leaveTime"] is not None,
    )
    assert left[0]["leaveTime"] >= left[0]["joinTime"]
    assert rows(server, "SessionLog", "sessionId", other["sessionId"])[0]["leaveTime"] is None
    assert rows(server, "ChatRoom", "roomId", room_id)[0]["active"]
    await ben.abort()
    await eventually(
        lambda: rows(server, "SessionLog", "sessionId", other["sessionId"]),
        lambda found: found[0]["leaveTime"] is not None,
    )
    await eventually(lambda: rows(server, "ChatRoom", "roomId", room_id), lambda found: not found[0]["active"])
    await ana.abort()  # else it moves every 10 s
    await eventually(
        lambda: rows(server, "User", "userId", ana.user_id), lambda found: found[0]["lastActive"] > user["lastActive"]
    )


async def test_forgotten(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await eventually(lambda: rows(server, "SessionLog", "userId", ana.user_id), lambda found: len(found) == 1)
    await ana.ask("forget_me")
    [user] = rows(server, "User", "userId", ana.user_id)
    assert (user["worldId"], user["displayName"], user["email"]) == (None, "", None)
    assert rows(server, "SessionLog", "userId", ana.user_id) == []
    [room] = rows(server, "ChatRoom", "roomId", room_id)
    assert room["closedAt"] is not None
    await eventually(lambda: rows(server, "ChatRoom", "roomId", room_id), lambda found: not found[0]["active"])
    assert rows(server, "SessionLog", "userId", ana.user_id) == []


async def test_a_closed_room_keeps_its_row_and_loses_its_messages(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ana.say(room_id, "soon gone")
    await ana.ask("close_room", roomId=room_id)
    [room] = rows(server, "ChatRoom", "roomId", room_id)
    assert room["closedAt"] is not None
    with server.redis() as redis:
        assert list(redis.scan_iter(f"*{room_id}*:message:*")) == []


async def test_the_session_log_can_be_switched_off(serve: Callable[..., Server], nursery: trio.Nursery) -> None:
    server = serve("server.session_log=false")
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await eventually(lambda: rows(server, "ChatRoom", "roomId", room_id), lambda found: bool(found[0]["active"]))
    await ana.close()
    await trio.to_thread.run_sync(server.stop)
    assert rows(server, "SessionLog", "roomId", room_id) == []


@pytest.mark.parametrize("name", ["x" * 64, "🧑🏽‍🚀", "שלום", "O'Brien; --"])
async def test_names(shared_server: Server, nursery: trio.Nursery, name: str) -> None:
    client = await ChatClient.open(shared_server, nursery, name)
    assert rows(shared_server, "User", "userId", client.user_id)[0]["displayName"] == name
    await client.close()
