"""How a server ends, and comes back: a restart by SIGHUP, and the time between SIGTERM and the end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio

from evanesce.errors import CloseCode
from tests.core.cli.test_commands import run
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import TRANSPORTS, Server
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = pytest.mark.slow

Serve = Callable[..., Server]

RESTART_SECONDS = 120.0
WORKERS = ["server.workers=2", f"server.secret={'s' * 32}"]
DUCK = 3600
"""A time that a test does not wait for."""

FAULTY = {
    "a value": ("[messages]\nttl = 0", "evanesce: messages.ttl: expected a number"),
    "a key that nobody knows": ("[server]\npublicurl = 'x'", "evanesce: server.publicurl:"),
    "no TOML": ("[server", "evanesce: config.toml: is not TOML"),
    "a plugin that is not there": ("[plugins]\nenabled = ['guest', 'sqlite', 'quart', 'nobody']", "evanesce: "),
    "settings that do not go together": ("[limits]\nframe_bytes = 1024", "evanesce: limits.frame_bytes: is too small"),
    "a variable that is not there": ("[server]\nnode = {env = 'NOBODY_SET_THIS'}", "evanesce: server.node:"),
    "a certificate that is not there": (
        "[plugins.quart]\ncertfile = 'none.pem'\nkeyfile = 'none.pem'",
        "evanesce: plugins.quart.",
    ),
    "a Redis that cannot be": ("[redis]\nurl = 'redis://[nobody'", "evanesce: redis.url:"),
    "a database that cannot be": ("[plugins.sqlite]\npath = 'none/evanesce.db'", "evanesce: plugins.sqlite.path: "),
}


def answer(server: Server, port: int | None = None) -> tuple[int, str] | None:
    """Ask /readyz; None where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port or server.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, json.loads(response.read())["status"]
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


async def served_again(server: Server) -> None:
    """Wait until a server that was restarted says where it listens, as at its start."""
    line = await trio.to_thread.run_sync(server._next_line)
    assert line.startswith("listening on "), server.errors


@pytest.mark.parametrize("workers", [[], WORKERS], ids=["single", "workers"])
async def test_a_sighup_with_a_faulty_configuration_restarts_nothing_and_says_why(
    serve: Serve, nursery: trio.Nursery, workers: list[str]
) -> None:
    server = serve(*workers, f"server.secret={'s' * 32}")
    before = server.workers()
    valkey = server.valkey()
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    refused = 0
    configuration = server.folder / "config.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        in_use = f"[plugins.guest]\n[plugins.trio_websocket]\nbind = '127.0.0.1:{taken.getsockname()[1]}'\n"
        enabled = "[plugins]\nenabled = ['guest', 'sqlite', 'quart', 'trio_websocket']\n"
        cases = FAULTY | {"a port that is taken": (enabled + in_use, "evanesce: plugins.trio_websocket.bind: cannot")}
        for name, (content, told) in cases.items():
            written = len(server.errors)
            configuration.write_text(content)
            server.send_signal(signal.SIGHUP)
            refused += 1
            await until(lambda: server.errors.count("no restart: ") == refused, RESTART_SECONDS)  # noqa: B023
            [line] = [line for line in server.errors[written:].splitlines() if line.startswith("evanesce: ")]
            assert line.startswith(told), name
    configuration.unlink()
    await ana.say(room_id, "still here")
    await ana.wait_for_event("message", content="still here")
    assert ana.connection.close_reason is None
    assert (server.workers(), server.valkey()) == (before, valkey), "nothing was restarted"
    await until(lambda: answer(server) == (200, "ready"))


async def refuses_to_restart(server: Server, told: str) -> None:
    """Start a check of the configuration, which must end with one line that begins with `told`."""
    written = len(server.errors)
    server.send_signal(signal.SIGHUP)
    await until(lambda: "no restart: " in server.errors[written:], RESTART_SECONDS)
    [line] = [line for line in server.errors[written:].splitlines() if line.startswith("evanesce: ")]
    assert line.startswith(told)
    await until(lambda: answer(server) == (200, "ready"))


async def test_workers_stay_with_the_database_that_their_supervisor_has_locked(tmp_path: Path) -> None:
    server = Server(tmp_path, *WORKERS)
    await trio.to_thread.run_sync(server.start)
    try:
        (tmp_path / "config.toml").write_text("[plugins.sqlite]\npath = 'new.db'")
        await refuses_to_restart(server, "evanesce: the database: is another one now, but the supervisor")
        assert not (tmp_path / "new.db").exists()
    finally:
        await trio.to_thread.run_sync(server.stop)


@pytest.mark.parametrize("workers", [[], WORKERS], ids=["single", "workers"])
async def test_a_sighup_tries_no_migrate_too(tmp_path: Path, workers: list[str]) -> None:
    made = await trio.to_thread.run_sync(partial(run, tmp_path, "db"))
    assert made.returncode == 0, made.stderr
    server = Server(tmp_path, *workers, options=["--no-migrate"])
    await trio.to_thread.run_sync(server.start)
    try:
        (tmp_path / "config.toml").write_text("[plugins.sqlite]\npath = 'new.db'")
        await refuses_to_restart(server, "evanesce: serve --no-migrate: there is no database yet")
        assert not (tmp_path / "new.db").exists()
    finally:
        await trio.to_thread.run_sync(server.stop)


async def test_a_sighup_tries_whether_the_database_is_bound_to_the_redis(serve: Serve, valkey: Valkey) -> None:
    server = serve(f"server.secret={'s' * 32}")
    valkey.client.set("evanesce:{servers}:identity", "of another database")
    (server.folder / "config.toml").write_text(f"[redis]\nurl = '{valkey.url}'")
    await refuses_to_restart(server, "evanesce: redis.url: servers with another Redis use this database")
    (server.folder / "config.toml").write_text(f"[redis]\nurl = '{valkey.url}-nobody'")
    server.send_signal(signal.SIGHUP)  # a server starts without an answer as well
    await served_again(server)


async def test_workers_keep_their_redis(serve: Serve) -> None:
    server = serve(*WORKERS)
    (server.folder / "config.toml").write_text("[redis]\nprefix = 'another'\n[messages]\nttl = 7")
    server.send_signal(signal.SIGHUP)
    await until(lambda: "all workers were restarted" in server.errors, RESTART_SECONDS)
    assert "redis.prefix has changed, but a restart by SIGHUP does not change it" in server.errors
    assert "waiting to see if it still does" not in server.errors


async def test_a_single_server_restarts_as_the_same_process(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve()
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    valkey = server.valkey()[0]
    (server.folder / "config.toml").write_text("[messages]\nttl = 7")
    for number in range(1, 4):
        server.send_signal(signal.SIGHUP)
        goodbye = await ana.wait_for_event("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == (CloseCode.RESTARTING, True)
        assert (await ana.wait_closed_by_server()).code == CloseCode.RESTARTING
        await served_again(server)
        with closing(sqlite3.connect(server.database)) as database:
            logs = database.execute('SELECT leaveTime FROM "SessionLog"').fetchall()
        assert len(logs) == number
        assert None not in [leave for (leave,) in logs], "what was to be stored is stored"
        assert (await ana.connect())["messageTtl"] == 7
        await ana.join(room_id)
    assert server.valkey()[0] != valkey
    assert server.process is not None
    assert server.process.poll() is None, "whoever looks after it has noticed nothing"
    assert len(os.listdir(f"/proc/{server.process.pid}/fd")) < 40, "no files of before are left"


async def test_a_restart_takes_another_port(serve: Serve) -> None:
    server = serve()
    port = free_port()
    # The port is given as an option, which is read again too, so a second transport is what moves.
    text = "[plugins]\nenabled = ['guest', 'sqlite', 'quart', 'trio_websocket']\n"
    (server.folder / "config.toml").write_text(f"{text}[plugins.trio_websocket]\nbind = '127.0.0.1:{port}'")
    server.send_signal(signal.SIGHUP)
    await served_again(server)
    assert await trio.to_thread.run_sync(server._next_line) == f"listening on ws://127.0.0.1:{port}"


async def test_sighups_during_a_restart_are_neither_lost_nor_deadly(serve: Serve) -> None:
    server = serve()
    server.send_signal(signal.SIGHUP)
    with trio.fail_after(RESTART_SECONDS):
        for _ in range(2):  # what comes during a restart, at whatever moment, brings the next one
            while "listening on" not in await said_within(server, 0.01):
                assert server.process is not None
                assert server.process.poll() is None, server.errors
                server.send_signal(signal.SIGHUP)
    await trio.to_thread.run_sync(server.kill)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
async def test_a_sigterm_at_any_moment_of_a_restart_is_the_end(serve: Serve, delay: float) -> None:
    server = serve()
    server.send_signal(signal.SIGHUP)
    await until(lambda: "restarting: closing all connections" in server.errors, RESTART_SECONDS)
    await said_within(server, delay)
    server.send_signal(signal.SIGTERM)
    assert await trio.to_thread.run_sync(server.wait, 60.0) == 0


async def said_within(server: Server, seconds: float) -> str:
    """Return what is on its standard output within a time."""
    assert server.process is not None
    assert server.process.stdout is not None
    descriptor = server.process.stdout.fileno()
    with trio.move_on_after(seconds):
        await trio.lowlevel.wait_readable(descriptor)
        return os.read(descriptor, 1000).decode()
    return ""


# From SIGTERM to the end


@pytest.mark.parametrize("workers", [[], WORKERS], ids=["single", "workers"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_lame_duck_serves_until_a_second_signal(
    serve: Serve, nursery: trio.Nursery, workers: list[str], transport: str
) -> None:
    transports = list(dict.fromkeys((transport, "quart")))  # of these only quart has /readyz
    server = serve(*workers, f"server.lame_duck_seconds={DUCK}", transports=transports)
    http_port = server.ports["quart"]

    def asked() -> set[tuple[int, str] | None]:
        """What /readyz says to several who ask: each worker answers, as the kernel chooses."""
        return {answer(server, http_port) for _ in range(16)}

    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    assert asked() == {(200, "ready")}
    server.send_signal(signal.SIGTERM)
    await until(lambda: asked() == {(503, "draining")})
    for number in range(4):
        ben = await ChatClient.open(server, nursery, "Ben")  # whoever comes now is served
        await ben.join(room_id)
        await ben.say(room_id, f"late {number}")
        await ana.wait_for_event("message", content=f"late {number}")
        await ben.close()
    assert ana.connection.close_reason is None
    server.send_signal(signal.SIGTERM)
    goodbye = await ana.wait_for_event("goodbye")
    assert (goodbye["code"], goodbye["reconnect"]) == (CloseCode.GOING_AWAY, True)
    assert await trio.to_thread.run_sync(server.wait, 60.0) == 0
    assert answer(server, http_port) is None


async def test_a_lame_duck_ends_by_itself(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve("server.lame_duck_seconds=0.5")
    ana = await ChatClient.open(server, nursery, "Ana")
    server.send_signal(signal.SIGTERM)
    assert (await ana.wait_for_event("goodbye"))["code"] == CloseCode.GOING_AWAY
    assert await trio.to_thread.run_sync(server.wait, 60.0) == 0


async def test_workers_whose_supervisor_was_killed_are_no_lame_ducks(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve(*WORKERS, f"server.lame_duck_seconds={DUCK}")
    ana = await ChatClient.open(server, nursery, "Ana")
    await trio.to_thread.run_sync(server.kill)
    assert (await ana.wait_closed_by_server()).code == CloseCode.GOING_AWAY
    await until(lambda: server.listeners() == 0, 60.0)


async def test_a_restart_of_workers_has_no_lame_duck(serve: Serve) -> None:
    server = serve(*WORKERS, f"server.lame_duck_seconds={DUCK}")
    server.send_signal(signal.SIGHUP)
    await until(lambda: "all workers were restarted" in server.errors, RESTART_SECONDS)
    server.send_signal(signal.SIGTERM)
    await until(lambda: answer(server, server.port) == (503, "draining"))
    server.send_signal(signal.SIGTERM)
    assert await trio.to_thread.run_sync(server.wait, 60.0) == 0
