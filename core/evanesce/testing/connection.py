"""A connection in memory: the object that a transport passes to the gateway, and the client at its other end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio

from evanesce.delivery.frame import Frame, without_expired


class PlainFraming:
    """A framing that leaves payloads as they are."""

    def frame(self, payload: bytes) -> bytes:
        """Return `payload`."""
        return payload


FRAMING = PlainFraming()


class MemoryConnection:
    """A `Connection`, and the client at its other end.

    The client receives frames as they are written. While `stalled` is true they wait, up to `outbox_bytes`, until the
    test calls `take`. As with a real connection, no message is received after it has expired: a `skipped` event takes
    its place. `answers_pings` is whether the client answers pings; `pings` counts them.
    """

    def __init__(self, *, address: str = "127.0.0.1", local: bool = True, outbox_bytes: int = 1_048_576) -> None:
        self.address = address
        self.local = local
        self.framing = FRAMING
        self.heard_at = trio.current_time()
        self.waiting_bytes = 0
        self.unacknowledged_bytes = 0
        self.skipped = 0
        self.stalled = False
        self.answers_pings = True
        self.pings = 0
        self.frames: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self._outbox_bytes = outbox_bytes
        self._waiting: list[Frame] = []
        self._to_server, self._from_client = trio.open_memory_channel[str | bytes](1_000)
        self._events: list[dict[str, Any]] = []
        self._news = trio.Event()
        self._handle: Callable[[str], bool] | None = None
        self._receiving = False

    # The server's end

    def deliver_to(self, handle: Callable[[str], bool] | None) -> None:
        """See `evanesce.interfaces.Connection`."""
        self._handle = handle

    async def receive(self) -> str | bytes | None:
        """Wait for the next frame of the client."""
        self._receiving = True
        try:
            frame = await self._from_client.receive()
        except trio.EndOfChannel:
            return None
        finally:
            self._receiving = False
        self.heard_at = trio.current_time()
        return frame

    def write(self, frame: Frame) -> bool:
        """Queue a frame for the client."""
        now = trio.current_time()
        if frame.expires_at <= now:
            return all(self.write(part) for part in self._unexpired([frame], now))
        wire = frame.wire(self.framing)
        if self.stalled:
            if self.waiting_bytes + len(wire) > self._outbox_bytes:
                self._drop_expired()
            if self.waiting_bytes + len(wire) > self._outbox_bytes:
                return False
            self.waiting_bytes += len(wire)
            self._waiting.append(frame)
            return True
        self._deliver(wire)
        return True

    def _drop_expired(self) -> None:
        self._waiting = self._unexpired(self._waiting, trio.current_time())
        self.waiting_bytes = sum(len(frame.wire(self.framing)) for frame in self._waiting)

    def _unexpired(self, frames: Sequence[Frame], now: float) -> list[Frame]:
        kept, dropped = without_expired(frames, now)
        self.skipped += dropped
        return kept

    def ping(self) -> None:
        """Ping the client."""
        self.pings += 1
        if self.answers_pings:
            self.heard_at = trio.current_time()

    async def close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        """Close the connection. The client receives `goodbye` unless it is stalled."""
        await trio.lowlevel.checkpoint()
        if self.closed is None:
            if goodbye is not None and not self.stalled:
                self.write(goodbye)
            self.closed = (code, reason)
            self._news.set()

    def _deliver(self, wire: bytes) -> None:
        self.frames.append(wire)
        self._events.extend(msgspec.json.decode(wire))
        self._news.set()

    # The client's end

    def take(self, frames: int | None = None) -> None:
        """Receive so many of the waiting frames. With None, receive all of them and stop stalling."""
        self._drop_expired()
        count = len(self._waiting) if frames is None else frames
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        for frame in taken:
            wire = frame.wire(self.framing)
            self.waiting_bytes -= len(wire)
            self._deliver(wire)
        if frames is None:
            self.stalled = False

    def say(self, type: str, **fields: Any) -> None:
        """Send a command."""
        self.send(msgspec.json.encode({"type": type, **fields}).decode())

    def send(self, frame: str | bytes) -> None:
        """Send a frame as it is. The server may execute it before this returns."""
        waits = self._receiving and not self._from_client.statistics().current_buffer_used
        if waits and self._handle is not None and isinstance(frame, str) and self._handle(frame):
            self.heard_at = trio.current_time()
        else:
            self._to_server.send_nowait(frame)

    def leave(self) -> None:
        """Close the client's end without a command."""
        self._to_server.close()

    def waiting(self) -> list[dict[str, Any]]:
        """Return all replies and events that have arrived, and forget them."""
        events, self._events = self._events, []
        return events

    async def hear(self) -> dict[str, Any]:
        """Wait for the next reply or event, for at most a minute."""
        with trio.fail_after(60):
            while not self._events:
                await self._wait()
        return self._events.pop(0)

    async def until(self, type: str, **fields: Any) -> dict[str, Any]:
        """Wait for the next reply or event of a type with these fields. Earlier ones are discarded."""
        while True:
            event = await self.hear()
            if event["type"] == type and all(event.get(name) == value for name, value in fields.items()):
                return event

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and wait for its reply or error."""
        self.say(type, ref=f"ask-{type}", **fields)
        while True:
            event = await self.hear()
            if event.get("ref") == f"ask-{type}":
                return event

    async def end(self) -> tuple[int, str]:
        """Wait until the server has closed the connection, and return the code and the reason."""
        with trio.fail_after(600):
            while self.closed is None:
                await self._wait()
        return self.closed

    async def _wait(self) -> None:
        self._news = trio.Event()
        await self._news.wait()
