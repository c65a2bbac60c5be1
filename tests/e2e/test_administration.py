"""Operators of real processes: what they do on one server holds on all, with workers, without Redis, after a kill."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from evanesce.cli.admin_client import TOKEN_VARIABLE, Address, Failed, ask
from evanesce.client.errors import Refused
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.e2e.tls_front import over_tls
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

TOKEN = "operators-of-real-servers-0123456789"


class Operator:
    """Somebody who asks the interface at one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._address = Address(f"http://127.0.0.1:{port}", TOKEN)

    async def ask(self, method: str, *path: str, **fields: Any) -> dict[str, Any]:
        return await trio.to_thread.run_sync(partial(ask, self._address, method, path, fields))

    async def answers(self) -> dict[str, Any]:
        """Wait until the interface answers, and return the statistics."""
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    return await self.ask("GET", "stats")
                except Failed:
                    await trio.sleep(0.1)


class Deployment:
    """Server a has two workers and the interface, b has one process. Ana is on both, and in a room on b."""

    def __init__(self, a: Server, b: Server, operator: Operator) -> None:
        self.a, self.b, self.operator = a, b, operator

    async def begin(self, nursery: trio.Nursery) -> None:
        self.there = await ChatClient.open(self.b, nursery, "Ana")
        self.here = await self.there.open_another(self.a)
        self.ben = await ChatClient.open(self.a, nursery, "Ben")
        self.room_id = (await self.there.ask("create_room"))["roomId"]
        for client in (self.there, self.ben):
            await client.join(self.room_id)
        self.user_id = (await self.there.ask("profile"))["userId"]


@pytest.fixture
async def deployment(serve_shared: Callable[..., Server], nursery: trio.Nursery) -> Deployment:
    port = free_port()
    admin = (f"admin.bind=127.0.0.1:{port}", f"admin.token={TOKEN}")
    a = await trio.to_thread.run_sync(partial(serve_shared, "server.workers=2", *admin))
    b = await trio.to_thread.run_sync(serve_shared)
    deployment = Deployment(a, b, Operator(port))
    await deployment.begin(nursery)
    return deployment


async def code(client: ChatClient) -> int:
    with trio.fail_after(PATIENCE):
        await client.wait_closed()
    reason = client.connection.close_reason
    assert reason is not None
    return reason.code


async def is_talking(client: ChatClient, room_id: str, content: str) -> None:
    await client.say(room_id, content)
    await client.wait_for_event("message", content=content)


async def test_one_worker_answers_for_all_servers_and_what_it_does_holds_on_all(deployment: Deployment) -> None:
    operator, seen = deployment.operator, dict[str, Any]()
    with trio.fail_after(PATIENCE):
        while sum(one["connections"] for one in seen.values()) < 3 or len(seen) < 3:
            await trio.sleep(0.1)
            seen = (await operator.ask("GET", "stats"))["servers"]
    assert sum(one["users"] for one in seen.values()) >= 3
    with trio.fail_after(PATIENCE):
        while not (rooms := (await operator.ask("GET", "rooms"))["rooms"]):  # noqa: ASYNC110 - nothing tells
            await trio.sleep(0.1)
    assert [(room["roomId"], room["memberCount"]) for room in rooms] == [(deployment.room_id, 2)]
    assert {user["displayName"] for user in (await operator.ask("GET", "users"))["users"]} == {"Ana", "Ben"}
    assert (await operator.ask("POST", "announce", text="A word to all"))["sent"] == 1
    for client in (deployment.there, deployment.ben):
        await client.wait_for_event("message", content="A word to all", senderId="service:evanesce")
    await operator.ask("PUT", "users", deployment.user_id, "ban", seconds=3600)
    assert await code(deployment.here) == await code(deployment.there) == 4403
    await deployment.ben.wait_for_event("member_left", userId=deployment.user_id)
    await is_talking(deployment.ben, deployment.room_id, "Ben notices nothing else")


async def test_the_interface_comes_back_with_its_worker(deployment: Deployment) -> None:
    before = deployment.a.workers()
    os.kill(before[1], signal.SIGKILL)
    await until(lambda: deployment.a.workers().get(1, before[1]) != before[1], PATIENCE)
    await deployment.operator.answers()
    deployment.a.send_signal(signal.SIGHUP)
    await until(lambda: not set(deployment.a.workers().values()) & set(before.values()), PATIENCE)
    await deployment.operator.answers()
    await deployment.operator.ask("PUT", "users", deployment.user_id, "ban")
    assert await code(deployment.there) == 4403


async def test_a_ban_is_made_without_redis_and_holds_when_it_is_back(deployment: Deployment, valkey: Valkey) -> None:
    """Redis answers nobody for a while: the database has the ban, and servers learn of it as soon as they can."""
    assert valkey.process is not None
    valkey.process.send_signal(signal.SIGSTOP)
    try:
        ban = await deployment.operator.ask("PUT", "users", deployment.user_id, "ban", reason="without Redis")
        with pytest.raises(Failed, match="message store"):
            await deployment.operator.ask("POST", "users", deployment.user_id, "disconnect")
    finally:
        valkey.process.send_signal(signal.SIGCONT)
    assert ban["userId"] == deployment.user_id
    assert await code(deployment.here) == await code(deployment.there) == 4403


async def test_a_ban_survives_a_redis_that_loses_everything(
    deployment: Deployment, valkey: Valkey, nursery: trio.Nursery
) -> None:
    await deployment.operator.ask("PUT", "users", deployment.user_id, "ban")
    assert await code(deployment.here) == await code(deployment.there) == 4403
    valkey.client.flushall()  # the same to a server as a restart
    for server in (deployment.a, deployment.b):
        refused = ChatClient(server, nursery, "Ana")
        refused.token = deployment.there.token
        with pytest.raises(Refused) as error:
            await refused.connect()
        assert error.value.code == "forbidden"
    await is_talking(deployment.ben, deployment.room_id, "Ben is served")


async def test_the_command_line_reaches_an_interface_over_http_and_https(
    deployment: Deployment, nursery: trio.Nursery, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    environ = {"SSL_CERT_FILE": str(tmp_path / "authority.pem"), TOKEN_VARIABLE: TOKEN}
    outside = await over_tls(deployment.operator.port, nursery, authority.issue_cert("localhost"))
    for url in (f"http://127.0.0.1:{deployment.operator.port}", f"https://localhost:{outside}"):
        for words in (("admin", "users", "--json"), ("top", "--count", "1")):
            command = [sys.executable, "-m", "evanesce", *words, "--url", url]
            done = await trio.run_process(
                command, cwd=tmp_path, env=os.environ | environ, capture_stdout=True, capture_stderr=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert (b"displayName" if "users" in words else b"answered by") in done.stdout
    command = [sys.executable, "-m", "evanesce", "admin", "stats", "--url", f"https://127.0.0.1:{outside}"]
    done = await trio.run_process(
        command, cwd=tmp_path, env=os.environ | environ, capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 1, "the certificate is another name's"
    assert b"cannot reach the server" in done.stderr


async def test_one_server_is_taken_out_of_service_while_the_others_serve(deployment: Deployment) -> None:
    servers = list((await deployment.operator.answers())["servers"])
    [name] = [server for server in servers if "/" not in server]
    assert (await deployment.operator.ask("POST", "drain", server=name))["servers"] == [name]
    assert await code(deployment.there) == 1001
    status, answer = await trio.to_thread.run_sync(deployment.b.ask, "GET", "/readyz")
    assert (status, answer["status"]) == (503, "draining")
    await is_talking(deployment.ben, deployment.room_id, "still here")
