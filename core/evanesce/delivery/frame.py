"""Outgoing frames: encoded once, framed once for each framing, and never sent after they expire."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from evanesce.protocol import codec
from evanesce.protocol.events import Event, Joined, MessageEvent, Skipped


class Framing(Protocol):
    """Makes the wire bytes of a frame. They depend only on the payload, so connections with one framing share them."""

    def frame(self, payload: bytes) -> bytes:
        """Return the wire bytes of a frame with `payload`, UTF-8 text."""
        ...


class Outgoing(NamedTuple):
    """An outgoing event, and when each message in it expires, in seconds of Trio's clock.

    A `MessageEvent` has one deadline, a `Joined` has one for each of its messages, and other events have none.
    """

    event: Event
    deadlines: tuple[float, ...] = ()


class Frame:
    """One frame for any number of connections.

    `expires_at` is when its first message expires, in seconds of Trio's clock; infinity without messages.
    """

    __slots__ = ("_items", "expires_at", "payload", "wires")

    def __init__(self, items: Sequence[Outgoing], payload: bytes | None = None) -> None:
        self._items = items
        self.wires: dict[Framing, bytes] = {}
        """The wire bytes for each framing that `wire` was called for."""
        self.payload = codec.encode([item.event for item in items]) if payload is None else payload
        # Most frames have one item.
        deadlines = items[0].deadlines if len(items) == 1 else [at for item in items for at in item.deadlines]
        self.expires_at = min(deadlines) if deadlines else math.inf

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._items)

    def wire(self, framing: Framing) -> bytes:
        """Return the wire bytes. They are made at the first call for each framing."""
        wire = self.wires.get(framing)
        if wire is None:
            wire = self.wires[framing] = framing.frame(self.payload)
        return wire

    def unexpired(self, now: float) -> tuple[list[Outgoing], dict[str, int]]:
        """Return the events without the messages that expire by `now`, and the number of expired messages by room."""
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
    """Pack `items`, in order, into as few frames as `codec.FRAME_BYTES` allows."""
    if isinstance(items, list) and len(items) == 1:  # the usual case
        return [Frame(items)]
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
    """Return the frames of `waiting` without the messages that expire by `now`, and the number of those messages.

    One `skipped` event for each room replaces them, at the end.
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
