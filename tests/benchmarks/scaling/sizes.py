"""How much is measured, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """`repeats`: how often each is measured; times are in seconds."""

    servers: Sequence[int]
    rooms: int
    large_room: int
    people: int
    talkers: int
    warm_up: float
    seconds: float
    repeats: int


FULL = Sizes(
    servers=(1, 2, 4), rooms=1_000, large_room=200, people=500, talkers=200, warm_up=2.0, seconds=6.0, repeats=3
)
TINY = Sizes(servers=(1, 2), rooms=4, large_room=8, people=10, talkers=10, warm_up=0.2, seconds=2.0, repeats=1)
