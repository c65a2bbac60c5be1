"""What is sent about an event, signed as the specification of Standard Webhooks 1.0 says."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from evanesce.model import new_id

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Event:
    """An event to send. `room_id` orders it: those of one room arrive in their order. `made_at` is on Trio's clock."""

    event_id: str
    room_id: str
    payload: bytes
    made_at: float


def event(kind: str, room_id: str, at: datetime, made_at: float, data: Mapping[str, str]) -> Event:
    """Return the event of a type, with its data and the time when it happened."""
    stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = _encoder.encode({"type": kind, "timestamp": stamp, "data": data})
    return Event(f"evt_{new_id()}", room_id, payload, made_at)


def headers(event_id: str, payload: bytes, keys: Sequence[bytes], now: int) -> Mapping[str, str]:
    """Return the headers of an attempt to send at `now`, in seconds since 1970, with a signature by each key."""
    signed = f"{event_id}.{now}.".encode() + payload
    signatures = (b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
