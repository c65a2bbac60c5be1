"""The jobs of the load program, described as JSON: open connections, send messages, and return the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.benchmarks.load.coming_back import ComingBack
from tests.benchmarks.load.connections import ConnectionPool
from tests.benchmarks.load.dialects import DIALECTS, RESUMING
from tests.benchmarks.load.fanout import FanOut, InFlight, Pace, Steady
from tests.benchmarks.load.many_rooms import ManyRooms
from tests.benchmarks.load.storm import Storm
from tests.benchmarks.load.usage import Meter, wait_until_quiet
from tests.benchmarks.load.wire import content
from tests.benchmarks.processes import anonymous_bytes

STALLED_BUFFER = 4_096
"""The kernel's receive buffer of a client that never reads, in bytes (the kernel doubles it)."""


def one_room(job: dict[str, Any]) -> dict[str, Any]:
    """Join `members` to one room, and let one of them send at each of `paces`, one after the other.

    `stalled` other members never read.
    """
    dialect = DIALECTS[job["dialect"]]
    pool, pids = ConnectionPool(job["ports"], dialect), job["pids"]
    [room] = pool.new_rooms(1)
    pool.open([room] * job["members"])
    pool.join(pool.sockets, room)
    stalled = ConnectionPool(job["ports"], dialect)
    if job.get("stalled"):
        stalled.open([room] * job["stalled"], receive_buffer=STALLED_BUFFER)
        stalled.join(stalled.sockets, room)
    pool.discard_events()
    fan_out = FanOut(pool.sockets, len(pool.sockets) // 2, dialect.say(room, content(job["bytes"])), pids)
    results: dict[str, Any] = {}
    for pace in job["paces"]:
        before = Meter(pids).server_bytes()
        result = fan_out.measure(_pace(pace), pace["warm_up"], pace["seconds"])
        result["server_grew_bytes"] = max(0, Meter(pids).server_bytes() - before)
        results[pace["name"]] = result
    pool.close()
    stalled.close()
    return results


def many_rooms(job: dict[str, Any]) -> dict[str, Any]:
    """Join `members` to each of `rooms`, `together` on one server or not, and let one member of each room send.

    With `hint`, each connection names its room in its address.
    """
    dialect = DIALECTS[job["dialect"]]
    members = job["members"]
    pool = ConnectionPool(job["ports"], dialect, members if job.get("together") else 1)
    names = pool.new_rooms(job["rooms"])
    pool.open([room for room in names for _ in range(members)], hint=job.get("hint", False))
    rooms: list[tuple[Sequence[Any], bytes]] = []
    for number, room in enumerate(names):
        connections = pool.sockets[number * members : (number + 1) * members]
        pool.join(connections, room)
        rooms.append((connections, dialect.say(room, content(job["bytes"]))))
    pool.discard_events()
    result = ManyRooms(rooms, job["pids"]).measure(job["warm_up"], job["seconds"])
    pool.close()
    return {job["name"]: result}


def storm(job: dict[str, Any]) -> dict[str, Any]:
    """Join a number of connections to one room at once, and let them leave it at once."""
    dialect = DIALECTS[job["dialect"]]
    pool = ConnectionPool(job["ports"], dialect)
    [room] = pool.new_rooms(1)
    pool.open([room] * job["connections"])
    pool.discard_events()
    clients = Storm(pool.sockets, job["pids"])
    result = {
        "joins": clients.measure(dialect.join(room), dialect.joined),
        "leaves": clients.measure(dialect.leave(room), dialect.left),
    }
    pool.close()
    return result


def coming_back(job: dict[str, Any]) -> dict[str, Any]:
    """Let `people` connect and join rooms of `members` at once, go, and come back at once."""
    [port] = job["ports"]
    clients = ComingBack(port, RESUMING[job["dialect"]], job["people"], job["members"], job["pids"])
    return dict(zip(job["names"], clients.measure(job["bytes"]), strict=True))


def idle(job: dict[str, Any]) -> dict[str, Any]:
    """Join `connections` to one room, after `warm_up` others, and return what each of them holds in memory."""
    dialect = DIALECTS[job["dialect"]]
    pool, pids = ConnectionPool(job["ports"], dialect), job["pids"]
    [room] = pool.new_rooms(1)
    before = 0
    for count in (job["warm_up"], job["connections"]):
        before = anonymous_bytes(pids)
        first = len(pool.sockets)
        pool.open([room] * count)
        pool.join(pool.sockets[first:], room)
        pool.discard_events()
        wait_until_quiet(pids)
    grown = anonymous_bytes(pids) - before
    pool.close()
    return {job["name"]: {"kib_per_connection": grown / job["connections"] / 1024}}


JOBS = {
    "one_room": one_room,
    "many_rooms": many_rooms,
    "storm": storm,
    "coming_back": coming_back,
    "idle": idle,
}


def _pace(pace: dict[str, Any]) -> Pace:
    return InFlight(pace["in_flight"]) if "in_flight" in pace else Steady(pace["per_second"])
