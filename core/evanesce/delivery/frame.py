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
        if len(items) == 1:  # as most frames
            event, deadlines = items[0]
            self.payload = b"[" + codec.encode_one(event) + b"]" if payload is None else payload
        else:
            self.payload = codec.encode([item.event for item in items]) if payload is None else payload
            deadlines = tuple([at for item in items for at in item.deadlines])
        self.expires_at = min(deadlines) if deadlines else math.inf

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._items)

    def after(self, item: Outgoing) -> Frame:
        """Return a frame with `item` before the events of this one."""
        payload = b"[" + codec.encode_one(item.event) + b"," + self.payload[1:]
        return Frame([item, *self._items], payload)

    def wire(self, framing: Framing) -> bytes:
        """Return the wire bytes. They are made at the first call for each framing."""
        wire = self.wires.get(framing)
        if wire is None:
            wire = self.wires[framing] = framing.frame(self.payload)
        return wire

    def unexpired(self, now: float) -> list[Outgoing | Expired]:
        """Return the events, with an `Expired` in place of each message that expires by `now`."""
        left: list[Outgoing | Expired] = []
        for item in self._items:
            event, deadlines = item
            if not deadlines or min(deadlines) > now:
                left.append(item)
            elif isinstance(event, Joined):
                kept = [pair for pair in zip(event.messages, deadlines, strict=True) if pair[1] > now]
                messages = [message for message, _ in kept]
                left.append(
                    Outgoing(msgspec.structs.replace(event, messages=messages), tuple(deadline for _, deadline in kept))
                )
                left.append(Expired(event.room_id, len(deadlines) - len(kept)))
            elif isinstance(event, MessageEvent):
                left.append(Expired(event.room_id, 1))
        return left


class Expired(NamedTuple):
    """Messages of a room that expired while they waited."""

    room_id: str
    messages: int


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

    One `skipped` event for each room replaces them, where the last of them was: so it comes before the client is told
    that it has left that room, and before what follows a return to it.
    """
    parts = [frame if frame.expires_at > now else frame.unexpired(now) for frame in waiting]
    counts: dict[str, int] = {}
    for part in parts:
        if not isinstance(part, Frame):
            for item in part:
                if isinstance(item, Expired):
                    counts[item.room_id] = counts.get(item.room_id, 0) + item.messages
    dropped = sum(counts.values())
    result: list[Frame] = []
    for part in reversed(parts):
        if isinstance(part, Frame):
            result.append(part)
            continue
        left: list[Outgoing] = []
        for item in reversed(part):
            if not isinstance(item, Expired):
                left.append(item)
            elif (count := counts.pop(item.room_id, 0)) > 0:
                left.append(Outgoing(Skipped(room_id=item.room_id, count=count)))
        result += reversed(frames(reversed(left)))
    result.reverse()
    return result, dropped
