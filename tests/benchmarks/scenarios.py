"""What is measured, with which sizes, and for which contenders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.benchmarks.contenders import (
    CENTRIFUGO,
    CENTRIFUGO_REDIS,
    EJABBERD,
    ENCRYPTED,
    FLOOR,
    LIMIT,
    NATS,
    NCHAN,
    NCHAN_REDIS,
    PICOWS,
    PYTHON_SOCKETIO,
    PYTHON_SOCKETIO_REDIS,
    SOCKETIO,
    SOCKETIO_RECOVERY,
    SOCKETIO_REDIS,
    WS,
    Contender,
)

CONTENT_BYTES = 200

IDLE_NAME = "idle connections in a room"
IDLE_WARM_UP = 200
"""How many connections are opened before those that are counted."""

NEW = (NCHAN_REDIS, NCHAN, CENTRIFUGO_REDIS, CENTRIFUGO, NATS, WS, EJABBERD)


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes and durations, in seconds: those of the published figures, or smaller ones to test the harness."""

    rooms_of: Sequence[int] = (200, 1_000, 4_000)
    steady_of: int = 1_000
    small_rooms: Sequence[int] = (300, 1_000)
    storms: Sequence[int] = (500, 2_000)
    returning: int = 5_000
    idle: int = 5_000
    idle_seconds: float = 50.0
    stalled_of: int = 200
    warm_up: float = 1.5
    seconds: float = 5.0
    steady_seconds: float = 20.0


FULL = Scale()
QUICK = Scale(
    rooms_of=(50, 200),
    steady_of=200,
    small_rooms=(20, 50),
    storms=(50, 200),
    returning=400,
    idle=200,
    idle_seconds=5.0,
    stalled_of=50,
    warm_up=0.3,
    seconds=1.0,
    steady_seconds=2.0,
)
TINY = Scale(
    rooms_of=(5, 10),
    steady_of=10,
    small_rooms=(3, 5),
    storms=(5, 20),
    returning=20,
    idle=10,
    idle_seconds=1.0,
    stalled_of=5,
    warm_up=0.1,
    seconds=0.4,
    steady_seconds=0.6,
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of the load against one server: its job, the contenders, and the names of its results."""

    name: str
    job: dict[str, Any]
    contenders: Sequence[Contender]
    names: Sequence[str] = field(default_factory=tuple)

    def against(self, own: Sequence[Contender], words: Sequence[str]) -> Stage:
        """Return the same with no other peers than those with one of these words in their name."""
        peers = [one for one in self.contenders if one not in own and any(word in one.name for word in words)]
        return replace(self, contenders=[*(one for one in self.contenders if one in own), *peers])


def stages(scale: Scale, own: Sequence[Contender], peers: bool) -> list[Stage]:
    """Return all stages in the order of a run. Without `peers`, they measure only Evanesce."""

    def among(*others: Contender) -> list[Contender]:
        return [*own, *(others if peers else ())]

    result: list[Stage] = []
    for members in scale.rooms_of:
        paces = [_pace(f"{members} members, 50 in flight", scale, in_flight=50)]
        if members == scale.rooms_of[0]:
            paces.append(_pace(f"{members} members, 1 in flight", scale, in_flight=1))
        result.append(
            _one_room(
                f"room of {members}",
                members,
                paces,
                among(SOCKETIO, SOCKETIO_REDIS, *NEW, PYTHON_SOCKETIO, PYTHON_SOCKETIO_REDIS, PICOWS, FLOOR, LIMIT),
            )
        )
    steady = _pace(f"{scale.steady_of} members, 10 messages/s", scale, per_second=10) | {
        "seconds": scale.steady_seconds
    }
    result.append(_one_room("steady pace", scale.steady_of, [steady], among(SOCKETIO, SOCKETIO_REDIS, FLOOR)))
    for rooms in scale.small_rooms:
        name = f"{rooms} rooms of 4, all talking"
        job = {"kind": "many_rooms", "rooms": rooms, "members": 4, "bytes": CONTENT_BYTES, "name": name}
        times = {"warm_up": scale.warm_up, "seconds": scale.seconds}
        rivals = among(ENCRYPTED, SOCKETIO, SOCKETIO_REDIS, *NEW, PYTHON_SOCKETIO, PYTHON_SOCKETIO_REDIS, FLOOR, LIMIT)
        result.append(Stage(f"{rooms} small rooms", job | times, rivals, [name]))
    for connections in scale.storms:
        storm = {"kind": "storm", "connections": connections}
        result.append(Stage(f"storm of {connections}", storm, list(own), ["joins", "leaves"]))
    names = [f"{scale.returning} people {what}" for what in ("connect and join", "come back")]
    job = {"kind": "coming_back", "people": scale.returning, "members": 4, "bytes": CONTENT_BYTES, "names": names}
    rivals = among(SOCKETIO, SOCKETIO_RECOVERY, SOCKETIO_REDIS, CENTRIFUGO, CENTRIFUGO_REDIS, LIMIT)
    result.append(Stage("coming back", job, rivals, names))
    job = {"kind": "idle", "connections": scale.idle, "warm_up": IDLE_WARM_UP, "name": IDLE_NAME}
    if peers:
        result.append(Stage("idle", job, [SOCKETIO, SOCKETIO_REDIS, *NEW, PYTHON_SOCKETIO, PICOWS], [IDLE_NAME]))
    for stalled in (0, 1):
        name = f"{scale.stalled_of - 1} who read" + (", 1 who never does" if stalled else " alone")
        # Large enough that more waits for the client that never reads than any limit allows.
        pace = _pace(name, scale, per_second=200)
        stage = _one_room(name, scale.stalled_of - 1, [pace], among(SOCKETIO))
        result.append(
            Stage(stage.name, stage.job | {"stalled": stalled, "bytes": 2_000}, stage.contenders, stage.names)
        )
    return result


def _pace(name: str, scale: Scale, **pace: float) -> dict[str, Any]:
    return {"name": name, "warm_up": scale.warm_up, "seconds": scale.seconds, **pace}


def _one_room(name: str, members: int, paces: list[dict[str, Any]], contenders: list[Contender]) -> Stage:
    job = {"kind": "one_room", "members": members, "bytes": CONTENT_BYTES, "paces": paces}
    return Stage(name, job, contenders, [pace["name"] for pace in paces])
