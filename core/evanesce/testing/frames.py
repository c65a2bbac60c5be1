"""Frames for tests of transports, as the server makes them."""

from __future__ import annotations

from evanesce.delivery.frame import Frame, Outgoing
from evanesce.model import timestamp
from evanesce.protocol.events import MessageEvent, Ok


def frame_of(payload: bytes) -> Frame:
    """Return a frame of any payload, UTF-8 text, that never expires."""
    return Frame([Outgoing(Ok())], payload)


def message_frame(content: str, expires_at: float) -> Frame:
    """Return a frame with one message, which expires at a time of Trio's clock."""
    now = timestamp(1_795_000_000_000)
    message = MessageEvent(
        room_id="room",
        message_id="message",
        sender_id="sender",
        sender_name="Ada",
        content=content,
        created_at=now,
        expires_at=now,
        cursor="",
    )
    return Frame([Outgoing(message, (expires_at,))])
