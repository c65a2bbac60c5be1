"""The stage `operator`: what people who talk notice of an operator who bans, backs up, restores, rotates and drains."""

from __future__ import annotations

import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from evanesce.cli.admin_client import Address, ask
from tests.chaos.report import Table
from tests.chaos.talk import Deliveries, talking
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE
from tests.ports import free_port

COLUMNS = ("act", "before: p50, p99 in ms", "meanwhile: p50, p99 in ms", "lost", "sent away", "notes")

TOKEN = "operators-while-people-talk-0123456789"
OLD, NEW = "old-secret-" * 4, "new-secret-" * 4
SECRETS = {"old.secret": OLD, "new.secret": NEW}
WORKERS = 2
"""The workers of the server where everybody talks. The other server is one process."""

RESTART_SECONDS = 120.0
GOING_AWAY, NOT_WELCOME = 1001, 4403


@dataclass(frozen=True, slots=True)
class Scale:
    """The rooms, the members of each, the bystanders that acts are about, and the shortest time of a measurement."""

    rooms: int
    members: int
    bystanders: int
    seconds: float


FULL = Scale(rooms=20, members=10, bystanders=20, seconds=10)
SHORT = Scale(rooms=2, members=3, bystanders=2, seconds=1)


class Deployment:
    """Server `main`, where people talk, and server `other`, on the same Valkey and the same database."""

    def __init__(self, folder: Path, valkey: Valkey) -> None:
        self.folder = folder
        self.redis = f"redis.url={valkey.url}"
        self.database = folder / "shared.db"
        self.admin = Address(f"http://127.0.0.1:{free_port()}", TOKEN)
        shared = (self.redis, f"plugins.sqlite.path={self.database}", "limits.handshakes_per_second=1000")
        admin = (f"admin.bind={self.admin.url.removeprefix('http://')}", f"admin.token={TOKEN}")
        self.main = self._server("main", f"server.workers={WORKERS}", *admin, *shared)
        self.other = self._server("other", *shared)
        self.configure("old.secret")

    def _server(self, name: str, *settings: str) -> Server:
        folder = self.folder / name
        folder.mkdir()
        for secret, text in SECRETS.items():
            (folder / secret).write_text(text)
        return Server(folder, f"server.node={name}", *settings)

    @property
    def servers(self) -> Sequence[Server]:
        """Both servers."""
        return self.main, self.other

    def configure(self, *secrets: str) -> None:
        """Write the configuration of both servers: the first of `secrets` signs, and all are accepted."""
        files = ", ".join(f'{{ file = "{name}" }}' for name in secrets)
        for server in self.servers:
            (server.folder / "config.toml").write_text(
                f'[server]\nsecret = [{files}]\nban_secret = {{ file = "old.secret" }}\n'
            )

    async def ask(self, method: str, *path: str, **fields: object) -> Mapping[str, object]:
        """Send a request to the interface for operators."""
        return await trio.to_thread.run_sync(partial(ask, self.admin, method, path, fields))

    async def run(self, *words: str, database: Path | None = None) -> str:
        """Run a command of `evanesce` as an operator does, and return what it printed. Raises if it fails."""
        settings = ["--set", self.redis, "--set", f"plugins.sqlite.path={database or self.database}"]
        command = [sys.executable, "-m", "evanesce", *words, *settings]
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(command, cwd=self.main.folder, capture_stdout=True, capture_stderr=True)
        return done.stdout.decode()

    async def restart(self) -> None:
        """Send SIGHUP to one server after the other, and wait until each serves with its configuration."""
        said = {self.main: "all workers were restarted", self.other: "the message store answers"}
        for server, text in said.items():
            before = server.errors.count(text)
            server.send_signal(signal.SIGHUP)
            await until(partial(_has_said, server, text, before + 1), RESTART_SECONDS)
            await _serves(server)


async def _serves(server: Server) -> None:
    """Wait until a server that has restarted listens again, and is ready."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await trio.to_thread.run_sync(server.ready)
            except ConnectionError:
                await trio.sleep(0.1)
            else:
                return


def _has_said(server: Server, text: str, times: int) -> bool:
    return server.errors.count(text) >= times


async def ban(deployment: Deployment, scale: Scale) -> str:
    """Ban people who are connected, one after the other, and let them in again."""
    closed: list[int] = []
    async with trio.open_nursery() as nursery:
        people = [await ChatClient.open(deployment.main, nursery, f"Banned {turn}") for turn in range(scale.bystanders)]
        for person in people:
            await deployment.ask("PUT", "users", person.user_id, "ban", reason="a trial")
            closed.append((await person.wait_closed_by_server()).code)
        for person in people:
            await deployment.ask("DELETE", "users", person.user_id, "ban")
        nursery.cancel_scope.cancel()
    return f"{closed.count(NOT_WELCOME)} of {scale.bystanders} banned people were closed with {NOT_WELCOME}"


async def back_up(deployment: Deployment, scale: Scale) -> str:
    """Back up the database, check it, and restore the backup into a new database beside it."""
    backup, beside = deployment.folder / "backup.db", deployment.folder / "beside.db"
    await deployment.run("db", "backup", str(backup))
    await deployment.run("db", "check")
    await deployment.run("db", "restore", str(backup), database=beside)
    return f"{_accounts(beside)} of {_accounts(deployment.database)} accounts restored into a new database"


def _accounts(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        [[count]] = connection.execute('SELECT count(*) FROM "User"')
    return int(count)


async def rotate(deployment: Deployment, scale: Scale) -> str:
    """Replace the secret that signs tokens, as the guide says: all accept the new one, then all sign with it."""
    begun = time.monotonic()
    for secrets in (("old.secret", "new.secret"), ("new.secret", "old.secret")):
        deployment.configure(*secrets)
        await deployment.restart()
    return f"two restarts of both servers in {time.monotonic() - begun:.0f} s"


async def drain(deployment: Deployment, scale: Scale) -> str:
    """Take the other server out of service, with people on it."""
    async with trio.open_nursery() as nursery:
        people = [await ChatClient.open(deployment.other, nursery, f"Moved {turn}") for turn in range(scale.bystanders)]
        await deployment.ask("POST", "drain", server="other")
        closed = [(await person.wait_closed_by_server()).code for person in people]
        nursery.cancel_scope.cancel()
    return f"{closed.count(GOING_AWAY)} of {scale.bystanders} people there were sent away with {GOING_AWAY}"


ACTS: Mapping[str, Callable[[Deployment, Scale], Awaitable[str]]] = {
    "people are banned, and let in again": ban,
    "the database is backed up, checked and restored beside": back_up,
    "the other server is drained": drain,
    "the secret is replaced, with two restarts of each server": rotate,
}
"""All acts, in their order. The last one ends the draining."""


def measure(short: bool) -> Table:
    """Measure all acts. This takes about two minutes, or one if it is `short`."""
    scale = SHORT if short else FULL
    people = scale.rooms * scale.members
    return Table(
        "What people notice of an operator",
        COLUMNS,
        trio.run(measure_acts, scale),
        [
            f"{people} people in {scale.rooms} rooms talk on a server with {WORKERS} workers; in each room one sends "
            "two messages a second. Another server has the same Valkey and database. The delay is the time from when a "
            "message was due until each member has received it. “lost” counts deliveries that are missing and those of "
            "which people were told that they are; “sent away” counts connections that ended, and came back."
        ],
    )


async def measure_acts(scale: Scale) -> Sequence[Sequence[str]]:
    """Measure each act, and the same people undisturbed just before it."""
    rows: list[Sequence[str]] = []
    async with _serving() as deployment, talking(deployment.main.url, scale.rooms, scale.members) as talk:
        for name, act in ACTS.items():
            before, _ = await talk.measure(scale.seconds)
            meanwhile, note = await talk.measure(scale.seconds, partial(act, deployment, scale))
            rows.append([name, _delays(before), _delays(meanwhile), _lost(meanwhile), str(meanwhile.sent_away), note])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows


@asynccontextmanager
async def _serving() -> AsyncGenerator[Deployment]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="operator-")))
        deployment = Deployment(folder, stack.enter_context(Valkey()))
        for server in deployment.servers:
            await trio.to_thread.run_sync(server.start)
            stack.callback(server.kill)
        yield deployment


def _delays(deliveries: Deliveries) -> str:
    return f"{deliveries.percentile(0.5):.1f}, {deliveries.percentile(0.99):.1f}"


def _lost(deliveries: Deliveries) -> str:
    return f"{deliveries.lost:,}" + (f", {deliveries.doubled:,} twice" if deliveries.doubled else "")
