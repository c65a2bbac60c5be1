"""What the load program is asked to do, as JSON: it makes a crowd, has it talk, and answers with what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.benchmarks.load.crowd import Crowd
from tests.benchmarks.load.dialects import DIALECTS
from tests.benchmarks.load.fanout import FanOut, InFlight, Pace, Steady
from tests.benchmarks.load.many_rooms import ManyRooms
from tests.benchmarks.load.storm import Storm
from tests.benchmarks.load.usage import Meter
from tests.benchmarks.load.wire import content

STALLED_BUFFER = 4_096
"""How much the kernel takes for who never reads, in bytes (it doubles it)."""


def one_room(job: dict[str, Any]) -> dict[str, Any]:
    """Have `members` in one room, and one of them talk at each of `paces`, one after the other.

    `stalled` more are in the room who never read.
    """
    dialect = DIALECTS[job["dialect"]]
    crowd, pids = Crowd(job["ports"], dialect), job["pids"]
    crowd.gather(job["members"])
    room = crowd.new_room(0)
    crowd.join(crowd.sockets, room)
    stalled = Crowd(job["ports"], dialect)
    if job.get("stalled"):
        stalled.gather(job["stalled"], receive_buffer=STALLED_BUFFER)
        stalled.join(stalled.sockets, room)
    crowd.quiet()
    talk = FanOut(crowd.sockets, len(crowd.sockets) // 2, dialect.say(room, content(job["bytes"])), pids)
    results: dict[str, Any] = {}
    for pace in job["paces"]:
        before = Meter(pids).server_bytes()
        result = talk.measure(_pace(pace), pace["warm_up"], pace["seconds"])
        result["server_grew_bytes"] = max(0, Meter(pids).server_bytes() - before)
        results[pace["name"]] = result
    crowd.close()
    stalled.close()
    return results


def many_rooms(job: dict[str, Any]) -> dict[str, Any]:
    """Have `rooms` with `members` each, `together` on one server or not, and in every one somebody who talks."""
    dialect = DIALECTS[job["dialect"]]
    members = job["members"]
    crowd = Crowd(job["ports"], dialect, members if job.get("together") else 1)
    crowd.gather(job["rooms"] * members)
    rooms: list[tuple[Sequence[Any], bytes]] = []
    for number in range(job["rooms"]):
        room = crowd.new_room(number)
        people = crowd.sockets[number * members : (number + 1) * members]
        crowd.join(people, room)
        rooms.append((people, dialect.say(room, content(job["bytes"]))))
    crowd.quiet()
    result = ManyRooms(rooms, job["pids"]).measure(job["warm_up"], job["seconds"])
    crowd.close()
    return {job["name"]: result}


def storm(job: dict[str, Any]) -> dict[str, Any]:
    """Have `people` come into one room at once, and leave it at once."""
    dialect = DIALECTS[job["dialect"]]
    crowd = Crowd(job["ports"], dialect)
    crowd.gather(job["people"])
    room = crowd.new_room(0)
    crowd.quiet()
    whole = Storm(crowd.sockets, job["pids"])
    result = {
        "joins": whole.measure(dialect.join(room), dialect.joined),
        "leaves": whole.measure(dialect.leave(room), dialect.left),
    }
    crowd.close()
    return result


JOBS = {"one_room": one_room, "many_rooms": many_rooms, "storm": storm}


def _pace(pace: dict[str, Any]) -> Pace:
    return InFlight(pace["in_flight"]) if "in_flight" in pace else Steady(pace["per_second"])
