"""Frames on their way out: encoded once, framed once per framing, and never handed over after they expire."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from evanesce.protocol import codec
from evanesce.protocol.events import Event, Joined, MessageEvent, Skipped


class Framing(Protocol):
    """Makes the wire bytes of a frame: pure, the same for every connection that has this framing."""

    def frame(self, payload: bytes) -> bytes:
        """Wrap `payload`, UTF-8 text, for the wire."""
        ...


class Outgoing(NamedTuple):
    """An event on its way, and when each message in it expires (seconds of Trio's clock; none: never).

    For a `MessageEvent` there is one deadline, for a `Joined` one for each of its messages.
    """

    event: Event
    deadlines: tuple[float, ...] = ()


class Frame:
    """One frame for any number of connections.

    `expires_at` is when the first message in it expires (seconds of Trio's clock), infinity where there is none.
    """

    __slots__ = ("_items", "_wire", "expires_at", "payload")

    def __init__(self, items: Sequence[Outgoing], payload: bytes | None = None) -> None:
        self._items = items
        self._wire: dict[Framing, bytes] = {}
        self.payload = codec.encode([item.event for item in items]) if payload is None else payload
        self.expires_at = min((deadline for item in items for deadline in item.deadlines), default=math.inf)

    def wire(self, framing: Framing) -> bytes:
        """Give the bytes for the network, made at the first call for each framing."""
        wire = self._wire.get(framing)
        if wire is None:
            wire = self._wire[framing] = framing.frame(self.payload)
        return wire

    def unexpired(self, now: float) -> tuple[list[Outgoing], dict[str, int]]:
        """Give what is still alive at `now`, and how many messages of which room are not."""
        live: list[Outgoing] = []
        expired: dict[str, int] = {}
        for item in self._items:
            event, deadlines = item
            if not deadlines or min(deadlines) > now:
                live.append(item)
                continue
            if isinstance(event, Joined):
                kept = [pair for pair in zip(event.messages, deadlines, strict=True) if pair[1] > now]
                messages = [message for message, _ in kept]
                live.append(
                    Outgoing(msgspec.structs.replace(event, messages=messages), tuple(deadline for _, deadline in kept))
                )
                dropped = len(deadlines) - len(kept)
            else:
                dropped = 1
            if isinstance(event, Joined | MessageEvent):
                expired[event.room_id] = expired.get(event.room_id, 0) + dropped
        return live, expired


def frames(items: Iterable[Outgoing]) -> list[Frame]:
    """Pack `items`, in order, into as few frames as the protocol's size allows (`codec.FRAME_BYTES`)."""
    packed: list[Frame] = []
    group: list[Outgoing] = []
    texts: list[bytes] = []
    size = 1
    for item in items:
        text = codec.encode_one(item.event)
        if group and size + len(text) + 1 > codec.FRAME_BYTES:
            packed.append(Frame(group, b"[" + b",".join(texts) + b"]"))
            group, texts, size = [], [], 1
        group.append(item)
        texts.append(text)
        size += len(text) + 1
    if group:
        packed.append(Frame(group, b"[" + b",".join(texts) + b"]"))
    return packed


def without_expired(waiting: Sequence[Frame], now: float) -> tuple[list[Frame], int]:
    """Give what of `waiting` may still be sent at `now`, and how many messages may not.

    In their place stands one `skipped` for each room.
    """
    kept: list[Frame | list[Outgoing]] = []
    expired: dict[str, int] = {}
    for frame in waiting:
        if frame.expires_at > now:
            kept.append(frame)
            continue
        live, dropped = frame.unexpired(now)
        if live:
            kept.append(live)
        for room_id, count in dropped.items():
            expired[room_id] = expired.get(room_id, 0) + count
    result: list[Frame] = []
    for part in kept:
        result.extend([part] if isinstance(part, Frame) else frames(part))
    result += frames(Outgoing(Skipped(room_id=room_id, count=count)) for room_id, count in expired.items())
    return result, sum(expired.values())
