"""What a connection, a room, a message and an account take: in the server, in Valkey and in the database.

`python -m tests.benchmarks.footprint [--people N] [--rooms N] [--messages N]`

The server runs as a deployer starts it, and this process has the client ends. Each size is a difference between two
moments, divided by what was added in between. What the first 200 people and rooms take, who load code and fill caches,
is not counted.
"""

from __future__ import annotations

import argparse
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.benchmarks.idle import WARM_UP, IdleServer, raise_limit, running
from tests.benchmarks.idle_connections import IdleConnections
from tests.e2e.running import valkey_of

CONTENT = "x" * 200
VISITS = 5
"""How often each person of a room of its own visits it again."""

SETTLE_SECONDS = 4.0
"""How long nothing happens before sizes are read: the queue of records reaches the database every second."""

SETTINGS = (
    "messages.ttl=3600",
    "limits.messages_per_second=1000000",
    "limits.burst=1000000",
    "limits.joins_per_second=1000000",
    "limits.commands_per_second=1000000",
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes at one moment, or their growth: of the server, of Valkey, and of the database."""

    server: float
    valkey: float
    database: float

    def since(self, before: Sizes, count: int) -> Sizes:
        """Return how much each has grown since `before`, divided by `count`."""
        return Sizes(
            (self.server - before.server) / count,
            (self.valkey - before.valkey) / count,
            (self.database - before.database) / count,
        )

    def without(self, other: Sizes) -> Sizes:
        """Return these sizes without others."""
        return self.since(other, 1)


def measure(people: int, rooms: int, messages: int) -> dict[str, Sizes]:
    """Return the size of each thing."""
    raise_limit(people + rooms + 2 * WARM_UP + 1000)
    with running("quart", *SETTINGS) as server:
        clients = IdleConnections(server.address, 1)
        empty = _sizes(server, clients)
        clients.open(WARM_UP)
        clients.say(clients.open_alone(WARM_UP), CONTENT)
        before = _sizes(server, clients)
        clients.open(people)
        with_people = _sizes(server, clients)
        person = with_people.since(before, people)
        alone = clients.open_alone(rooms)
        with_rooms = _sizes(server, clients)
        rounds = max(1, messages // rooms)
        for _ in range(rounds):
            clients.say(alone, CONTENT)
        with_messages = _sizes(server, clients)
        for _ in range(VISITS):
            clients.visit_again(alone)
        with_visits = _sizes(server, clients)
        clients.close()
        return {
            "a server with one person": empty,
            "person in a room": person,
            "room": with_rooms.since(with_people, rooms).without(person),
            "message of 200 bytes": with_messages.since(with_rooms, rounds * rooms),
            "further visit to a room": with_visits.since(with_messages, VISITS * rooms),
        }


def _sizes(server: IdleServer, clients: IdleConnections) -> Sizes:
    clients.stay_idle(SETTLE_SECONDS)
    [file] = server.folder.glob("*.db")
    with redis.Redis(unix_socket_path=valkey_of(server.pid)[1]) as valkey:
        used = valkey.info("memory")["used_memory"]
    return Sizes(server.memory(), used, _used(file))


def _used(file: Path) -> int:
    """Return the bytes that a database of SQLite uses: without free pages, and without the log that it will reuse."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        [pages], [free], [size] = (
            database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def table(sizes: dict[str, Sizes]) -> str:
    """Return the sizes as a table of Markdown."""
    rows = [("each", "server, bytes", "Valkey, bytes", "database, bytes"), ("---",) * 4]
    rows += [
        (name, *(f"{value:,.0f}" for value in (one.server, one.valkey, one.database))) for name, one in sizes.items()
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--rooms", type=int, default=1_000)
    parser.add_argument("--messages", type=int, default=20_000)
    options = parser.parse_args()
    print(table(measure(options.people, options.rooms, options.messages)))


if __name__ == "__main__":
    main()
