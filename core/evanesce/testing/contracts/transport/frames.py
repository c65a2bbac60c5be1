"""What a transport must keep of frames: unchanged, in order, each once, within bounds and never late."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio

from evanesce.interfaces import Connection
from evanesce.testing.contracts.base import PATIENCE
from evanesce.testing.contracts.transport.parts import (
    FRAME_BYTES,
    LARGE,
    MOST_ACCEPTED,
    OUTBOX_BYTES,
    Listening,
    TransportClient,
    TransportParts,
    fill,
)
from evanesce.testing.frames import frame_of, message_frame


class FrameTests(TransportParts):
    """Frames in both directions."""

    # Framing and order

    async def test_it_reports_the_urls_where_it_listens(self, server: Listening) -> None:
        parts = urlsplit(server.url)
        assert parts.scheme
        assert parts.hostname

    async def test_frames_arrive_unchanged_both_ways(self, server: Listening) -> None:
        texts = [
            "{}",
            "[]",
            '{"a":"Grüße 👩‍👩‍👧‍👦 שלום"}',
            '{"a":"\\n\\r\\u0000\\u2028"}',
            '{"a":"' + "é" * 30_000 + '"}',
        ]
        largest = '{"a":"' + "x" * (FRAME_BYTES - 8) + '"}'
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                for text in (*texts, largest):
                    await client.send(text)
                    assert await client.receive() == text

    async def test_frames_arrive_once_and_in_their_order(self, server: Listening) -> None:
        frames = [json.dumps({"number": number, "text": "x" * (number * 37 % 997)}) for number in range(500)]
        received: list[str | None] = []
        with trio.fail_after(PATIENCE):
            async with server.connect() as client, trio.open_nursery() as nursery:

                async def receive() -> None:
                    while len(received) < len(frames):
                        received.append(await client.receive())

                nursery.start_soon(receive)
                for frame in frames:
                    await client.send(frame)
        assert received == frames

    async def test_frames_that_are_handled_as_they_arrive_keep_their_order_with_others(self, server: Listening) -> None:
        """Whether the connection has `deliver_to` or not, and wherever in a row such a frame is."""
        frames = [json.dumps({"number": number, "text": "x" * (number * 37 % 997)}) for number in range(300)]
        seen: list[str] = []

        async def serve(connection: Connection) -> None:
            def handle(frame: str) -> bool:
                at_once = json.loads(frame)["number"] % 7 in (0, 1, 4)
                if at_once:
                    seen.append(frame)
                return at_once

            if (deliver_to := getattr(connection, "deliver_to", None)) is not None:
                deliver_to(handle)
            while (frame := await connection.receive()) is not None:
                assert isinstance(frame, str)
                seen.append(frame)
                if len(seen) % 3 == 0:
                    await trio.lowlevel.checkpoint()  # others arrive while this task is busy
                if frame == frames[-1]:
                    connection.write(frame_of(b'"done"'))

        server.gateway.handle = serve
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                for frame in frames:
                    await client.send(frame)
                assert await client.receive() == '"done"'
        assert seen == frames

    async def test_what_waits_keeps_its_order_with_what_does_not(self, server: Listening) -> None:
        """The client reads nothing at first: some frames go out at once, some in part, and others wait."""
        await self._accepted_arrive(server, lambda number: number * 7_919 % 90_000)

    async def test_connections_that_share_a_framing_share_its_bytes(self, server: Listening) -> None:
        frame = frame_of(b'[{"type":"ok"}]')
        with trio.fail_after(PATIENCE):
            async with AsyncExitStack() as stack:
                for _ in range(10):
                    client = await stack.enter_async_context(server.connect())
                    await client.send("{}")
                    await client.receive()
                for connection in server.gateway.connections:
                    assert frame.wire(connection.framing) is frame.wire(server.gateway.connections[0].framing)

    # Back-pressure

    async def test_a_client_that_reads_nothing_is_refused_more_and_gets_all_that_was_accepted(
        self, server: Listening
    ) -> None:
        await self._accepted_arrive(server, lambda number: LARGE)

    async def _accepted_arrive(self, server: Listening, size: Callable[[int], int]) -> None:
        accepted: list[str] = []
        full, read = trio.Event(), trio.Event()

        async def handle(connection: Connection) -> None:
            total = 0
            while True:
                text = json.dumps([{"number": len(accepted), "text": "x" * size(len(accepted))}])
                if not connection.write(frame_of(text.encode())):
                    break
                accepted.append(text)
                total += len(text)
                assert total < MOST_ACCEPTED, "write has to return False where the outbox is full"
            assert 0 < connection.waiting_bytes <= OUTBOX_BYTES, "what waits is counted, and never more than the limit"
            full.set()
            await read.wait()
            assert connection.write(frame_of(b'["last"]')), "there is room again"
            await connection.receive()

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                await full.wait()
                for number, text in enumerate(accepted):
                    assert await client.receive() == text, f"frame {number} is lost, doubled or in another place"
                read.set()
                assert await client.receive() == '["last"]'

    async def test_a_client_that_reads_nothing_delays_no_other(self, server: Listening) -> None:
        full = trio.Event()

        async def handle(connection: Connection) -> None:
            fill(connection)
            full.set()
            await connection.receive()

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                await full.wait()
                await server.check_alive()

    # Expiry

    async def test_a_message_that_has_expired_is_not_sent(self, server: Listening) -> None:
        skipped: list[int] = []

        async def handle(connection: Connection) -> None:
            assert connection.write(message_frame("too late", trio.current_time() - 1))
            assert connection.write(message_frame("in time", trio.current_time() + 3_600))
            skipped.append(connection.skipped)
            await connection.receive()

        events = await self._events(server, handle, 2)
        assert skipped == [1]
        assert [(event["type"], event.get("content")) for event in events] == [
            ("skipped", None),
            ("message", "in time"),
        ]

    async def test_a_message_that_expires_while_it_waits_is_not_sent(self, server: Listening) -> None:
        written = trio.Event()

        async def handle(connection: Connection) -> None:
            expires_at = trio.current_time() + 1.0
            while connection.write(frame_of(b'[{"type":"ok","x":"' + b"x" * LARGE + b'"}]')):
                if connection.waiting_bytes > OUTBOX_BYTES // 2:
                    break
            assert connection.write(message_frame("too late", expires_at))
            assert connection.write(message_frame("in time", trio.current_time() + 3_600))
            await trio.sleep_until(expires_at + 0.01)
            written.set()
            await connection.receive()

        server.gateway.handle = handle
        kinds: list[tuple[str, str | None]] = []
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                await written.wait()
                while ("message", "in time") not in kinds:
                    kinds += [(event["type"], event.get("content")) for event in await self._next(client)]
        assert [kind for kind in kinds if kind[0] != "ok"] == [("skipped", None), ("message", "in time")]

    async def _events(self, server: Listening, handle: Any, count: int) -> list[dict[str, Any]]:
        server.gateway.handle = handle
        events: list[dict[str, Any]] = []
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                while len(events) < count:
                    events += await self._next(client)
        return events

    async def _next(self, client: TransportClient) -> list[dict[str, Any]]:
        frame = await client.receive()
        assert frame is not None, "the connection must not end here"
        return msgspec.json.decode(frame, type=list[dict[str, Any]])
