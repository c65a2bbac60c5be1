"""The targets, as ratios within one run, and whether they are reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.contenders import FLOOR, NATS, NCHAN_REDIS, PYTHON_SOCKETIO_REDIS, SOCKETIO, SOCKETIO_REDIS
from tests.benchmarks.scenarios import Scale

IDLE_KIB = {"quart": 40.0, "trio_websocket": 28.0}

MedianOf = Callable[[str, str, str], float | None]
"""Returns the median of a scenario, a contender and a value; None where that was not measured."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A ratio (or a figure), what it has to be, and whether it is that."""

    what: str
    value: float
    least: float | None
    most: float | None

    @property
    def reached(self) -> bool:
        """Whether it is within its bounds."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def word(self) -> str:
        """The verdict in one word."""
        return "reached" if self.reached else "missed"

    @property
    def wanted(self) -> str:
        """The bound, as text."""
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


def verdicts(median_of: MedianOf, scale: Scale, own: str) -> list[Verdict]:
    """Return what can be told from what was measured. The smallest, the second and the largest room are compared."""
    found: list[Verdict] = []

    def ratio(
        what: str, scenario: str, value: str, other: str, *, least: float | None = None, most: float | None = None
    ) -> None:
        ours, theirs = median_of(scenario, own, value), median_of(scenario, other, value)
        if ours is not None and theirs:
            found.append(Verdict(f"{what}, {other} = 1", ours / theirs, least, most))

    small, middle = scale.rooms_of[:2]
    busy, alone = "{} members, 50 in flight", f"{small} members, 1 in flight"
    for members, least in ((small, 6.0), (middle, 8.0)):
        scenario = busy.format(members)
        ratio(f"deliveries/s, {scenario}", scenario, "deliveries_per_second", SOCKETIO.name, least=least)
    ratio(f"p50, {alone}", alone, "p50_ms", SOCKETIO.name, most=1.2)
    ratio(f"p99, {alone}", alone, "p99_ms", SOCKETIO.name, most=0.6)
    steady = f"{scale.steady_of} members, 10 messages/s"
    ratio(f"p99, {steady}", steady, "p99_ms", SOCKETIO.name, most=1.0)
    rooms = f"{scale.small_rooms[-1]} rooms of 4, all talking"
    ratio(f"accepted/s, {rooms}", rooms, "accepted_per_second", PYTHON_SOCKETIO_REDIS.name, least=5.0)
    ratio(f"CPU per message, {rooms}", rooms, "cpu_us_per_message", NCHAN_REDIS.name, most=1.0)
    ratio(f"CPU per message, {rooms}", rooms, "cpu_us_per_message", SOCKETIO_REDIS.name, most=1.2)
    ratio(f"p50, {rooms}", rooms, "p50_ms", SOCKETIO_REDIS.name, most=1.2)
    ratio(f"p99, {rooms}", rooms, "p99_ms", SOCKETIO_REDIS.name, most=1.2)
    ratio(f"p50, {alone}", alone, "p50_ms", NCHAN_REDIS.name, most=1.2)
    ratio(f"CPU per delivery, {alone}", alone, "cpu_us_per_delivery", NCHAN_REDIS.name, most=1.1)
    for members in (small, middle):
        scenario = busy.format(members)
        ratio(f"deliveries/s, {scenario}", scenario, "deliveries_per_second", NATS.name, least=2.0)
    arrival = f"{scale.returning} people connect and join"
    ratio(f"CPU per person, {arrival}", arrival, "cpu_us_per_person", SOCKETIO.name, most=1.5)
    missed = median_of(f"{scale.returning} people come back", own, "missed")
    if missed is not None:
        found.append(Verdict(f"messages missed, {scale.returning} people come back", missed, None, 0.0))
    for members in scale.rooms_of:
        scenario = busy.format(members)
        ratio(f"CPU per delivery, {scenario}", scenario, "cpu_us_per_delivery", FLOOR.name, most=1 / 3)
    costs = [median_of(busy.format(members), own, "cpu_us_per_delivery") for members in scale.rooms_of]
    known = [cost for cost in costs if cost]
    if len(known) == len(costs):
        rooms_text = f"{min(scale.rooms_of)} to {max(scale.rooms_of)} members"
        grows = max(known[1:]) / known[0]
        found.append(
            Verdict(f"CPU per delivery, {rooms_text}, the dearest larger room / the smallest", grows, None, 1.2)
        )
        found.append(
            Verdict(f"CPU per delivery, {rooms_text}, the dearest / the cheapest", max(known) / min(known), None, 1.2)
        )
    told = [median_of(f"{people} joins at once", own, "told_per_person") for people in scale.storms]
    if all(told):
        grown = (told[-1] or 0) / (told[0] or 1)
        what = f"messages sent per join, {scale.storms[-1]} joins / {scale.storms[0]} joins"
        found.append(Verdict(what, grown, None, 1.0))
    for transport, most in IDLE_KIB.items():
        cost = median_of("idle connections in a room", f"Evanesce ({transport})", "kib_per_connection")
        if cost is not None:
            found.append(Verdict(f"KiB per idle connection in a room, {transport}", cost, None, most))
    return found
