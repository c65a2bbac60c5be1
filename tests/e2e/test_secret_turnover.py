"""The guide to replacing secrets, with real processes: each of its configurations is taken up by SIGHUP."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio

from evanesce.cli.admin_client import Address, Failed, ask
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "replace-secrets.md"
BLOCKS = [
    re.sub(r"^ +", "", block, flags=re.MULTILINE)
    for block in re.findall(r"^ *```toml\n(.*?)^ *```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
]
BEFORE, KNOWN, USED, AFTER, OPERATORS, _ = BLOCKS
OLD, NEW = "old-secret-" * 4, "new-secret-" * 4
OLD_TOKEN, NEW_TOKEN = "old-token-of-operators-" * 2, "new-token-of-operators-" * 2
SECONDS = 120.0


class Deployment:
    """A server whose configuration is that of the guide."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.port = free_port()
        self.server = Server(folder, f"server.workers={workers}", f"admin.bind=127.0.0.1:{self.port}")
        self.workers = workers
        for name, text in {
            "old.secret": OLD,
            "new.secret": NEW,
            "old.token": OLD_TOKEN,
            "new.token": NEW_TOKEN,
        }.items():
            (folder / name).write_text(f"{text}\n")
        self.configure(BEFORE, '[admin]\ntoken = { file = "old.token" }\n')

    def configure(self, *tables: str) -> None:
        (self.server.folder / "config.toml").write_text("\n".join(tables))

    def check(self) -> str:
        command = [sys.executable, "-m", "evanesce", "check"]
        for setting in self.server.settings:
            command += ["--set", setting]
        done = subprocess.run(
            command, cwd=self.server.folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert not {OLD, NEW, OLD_TOKEN, NEW_TOKEN} & set(done.stdout.split())
        return done.stdout

    async def take_up(self, *tables: str) -> None:
        """Write a configuration, send SIGHUP, and wait until the server serves with it."""
        self.configure(*tables)
        text = "all workers were restarted" if self.workers > 1 else "listening for operators"
        before = self.server.errors.count(text)
        self.server.send_signal(signal.SIGHUP)
        await until(lambda: self.server.errors.count(text) > before, SECONDS)
        await self.ready()

    async def ready(self) -> None:
        """Wait until the server and its interface for operators answer."""
        with trio.fail_after(SECONDS):
            while True:
                try:
                    await trio.to_thread.run_sync(self.server.ready)
                    await self.operate(NEW_TOKEN, "GET", "stats")
                except OSError:
                    await trio.sleep(0.1)
                except Failed as failed:
                    if "token" in str(failed) and "cannot reach" not in str(failed):
                        return  # it answers, and refuses this token
                    await trio.sleep(0.1)
                else:
                    return

    async def operate(self, token: str, method: str, *path: str, **fields: Any) -> dict[str, Any]:
        address = Address(f"http://127.0.0.1:{self.port}", token)
        return await trio.to_thread.run_sync(partial(ask, address, method, path, fields))

    async def http(self, method: str, path: str, token: str) -> tuple[int, Any]:
        return await trio.to_thread.run_sync(partial(self.server.ask, method, path, token=token))


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, request.param)
    with deployment.server:
        yield deployment


def signed_by(token: str) -> str:
    for secret in (OLD, NEW):
        try:
            jwt.decode(token, secret, algorithms=["HS256"], audience="evanesce")
        except jwt.InvalidSignatureError:
            continue
        return secret
    raise AssertionError("nobody has signed it")


async def refused(ask_for: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what it is, is returned
        await ask_for()
    return str(getattr(caught.value, "code", caught.value))


async def test_the_guide_signs_nobody_out_and_ends_no_ban(deployment: Deployment, nursery: trio.Nursery) -> None:
    server = deployment.server
    await deployment.ready()
    people = {name: await trio.to_thread.run_sync(server.sign_in, name) for name in ("Owner", "Ana", "Ben", "Cleo")}
    tokens = {name: str(person["token"]) for name, person in people.items()}
    users = {name: str(person["userId"]) for name, person in people.items()}
    room = (await trio.to_thread.run_sync(server.open_room, tokens["Owner"]))["roomId"]

    async def connect(name: str) -> ChatClient:
        client = ChatClient(server, nursery, name)
        client.token = tokens[name]
        await client.connect()
        return client

    owner, ben = await connect("Owner"), await connect("Ben")
    await owner.join(room)
    await ben.join(room)
    await owner.ask("remove_member", roomId=room, userId=users["Ben"], banSeconds=86_400)
    await deployment.operate(OLD_TOKEN, "PUT", "users", users["Cleo"], "ban")
    await owner.close()
    await ben.close()

    async def holds(operators: str, banned: tuple[int, str] = (403, "forbidden")) -> None:
        """Check that the bans of the room and of the server hold, and that nobody else notices anything."""
        for name in ("Owner", "Ana"):
            status, profile = await deployment.http("GET", "/api/v1/me", tokens[name])
            assert (status, profile["userId"]) == (200, users[name])
            client = await connect(name)
            await client.join(room)
            await client.close()
        client = await connect("Ben")
        assert await refused(lambda: client.join(room)) == "banned"
        await client.close()
        status, answer = await deployment.http("GET", "/api/v1/me", tokens["Cleo"])
        assert (status, answer["code"]) == banned, answer
        # The ban is looked up by the hash of the person.
        assert (await deployment.operate(operators, "GET", "users", users["Cleo"]))["ban"]["userId"] == users["Cleo"]

    async def refresh(name: str) -> str:
        status, answer = await deployment.http("POST", "/api/v1/session/refresh", tokens[name])
        assert status == 200, answer
        return str(answer["token"])

    await holds(OLD_TOKEN)
    for step, (block, signing) in enumerate([(KNOWN, OLD), (USED, NEW)]):
        operators = '[admin]\ntoken = { file = "old.token" }\n' if step == 0 else OPERATORS
        deployment.configure(block, operators)
        assert "tokens of 1 more are accepted" in await trio.to_thread.run_sync(deployment.check)
        await deployment.take_up(block, operators)
        await holds(OLD_TOKEN)
        assert signed_by(await refresh("Ana")) == signing
    await deployment.operate(NEW_TOKEN, "GET", "stats")

    old_token = tokens["Ana"]
    for name in ("Owner", "Ana", "Ben"):
        tokens[name] = await refresh(name)
    await deployment.take_up(AFTER, '[admin]\ntoken = { file = "new.token" }\n')
    await holds(NEW_TOKEN, banned=(401, "invalid_token"))  # who is banned could not refresh the old token
    status, answer = await deployment.http("GET", "/api/v1/me", old_token)
    assert (status, answer["code"]) == (401, "invalid_token")
    assert "token" in await refused(lambda: deployment.operate(OLD_TOKEN, "GET", "stats"))
    assert (await deployment.operate(NEW_TOKEN, "DELETE", "users", users["Cleo"], "ban"))["changed"]
    owner = await connect("Owner")
    await owner.ask("unban", roomId=room, userId=users["Ben"])
    ben = await connect("Ben")
    await ben.join(room)
    for secret in (OLD, NEW, OLD_TOKEN, NEW_TOKEN, *tokens.values()):
        assert secret not in server.errors


async def test_a_server_whose_secret_a_running_one_does_not_accept_is_reported(
    serve_shared: Callable[..., Server], nursery: trio.Nursery
) -> None:
    """Leaving out the first step would sign people out: `evanesce check` fails before the SIGHUP."""
    shared = "s" * 32
    running = serve_shared()
    for settings, failing in (
        ((f'server.secret=["{NEW}", "{shared}"]', f"server.ban_secret={shared}"), True),
        ((f'server.secret=["{shared}", "{NEW}"]', f"server.ban_secret={shared}"), False),
        ((f'server.secret=["{shared}", "{NEW}"]', f"server.ban_secret={NEW}"), True),
    ):
        command = [sys.executable, "-m", "evanesce", "check"]
        for setting in (*running.settings, *settings):
            command += ["--set", setting]

        async def told(command: list[str] = command) -> str:
            done = await trio.run_process(command, cwd=running.folder, capture_stdout=True, check=False)
            return done.stdout.decode()

        with trio.fail_after(PATIENCE):
            while "no other server runs" in (text := await told()):  # noqa: ASYNC110 - nothing tells
                await trio.sleep(0.1)
        assert ("set otherwise: server." in text) == failing, text
