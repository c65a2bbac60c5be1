"""What ends, dies or hangs around a conversation: the server itself, its Valkey, its database."""

from __future__ import annotations

import os
import signal
import sqlite3
import uuid
from contextlib import closing

import pytest
import trio

from evanesce.client.connection import Fields
from evanesce.client.errors import Disconnected, Refused
from evanesce.errors import CloseCode
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server, alive
from tests.patience import PATIENCE, Stopwatch, within

pytestmark = pytest.mark.slow

ROOMS = 6


async def two_in_a_room(server: Server, nursery: trio.Nursery) -> tuple[ChatClient, ChatClient, str]:
    ana = await ChatClient.open(server, nursery, "Ana")
    ben = await ChatClient.open(server, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    await ana.wait_for_event("member_joined", userId=ben.user_id)
    return ana, ben, room_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_goes_away_says_so(server: Server, nursery: trio.Nursery, number: int) -> None:
    clients = await two_in_a_room(server, nursery)
    room_id = clients[2]
    stopwatch = Stopwatch()
    server.send_signal(number)
    for client in clients[:2]:
        goodbye = await client.wait_for_event("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == (CloseCode.GOING_AWAY, True)
        assert goodbye["reconnectAfter"] >= 0
        ending = await client.wait_closed_by_server()
        assert ending.code == CloseCode.GOING_AWAY
    assert await trio.to_thread.run_sync(server.wait) == 0
    assert stopwatch.seconds() < 10, "within the drain time"
    with closing(sqlite3.connect(server.database)) as database:
        logs = database.execute('SELECT joinTime, leaveTime FROM "SessionLog" WHERE roomId = ?', (room_id,)).fetchall()
        assert len(logs) == 2
        assert all(leave is not None and leave >= join for join, leave in logs)
        assert database.execute('SELECT active FROM "ChatRoom" WHERE roomId = ?', (room_id,)).fetchall() == [(0,)]


async def test_a_killed_server_takes_its_valkey_along_and_starts_again(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    await ana.say(room_id, "lost with the server")
    await ben.wait_for_event("message", content="lost with the server")
    valkey, _ = server.valkey()
    await trio.to_thread.run_sync(server.kill)
    await until(lambda: not alive(valkey))
    for client in (ana, ben):
        assert (await client.wait_closed_by_server()).code == 1006

    await trio.to_thread.run_sync(server.start)
    for client in (ana, ben):
        cursor = client.cursor(room_id)
        await client.connect()
        joined = await client.join(room_id, cursor)
        assert joined["missed"] is None, "the store lost its memory"
        assert joined["messages"] == []
    await ana.say(room_id, "as if nothing had happened")
    await ben.wait_for_event("message", content="as if nothing had happened")


async def test_a_killed_valkey_comes_back_under_a_live_conversation(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    acknowledged: list[Fields] = []
    refused: list[Refused] = []
    killed: list[Stopwatch] = []
    back_after: list[float] = []

    async def talk(stop: trio.Event) -> None:
        while not stop.is_set():
            try:
                stopwatch, since = Stopwatch(), len(killed)
                acknowledged.append(await ana.say(room_id, str(uuid.uuid4())))
                if len(back_after) < since:
                    back_after.append(killed[-1].seconds())
            except Refused as error:
                refused.append(error)
            assert stopwatch.seconds() < 2.6, "a call that hangs"

    stop = trio.Event()
    async with trio.open_nursery() as talking:
        talking.start_soon(talk, stop)
        await until(lambda: len(acknowledged) >= 20)
        for _ in range(2):
            os.kill(server.valkey()[0], signal.SIGKILL)
            killed.append(Stopwatch())
            await until(lambda: len(back_after) == len(killed))
            assert back_after[-1] < 2, "rooms work again within 2 s"
            await trio.sleep(1.1)  # what dies again within a second is started with a delay
        stop.set()
    assert {error.code for error in refused} <= {"store_unavailable"}
    assert all(error.retry for error in refused)

    last = await ana.say(room_id, "the last")
    await ben.wait_for_event("message", messageId=last["messageId"])
    for client in (ana, ben):
        heard = [message["messageId"] for message in client.messages()]
        assert len(heard) == len(set(heard)), "none twice"
        gaps = [event for event in client.record if event["type"] == "gap"]
        lost = {sent["messageId"] for sent in acknowledged} - set(heard)
        assert not lost or gaps, "what was acknowledged and not heard shows as a gap"
        assert len(lost) <= 2 * 20, "only what was acknowledged in that very instant"
        assert client.connection.close_reason is None, "connections stay"
        assert not [event for event in client.record if event["type"] == "goodbye"]
        for gap in gaps:
            joined = await client.join(room_id, gap["since"])
            assert joined["missed"] is None
    await trio.to_thread.run_sync(server.ready)


async def test_a_stopped_valkey_is_an_error_and_no_hang(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    valkey, _ = server.valkey()
    os.kill(valkey, signal.SIGSTOP)
    try:
        same = str(uuid.uuid4())
        with within(2.6), pytest.raises(Refused) as refused:
            await ana.say(room_id, "held up", same)
        assert refused.value.code == "store_unavailable"
        ready = await trio.to_thread.run_sync(server.ask, "GET", "/readyz")
        assert (ready[0], ready[1]["status"], ready[1]["parts"]["redis"]) == (503, "unavailable", "down")
        with within(2.6):
            assert (await ana.ask("ping"))["type"] == "pong", "what does not need the store works"
    finally:
        os.kill(valkey, signal.SIGCONT)
    await taken_at_last(ana, room_id, same)
    await ana.say(room_id, "done")
    await ben.wait_for_event("message", content="done")
    assert ben.contents().count("held up") == 1, "the same message again does no harm"


async def test_what_was_held_up_in_many_rooms_is_answered_and_heard_once(server: Server, nursery: trio.Nursery) -> None:
    rooms = [(*await two_in_a_room(server, nursery), str(uuid.uuid4())) for _ in range(ROOMS)]
    refused: list[Refused] = []
    valkey, _ = server.valkey()

    async def say_once(sender: ChatClient, room_id: str, message_id: str) -> None:
        with pytest.raises(Refused) as refusal:
            await sender.say(room_id, "held up", message_id)
        refused.append(refusal.value)

    os.kill(valkey, signal.SIGSTOP)
    try:
        with within(3.5):
            async with trio.open_nursery() as talking:
                for sender, _, room_id, message_id in rooms:
                    talking.start_soon(say_once, sender, room_id, message_id)
    finally:
        os.kill(valkey, signal.SIGCONT)
    assert [(error.code, error.retry) for error in refused] == [("store_unavailable", True)] * ROOMS
    for sender, other, room_id, message_id in rooms:
        await taken_at_last(sender, room_id, message_id)
        await sender.say(room_id, "done")
        for member in (sender, other):
            await member.wait_for_event("message", content="done", roomId=room_id)
            assert member.contents() == ["held up", "done"]


async def taken_at_last(client: ChatClient, room_id: str, message_id: str) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await client.say(room_id, "held up", message_id)
                return
            except Refused as refused:
                if not refused.retry:
                    raise
            await trio.sleep(0.05)


async def test_a_locked_database_leaves_the_rooms_alone(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    with closing(sqlite3.connect(server.database, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        carl = ChatClient(server, nursery, "Carl")
        with within(3.5), pytest.raises(Refused) as refused:
            await carl.connect()
        assert refused.value.code == "persistence_unavailable"
        assert refused.value.retry
        await ana.say(room_id, "rooms go on")
        await ben.wait_for_event("message", content="rooms go on")
        database.execute("ROLLBACK")
    await carl.close()
    await carl.connect()


async def test_leaving_in_the_middle_of_it(server: Server, nursery: trio.Nursery) -> None:
    """SIGTERM under load: everything that was acknowledged was heard."""
    ana, ben, room_id = await two_in_a_room(server, nursery)
    acknowledged: list[str] = []

    async def talk() -> None:
        while True:
            try:
                acknowledged.append((await ana.say(room_id, "on and on"))["messageId"])
            except (Refused, Disconnected):
                return

    async with trio.open_nursery() as talking:
        talking.start_soon(talk)
        await until(lambda: len(acknowledged) > 50)
        server.send_signal(signal.SIGTERM)
        await ben.wait_closed_by_server()
    assert await trio.to_thread.run_sync(server.wait) == 0
    heard = {message["messageId"] for message in ben.messages()}
    assert set(acknowledged) <= heard
