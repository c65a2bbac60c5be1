"""Two real servers on one Valkey, one of them cut off from it: what was done on the other holds when it is back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from evanesce.client.errors import Disconnected, Refused
from tests.e2e.clients import ChatClient, until
from tests.e2e.proxy import Proxy
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE, within

pytestmark = pytest.mark.slow

AWAY = 3.0
SOON = 2.0
"""After how many seconds of the link's return all has to be right."""


class Scene:
    """Ana is on both servers and in her room, Ben is on server a and in it too. `proxy` is the way of a to Valkey."""

    def __init__(self, a: Server, b: Server, proxy: Proxy, nursery: trio.Nursery) -> None:
        self.a = a
        self.b = b
        self.proxy = proxy
        self.nursery = nursery
        self.room_id = ""

    async def begin(self) -> None:
        self.there = await ChatClient.open(self.b, self.nursery, "Ana")
        self.here = await self.there.open_another(self.a)
        self.ben = await ChatClient.open(self.a, self.nursery, "Ben")
        self.room_id = (await self.there.ask("create_room"))["roomId"]
        await self.here.join(self.room_id)
        await self.ben.join(self.room_id)

    async def sign_out(self) -> None:
        await self.there.ask("sign_out")

    async def forget_me(self) -> None:
        await self.there.ask("forget_me")

    async def close_room(self) -> None:
        await self.there.ask("close_room", roomId=self.room_id)

    async def rename(self) -> None:
        await self.there.ask("update_profile", displayName="Countess")

    async def right(self, action: str) -> None:
        """Wait until server a is as it has to be."""
        if action in ("sign_out", "forget_me"):
            await self.here.wait_closed()
            assert self.here.connection.close_reason is not None
            assert self.here.connection.close_reason.code == 4401
        if action in ("close_room", "forget_me"):
            await self.ben.wait_for_event("room_closed", roomId=self.room_id)
        if action == "rename":
            await self.ben.wait_for_event("member_updated", displayName="Countess")
            assert (await self.here.ask("hello"))["displayName"] == "Countess"


@pytest.fixture
async def start(
    serve_shared: Callable[..., Server], valkey: Valkey, nursery: trio.Nursery
) -> Callable[..., Awaitable[Scene]]:
    async def start(*settings: str, environment: dict[str, str] | None = None) -> Scene:
        proxy = Proxy(Path(valkey.url.removeprefix("unix://")))
        await nursery.start(proxy.serve)
        at = f"redis.url=redis://127.0.0.1:{proxy.port}"
        a = await trio.to_thread.run_sync(partial(serve_shared, at, *settings, environment=environment))
        b = await trio.to_thread.run_sync(serve_shared, *settings[:1])
        return Scene(a, b, proxy, nursery)

    return start


@pytest.mark.parametrize("action", ["sign_out", "forget_me", "close_room", "rename"])
async def test_what_was_done_while_the_link_was_away_holds_when_it_is_back(
    start: Callable[..., Awaitable[Scene]], action: str
) -> None:
    scene = await start()
    await scene.begin()
    scene.proxy.cut()
    await getattr(scene, action)()
    await trio.sleep(AWAY)
    await scene.proxy.restore()
    with within(SOON):
        await scene.right(action)


async def test_a_subscription_that_breaks_for_a_moment_forgets_nothing(
    start: Callable[..., Awaitable[Scene]], valkey: Valkey
) -> None:
    scene = await start()
    await scene.begin()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.sign_out)
            for _ in range(20):
                for connection in await trio.to_thread.run_sync(valkey.connections, "pubsub"):
                    await trio.to_thread.run_sync(valkey.cut, connection)
        with within(SOON):
            await scene.right("sign_out")


async def test_a_slow_database_welcomes_nobody_who_has_signed_out_meanwhile(
    start: Callable[..., Awaitable[Scene]], database: Path
) -> None:
    enabled = "plugins.enabled=" + json.dumps(["guest", "slow", "quart"])
    path = {"PYTHONPATH": str(Path(__file__).parent / "data" / "slow")}
    scene = await start("limits.hello_seconds=5", enabled, f"plugins.slow.path={database}", environment=path)
    there = await ChatClient.open(scene.b, scene.nursery, "Ana")
    refused: list[str] = []

    async def come() -> None:
        try:
            await there.open_another(scene.a)
        except Refused as error:
            refused.append(error.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come)
        await trio.sleep(0.5)  # the database has said yes, and its answer is on the way
        await there.ask("sign_out")
    assert refused == ["invalid_token"]


async def test_connections_that_end_while_a_server_has_no_redis_do_not_lock_anybody_out(
    start: Callable[..., Awaitable[Scene]],
) -> None:
    scene = await start("limits.connections_per_user=2")
    first = await ChatClient.open(scene.a, scene.nursery, "Ana")
    second = await first.open_another(scene.a)
    scene.proxy.cut()
    await trio.sleep(0.5)
    for client in (first, second):
        await client.close()
    await trio.sleep(AWAY)
    await scene.proxy.restore()
    with within(SOON):
        for _ in range(2):
            await let_in(scene, first.token)


async def let_in(scene: Scene, token: str) -> None:
    """Come to server b as often as it takes."""
    while True:
        client = ChatClient(scene.b, scene.nursery, "Ana")
        client.token = token
        try:
            assert (await client.connect())["displayName"] == "Ana"
        except Disconnected:
            await trio.sleep(0.05)  # nothing tells when the count is right
        else:
            return


async def test_an_erased_account_is_in_no_file_within_seconds(server: Server, nursery: trio.Nursery) -> None:
    name, address = "Canary Name 90125", "canary-90125@example.org"
    ana = await ChatClient.open(server, nursery, name)
    await ana.ask("update_profile", email=address)
    for number in range(20):
        await ChatClient.open(server, nursery, f"Somebody {number}")

    def found() -> list[str]:
        files = [file for file in server.folder.rglob("*") if file.is_file()]
        return [file.name for file in files if any(text.encode() in file.read_bytes() for text in (name, address))]

    assert found()
    await ana.ask("forget_me")
    await until(lambda: not found())
