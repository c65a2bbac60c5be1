"""The sizes and durations of the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all measurements. Times are in seconds; `repeats` is how often each is measured."""

    servers: Sequence[int]
    rooms: int
    large_room: int
    clients: int
    warm_up: float
    seconds: float
    repeats: int


FULL = Sizes(servers=(1, 2, 4), rooms=1_000, large_room=200, clients=500, warm_up=2.0, seconds=6.0, repeats=3)
TINY = Sizes(servers=(1, 2), rooms=4, large_room=8, clients=10, warm_up=0.2, seconds=2.0, repeats=1)
