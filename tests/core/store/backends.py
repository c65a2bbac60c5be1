"""The stores that the tests run on: in memory, and on a real Valkey of each test's own.

Determinism: a Unix socket in a private folder, one server process for each test, no sleeps: what takes time is waited
for, under `trio.fail_after`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

import redis
import trio

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.model import Draft
from evanesce.store import Store
from evanesce.store.embedded import embedded_valkey
from evanesce.store.events import Feed, Left, PresenceChanged, RoomEvent
from evanesce.store.memory import MemoryServer, MemoryStore, memory_store
from evanesce.store.message_log import LogEntry, Outcome, RepeatedEntry, RoomClosed, Stored
from evanesce.store.presence import Joiner, JoinOutcome, Member
from evanesce.store.redis import open_redis_store
from evanesce.store.rules import RoomRules
from tests.patience import PATIENCE
from tests.redis_versions import SETTING, server_binary
from tests.valkey_cluster import ValkeyCluster

T = TypeVar("T")

REDIS_PAGE = Path(__file__).parents[3] / "docs/how-to/use-an-outside-redis.md"
SMALLEST_ACCESS = " ".join(
    line.strip()
    for line in REDIS_PAGE.read_text().splitlines()
    if line.startswith(("    ~", "    +")) and not line.startswith("    +cluster")
)
"""What a Redis user needs, as the documentation has it."""

CLUSTER_ACCESS = " ".join(
    line.strip() for line in REDIS_PAGE.read_text().splitlines() if line.startswith("    +cluster")
)
"""What it needs in a cluster in addition."""


SECRET = "a secret of all servers, for tests"


class Backend(Protocol):
    """One Redis, or what stands in for it, and the stores of several servers on it."""

    async def open(self, server_id: str = "one", ttl: float = 60.0) -> Store: ...

    async def close(self, store: Store) -> None: ...

    def forget(self) -> None:
        """Lose the memory, and be back."""
        ...

    def away(self) -> None:
        """Stop answering."""
        ...

    def back(self) -> None:
        """Answer again, with everything that was there."""
        ...


class MemoryBackend:
    def __init__(self) -> None:
        self.server = MemoryServer()

    async def open(self, server_id: str = "one", ttl: float = 60.0) -> Store:
        return memory_store(ttl=ttl, server_id=server_id, server=self.server)

    async def close(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.stop()

    def forget(self) -> None:
        self.server.come_back(with_memory=False)

    def away(self) -> None:
        self.server.go_down()

    def back(self) -> None:
        self.server.come_back()


class Hosted:
    """The stores of several servers, each in a task of its own: its nursery must open and close in the same one."""

    def __init__(self, table: RedisTable, nursery: trio.Nursery, secret: str | None = None) -> None:
        self._table = table
        self._secret = secret
        self._nursery = nursery
        self._stores: dict[int, tuple[trio.Event, trio.Event]] = {}

    async def open(self, server_id: str, ttl: float) -> Store:
        return await self._nursery.start(self._host, server_id, ttl)

    async def _host(self, server_id: str, ttl: float, *, task_status: trio.TaskStatus[Store]) -> None:
        stop, stopped = trio.Event(), trio.Event()
        async with open_redis_store(
            self._table, ttl=ttl, server_id=server_id, secrets=() if self._secret is None else [self._secret]
        ) as store:
            self._stores[id(store)] = stop, stopped
            task_status.started(store)
            await stop.wait()
        stopped.set()

    async def close(self, store: Store) -> None:
        stop, stopped = self._stores.pop(id(store))
        stop.set()
        await stopped.wait()


class RedisBackend:
    """A Valkey, the stores on it, and a client of its own to look from outside.

    With `access` the stores sign in as a user who may do no more than these rules say. With `secret` they encrypt.
    """

    def __init__(self, url: str, nursery: trio.Nursery, access: str | None = None, secret: str | None = None) -> None:
        self.url = url
        self.client: redis.Redis = redis.Redis.from_url(url)
        self._access = access
        if access is not None:
            self.url = url.replace("unix://", "unix://chat:secret@")
            self._let_in()
        self._nursery = nursery
        self._hosted = Hosted(RedisTable(url=self.url), nursery, secret)

    async def open(self, server_id: str = "one", ttl: float = 60.0) -> Store:
        return await self._hosted.open(server_id, ttl)

    def _let_in(self) -> None:
        assert self._access is not None
        self.client.execute_command("ACL", "SETUSER", "chat", "on", ">secret", *self._access.split())

    async def _let_in_again(self) -> None:
        """Create the user in the next Valkey: a deployer has it in the configuration, and not in memory."""
        while True:
            try:
                self._let_in()
            except redis.ConnectionError:
                await trio.sleep(0.005)  # nothing tells when it is there
            else:
                return

    async def close(self, store: Store) -> None:
        await self._hosted.close(store)

    @property
    def pid(self) -> int:
        return int(self.client.info("server")["process_id"])

    def forget(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        if self._access is not None:
            self._nursery.start_soon(self._let_in_again)

    def away(self) -> None:
        self._stopped = self.pid
        os.kill(self._stopped, signal.SIGSTOP)

    def back(self) -> None:
        os.kill(self._stopped, signal.SIGCONT)


class ClusterBackend:
    """A Redis Cluster that tests share, empty at the start of each, and the stores on it."""

    def __init__(self, cluster: ValkeyCluster, nursery: trio.Nursery) -> None:
        self.cluster = cluster
        self._hosted = Hosted(RedisTable(url=cluster.url, cluster=True), nursery)

    async def open(self, server_id: str = "one", ttl: float = 60.0) -> Store:
        return await self._hosted.open(server_id, ttl)

    async def close(self, store: Store) -> None:
        await self._hosted.close(store)

    def forget(self) -> None:
        self.cluster.forget()

    def away(self) -> None:
        self.cluster.signal(signal.SIGSTOP)

    def back(self) -> None:
        self.cluster.signal(signal.SIGCONT)


@asynccontextmanager
async def cluster_backend(cluster: ValkeyCluster) -> AsyncGenerator[ClusterBackend, None]:
    cluster.empty()
    async with trio.open_nursery() as nursery:
        yield ClusterBackend(cluster, nursery)
        nursery.cancel_scope.cancel()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@asynccontextmanager
async def other_server() -> AsyncGenerator[str, None]:
    """Run the server that the tests were told to run on, as the embedded Valkey is run, and yield its URL.

    If it ends, it is started again at once, without data.
    """
    with tempfile.TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True) as folder:
        socket = f"{folder}/socket"
        options = {"port": "0", "unixsocket": socket, "dir": folder, "save": "", "slowlog-log-slower-than": "-1"}
        command = [str(server_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]

        async def run_again_and_again() -> None:
            while True:
                await trio.run_process(command, stdin=None, capture_stdout=True, check=False)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_again_and_again)
            with redis.Redis(unix_socket_path=socket) as client:
                await eventually(lambda: answers(client))
            yield f"unix://{socket}"
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def redis_backend(access: str | None = None, secret: str | None = None) -> AsyncGenerator[RedisBackend, None]:
    other = SETTING in os.environ
    async with other_server() if other else embedded_valkey() as url, trio.open_nursery() as nursery:
        backend = RedisBackend(url, nursery, access, secret)
        yield backend
        nursery.cancel_scope.cancel()
    backend.client.close()


def draft(room_id: str, content: str = "hello", *, message_id: str | None = None, sender: str = "ada") -> Draft:
    return Draft(
        message_id=message_id or str(uuid4()),
        room_id=room_id,
        sender_id=sender,
        sender_name=sender.title(),
        content=content,
    )


RULES = RoomRules("creator", 60_000)
"""The rules of a room that has none of its own."""


def joiners(*people: Member, admitted: bool = False, returns: bool = False) -> list[Joiner]:
    """Return users who want to join; the subject of each is made of the id."""
    return [Joiner(one.user_id, one.display_name, f"subject of {one.user_id}", admitted, returns) for one in people]


async def join(
    store: Store,
    room_id: str,
    people: Sequence[Member],
    capacity: int = 10,
    roster: int = 10,
    *,
    rules: RoomRules = RULES,
) -> JoinOutcome:
    """Let users join a room that is open, and whose rules the store has."""
    outcome = await store.presence.join(room_id, joiners(*people), capacity, roster, rules)
    assert isinstance(outcome, JoinOutcome)
    return outcome


class PresenceLog:
    """Notes the changes of presence that a store reports: the room, who came and who left."""

    def __init__(self, store: Store) -> None:
        self.told: list[tuple[str, set[str], set[str]]] = []
        store.presence.observe(lambda room_id, joined, left: self.told.append((room_id, set(joined), set(left))))


async def appended(store: Store, room_id: str, content: str = "hello") -> bool:
    """Store a message; False where the store cannot take it."""
    try:
        return not isinstance(await store.messages.append(room_id, [draft(room_id, content)]), RoomClosed)
    except StoreUnavailable:
        return False


async def events(feed: Feed, count: int) -> list[RoomEvent]:
    """Wait for `count` events, no more and no fewer so far."""
    heard: list[RoomEvent] = []
    with trio.fail_after(PATIENCE):
        while len(heard) < count:
            heard += await feed.next()
    assert len(heard) == count, heard
    return heard


@asynccontextmanager
async def python(program: str, *arguments: str) -> AsyncGenerator[tuple[trio.Process, str], None]:
    """Run a program in another process, and yield the first line that it prints; at the end it is killed."""
    process = await trio.lowlevel.open_process([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = b""
        with trio.fail_after(PATIENCE):
            while not line.endswith(b"\n"):
                more = await process.stdout.receive_some()
                assert more, "it ended before it said anything"
                line += more
        yield process, line.decode().strip()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Look again and again until `condition`, or what it gives to await, is true; for what nothing tells of."""
    with trio.fail_after(seconds):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            await trio.sleep(0.005)


async def departures(feed: Feed, user_id: str) -> list[Left]:
    """Listen until a user has left; return that event, after those of others who left before."""
    left: list[Left] = []
    with trio.fail_after(PATIENCE):
        while True:
            for event in of_kind(await feed.next(), Left):
                left.append(event)
                if event.user_id == user_id:
                    return left


ALL = 1_000, 10_000_000
"""Most messages, most bytes: more than any test has."""


async def send(store: Store, room_id: str, *contents: str) -> list[str]:
    """Store new messages, and return their ids."""
    drafts = [draft(room_id, content) for content in contents]
    answers = await store.messages.append(room_id, drafts)
    assert not isinstance(answers, RoomClosed)
    assert all(isinstance(answer, Stored) and not answer.duplicate for answer in answers)
    return [each.message_id for each in drafts]


async def append_one(store: Store, message: Draft, ttl: int | None = None) -> Outcome | RoomClosed:
    """Store a message as `MessageLog.append_one` does, and wait for the outcome. Raises `StoreUnavailable`."""
    outcomes: list[Outcome | RoomClosed | StoreUnavailable] = []
    told = trio.Event()

    def done(outcome: Outcome | RoomClosed | StoreUnavailable) -> None:
        outcomes.append(outcome)
        told.set()

    store.messages.append_one(message.room_id, message, done, ttl)
    assert not outcomes, "it is told later"
    with trio.fail_after(PATIENCE):
        await told.wait()
    [outcome] = outcomes
    if isinstance(outcome, StoreUnavailable):
        raise outcome
    return outcome


async def contents(store: Store, room_id: str, since: str | None = None) -> list[str]:
    """Return the contents of a room's messages after `since`."""
    history = await store.messages.history(room_id, since, *ALL)
    assert not isinstance(history, RoomClosed)
    return [each.message.content for each in history.messages]


async def until_gone(feed: Feed, user_id: str) -> list[RoomEvent]:
    """Listen until a user is in the room no more, as an event or a snapshot of all members shows; return all events.

    On a machine that is busy for seconds a server takes its subscription for lost, and then reads who is there.
    """
    heard: list[RoomEvent] = []
    with trio.fail_after(PATIENCE):
        while not any(_shows_gone(event, user_id) for event in heard):
            heard += await feed.next()
    return heard


def _shows_gone(event: RoomEvent, user_id: str) -> bool:
    match event:
        case Left():
            return event.user_id == user_id
        case PresenceChanged(presence):
            return user_id not in {member.user_id for member in presence.members or ()}
        case _:
            return False


async def until(feed: Feed, kind: type, count: int = 1) -> list[RoomEvent]:
    """Listen until `count` events of `kind` have come; return all that came."""
    heard: list[RoomEvent] = []
    with trio.fail_after(PATIENCE):
        while sum(isinstance(event, kind) for event in heard) < count:
            heard += await feed.next()
    return heard


def of_kind(heard: Sequence[RoomEvent], kind: type[T]) -> list[T]:
    return [event for event in heard if isinstance(event, kind)]


@dataclass
class Record:
    """The answers to a sender, and the events that a follower received."""

    acknowledged: list[str] = field(default_factory=list[str])
    refused: int = 0
    slowest: float = 0.0
    heard: list[RoomEvent] = field(default_factory=list[RoomEvent])
    sending: bool = True

    async def send(self, store: Store, room_id: str) -> None:
        while self.sending:
            mine = draft(room_id)
            started = trio.current_time()
            try:
                if len(self.acknowledged) % 2:
                    answer = await append_one(store, mine)
                else:
                    answers = await store.messages.append(room_id, [mine])
                    assert not isinstance(answers, RoomClosed)
                    [answer] = answers
            except StoreUnavailable:
                self.refused += 1
                await trio.sleep(0.005)
            else:
                assert isinstance(answer, Stored)
                self.acknowledged.append(mine.message_id)
            self.slowest = max(self.slowest, trio.current_time() - started)

    async def listen(self, feed: Feed) -> None:
        """Take what is handed over as it arrives, and what has to be fetched first."""
        feed.deliver_to(self.heard.extend)
        while True:
            self.heard += await feed.next()

    @property
    def given(self) -> list[str]:
        """The ids of the messages that came, without what came for the second time as such."""
        entries = of_kind(self.heard, LogEntry)
        return [each.message.message_id for each in entries if not isinstance(each, RepeatedEntry)]

    async def finish(self, store: Store, room_id: str) -> None:
        """Stop sending, and wait until the follower has received the last message."""
        self.sending = False
        last = draft(room_id, "last")
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await store.messages.append(room_id, [last])
                    break
                except StoreUnavailable:
                    await trio.sleep(0.01)
            await eventually(lambda: last.message_id in self.given)
