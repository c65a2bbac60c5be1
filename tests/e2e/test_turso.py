"""A real server on a real libSQL server, which goes away, hangs and comes back; `-s` shows the figures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from evanesce.client.errors import Refused
from evanesce.model import Timestamp, milliseconds
from evanesce.store.embedded import embedded_valkey
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.patience import PATIENCE, Stopwatch, within
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

SECRET = "the-same-secret-on-every-server-0"
QUICK = (
    "limits.messages_per_second=1000",
    "limits.burst=1000",
    "limits.joins_per_second=1000",
    "limits.commands_per_second=1000",
)
FREEZES = 5
"""How often the time with and without a database is compared at most, until the figures are good."""

DELAY = {"PYTHONPATH": str(Path(__file__).parent / "data" / "delay")}


def on(sqld: Sqld, *plugins: str, scheme: str = "http") -> list[str]:
    """Return the settings of a server that keeps what lasts in `sqld`."""
    enabled = json.dumps(["guest", "turso", "quart", *plugins])
    keys = [f"plugins.turso.url={sqld.url(scheme)}", f"plugins.turso.auth_token={sqld.token()}"]
    return [f"plugins.enabled={enabled}", *keys, *QUICK]


async def ask(server: Server, method: str, path: str, body: object = None, token: str | None = None) -> Any:
    return await trio.to_thread.run_sync(lambda: server.ask(method, path, body, token=token))


async def refused_in_time(server: Server, token: str) -> float:
    """Try what needs the database: it has to be refused, for the moment; return how long the slower one took."""
    credential = {"provider": "guest", "displayName": "Newcomer"}
    longest = 0.0
    for path, body, bearer in (("/api/v1/session", credential, None), ("/api/v1/rooms", None, token)):
        stopwatch = Stopwatch()
        status, answer = await ask(server, "POST", path, body, bearer)
        longest = max(longest, stopwatch.seconds())
        assert (status, answer["code"], answer["retry"]) == (503, "persistence_unavailable", True), answer
    return longest


async def degraded(server: Server) -> None:
    with within(2):
        status, ready = await ask(server, "GET", "/readyz")
    assert status == 200, "clients may be sent here"
    assert ready["status"] == "degraded"
    assert (ready["parts"]["database"], ready["parts"]["redis"]) == ("down", "up")


async def ready(server: Server) -> None:
    with trio.fail_after(PATIENCE):
        while (await ask(server, "GET", "/readyz"))[1]["status"] != "ready":
            continue


def logs(sqld: Sqld, room_id: str) -> dict[str, tuple[str, str | None]]:
    """Return when the sessions in a room began and ended."""
    found = sqld.rows(f"""SELECT sessionId, joinTime, leaveTime FROM "SessionLog" WHERE roomId = '{room_id}'""")
    return {str(row[0]): (str(row[1]), None if row[2] is None else str(row[2])) for row in found}


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_with_the_database_away_people_go_on_and_everything_is_written_when_it_is_back(
    sqld: Sqld, serve: Callable[..., Server], nursery: trio.Nursery, scheme: str
) -> None:
    server = serve(*on(sqld, scheme=scheme))
    ana, ben = await ChatClient.open(server, nursery, "Ana"), await ChatClient.open(server, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    sessions = {(await client.join(room_id))["sessionId"] for client in (ana, ben)}
    await until(lambda: len(logs(sqld, room_id)) == 2)

    sqld.kill()
    for number in range(20):
        sent = await ana.say(room_id, f"as if nothing had happened {number}")
        await ben.wait_for_event("message", messageId=sent["messageId"])
    assert await refused_in_time(server, ana.token) < 3
    await degraded(server)
    # Who loses the connection comes back, into the room that is there; and session logs go on meanwhile.
    for _ in range(3):
        await ben.abort()
        await ben.connect()
        sessions.add((await ben.join(room_id))["sessionId"])
        sent = await ben.say(room_id, "back")
        await ana.wait_for_event("message", messageId=sent["messageId"])
    with pytest.raises(Refused) as refused:
        await ChatClient(server, nursery, "Eve").connect()
    assert refused.value.code == "persistence_unavailable"

    await trio.to_thread.run_sync(sqld.start)
    await ready(server)
    await ana.close()
    await ben.close()
    await until(lambda: logs(sqld, room_id).keys() == sessions)
    await until(lambda: all(left is not None for _, left in logs(sqld, room_id).values()))
    metrics = (await ask(server, "GET", "/metrics"))[1].decode()
    assert "evanesce_records_dropped_total 0.0" in metrics
    await trio.to_thread.run_sync(server.stop)
    assert sqld.rows('SELECT active FROM "ChatRoom"') == [(0,)]
    assert "eyJ" not in server.errors, "no token in the log"


class Conversation:
    """Two clients in a room, one of which sends without a pause, and how long each message took."""

    def __init__(self, ana: ChatClient, ben: ChatClient, room_id: str) -> None:
        self.ana = ana
        self.ben = ben
        self.room_id = room_id
        self.took: list[float] = []
        self.told = ""

    async def go_on(self) -> None:
        while True:
            began, heard = time.monotonic(), len(self.ben.record)
            sent = await self.ana.say(self.room_id, "on and on")
            await self.ben.wait_for_event("message", messageId=sent["messageId"], after=heard)
            self.took.append(1000 * (time.monotonic() - began))
            await trio.sleep(0.01)

    def look(self) -> tuple[float, float]:
        """Return the median and the 99th percentile since the last look, in milliseconds."""
        took, self.took = sorted(self.took), []
        return round(took[len(took) // 2], 1), round(took[int(len(took) * 0.99)], 1)


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_frozen_database_stalls_nothing(
    sqld: Sqld,
    serve: Callable[..., Server],
    nursery: trio.Nursery,
    scheme: str,
    record_property: Callable[[str, object], None],
) -> None:
    # Messages live for 2 s, so that who comes in is given as many of them before and afterwards.
    server = serve(*on(sqld, "delay", scheme=scheme), "messages.ttl=2", environment=DELAY)
    ana, ben = await ChatClient.open(server, nursery, "Ana"), await ChatClient.open(server, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    for client in (ana, ben):
        await client.join(room_id)
    other_room = (await ana.ask("create_room"))["roomId"]
    conversation = Conversation(ana, ben, room_id)
    sessions: list[str] = []
    longest: list[float] = []

    async def come_and_go() -> None:
        """Make records for the database all the time."""
        carl = await ChatClient.open(server, nursery, "Carl")
        came.set()
        while True:
            sessions.append((await carl.join(room_id))["sessionId"])
            await carl.ask("leave", roomId=room_id)
            await trio.sleep(0.02)

    async def try_what_needs_it() -> None:
        while True:
            longest.append(await refused_in_time(server, ana.token))

    async def freeze() -> str | None:
        """Compare how it is before and while the database is frozen; return what is wrong."""
        await trio.sleep(3)
        await ask(server, "GET", "/delay")
        conversation.look()
        await trio.sleep(8)
        before, usual = (await ask(server, "GET", "/delay"))[1], conversation.look()
        sqld.freeze()
        try:
            async with trio.open_nursery() as trying:
                for _ in range(4):
                    trying.start_soon(try_what_needs_it)
                await trio.sleep(5)
                await degraded(server)
                await trio.sleep(5)
                trying.cancel_scope.cancel()
            during, held_up = (await ask(server, "GET", "/delay"))[1], conversation.look()
        finally:
            sqld.thaw()
        await ready(server)
        print(f"\n{scheme}: the event loop's delay in ms before {before}, while frozen {during}")
        conversation.told = f"p50, p99 {usual} before, {held_up} while the database is frozen"
        print(f"a message's way in ms: {conversation.told}")
        if during["p99"] >= max(20, 1.5 * before["p99"]):
            return "the event loop is held up"
        if held_up[0] >= 1.2 * usual[0] + 2:
            return "messages take longer"
        if held_up[1] >= 250:
            return "somebody waits for the database: that would be 2.5 s"
        return None

    came = trio.Event()
    async with trio.open_nursery() as talking:
        talking.start_soon(conversation.go_on)
        talking.start_soon(come_and_go)
        await came.wait()
        # Whatever else the machine does comes and goes: a database that holds somebody up does so each time.
        for _ in range(FREEZES):
            problem = await freeze()
            if problem is None:
                break
        talking.cancel_scope.cancel()
    assert problem is None, problem
    refusals = f"sign-in and room creation: {2 * len(longest)} refused, the last after {max(longest):.2f} s"
    print(refusals)
    record_property("measured", f"{scheme}: a message takes {conversation.told} ms, {refusals}")
    assert max(longest) < 3
    assert (await ana.join(other_room))["type"] == "joined"
    await trio.to_thread.run_sync(server.stop)
    stored = logs(sqld, room_id)
    assert set(sessions) <= stored.keys()
    assert all(left is not None for _, left in stored.values())
    assert len(stored) - len(set(sessions)) - 2 in (0, 1), "the last one may have been told to nobody any more"


async def test_sessions_of_a_killed_server_end_when_its_lease_did_and_those_of_others_go_on(
    sqld: Sqld, serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    async with embedded_valkey() as url:
        settings = [*on(sqld), f"redis.url={url}", f"server.secret={SECRET}"]
        killed, lives = serve(*settings), serve(*settings)
        ana, ben = await ChatClient.open(killed, nursery, "Ana"), await ChatClient.open(lives, nursery, "Ben")
        shared = (await ana.ask("create_room"))["roomId"]
        alone = (await ana.ask("create_room"))["roomId"]
        left_open = {room_id: (await ana.join(room_id))["sessionId"] for room_id in (shared, alone)}
        own = (await ben.join(shared))["sessionId"]
        await until(lambda: logs(sqld, shared).keys() == {left_open[shared], own} and bool(logs(sqld, alone)))
        await trio.to_thread.run_sync(killed.kill)
        killed_at = time.time()
        await until(lambda: logs(sqld, shared)[left_open[shared]][1] is not None, 60)
        for room_id, session_id in left_open.items():
            _, left = logs(sqld, room_id)[session_id]
            assert left is not None
            assert 2 < milliseconds(Timestamp(left)) / 1000 - killed_at < 10, "when its lease ran out"
        assert logs(sqld, shared)[own][1] is None
        active = 'SELECT roomId, active FROM "ChatRoom"'
        await until(lambda: dict(sqld.rows(active)) == {shared: 1, alone: 0}, 60)
        await trio.to_thread.run_sync(lives.stop)


async def test_a_server_that_starts_again_ends_what_it_had_left_open(
    sqld: Sqld, serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    server = serve(*on(sqld))
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await until(lambda: len(logs(sqld, room_id)) == 1)
    await trio.to_thread.run_sync(server.kill)
    started_at = time.time()
    await trio.to_thread.run_sync(server.start)
    await until(lambda: None not in {left for _, left in logs(sqld, room_id).values()}, 60)
    [(_, left)] = logs(sqld, room_id).values()
    assert left is not None
    assert milliseconds(Timestamp(left)) / 1000 >= started_at - 0.01, "the time found: its Redis knows nothing any more"
    await until(lambda: sqld.rows('SELECT active FROM "ChatRoom"') == [(0,)], 60)


async def test_what_was_kept_long_enough_is_deleted(
    sqld: Sqld, serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    server = serve(*on(sqld))
    clients = [await ChatClient.open(server, nursery, name) for name in ("Ana", "Ben", "Carl")]
    room_id = (await clients[0].ask("create_room"))["roomId"]
    for client in clients:
        await client.join(room_id)
    await until(lambda: len(logs(sqld, room_id)) == 3)
    for client in clients:
        await client.close()
    await trio.to_thread.run_sync(server.stop)

    second = 1 / 86_400
    days = [f"retention.{key}={second}" for key in ("session_log_days", "closed_room_days", "guest_days")]
    forgetful = serve(*on(sqld), *days)
    dora = await ChatClient.open(forgetful, nursery, "Dora")

    def counts() -> list[Any]:
        tables = ("User", "ChatRoom", "SessionLog")
        return [sqld.rows(f'SELECT count(*) FROM "{table}"') for table in tables]

    await until(lambda: counts() == [[(1,)], [(0,)], [(0,)]], 60)
    assert (await dora.ask("profile"))["displayName"] == "Dora", "the account of a connected person is in use"
    await dora.close()
    await until(lambda: counts() == [[(0,)]] * 3, 60)
    metrics = (await ask(forgetful, "GET", "/metrics"))[1].decode()
    assert 'evanesce_rows_deleted_total{kind="sessions"} 3.0' in metrics
