"""What a transport must keep of the ends of connections, of what clients may do, and of its own end."""

from __future__ import annotations

import ipaddress
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Connection, Transport
from evanesce.testing.contracts.base import PATIENCE
from evanesce.testing.contracts.transport.parts import (
    CLOSE_CODES,
    FRAME_BYTES,
    LARGE,
    OUTBOX_BYTES,
    Listening,
    TransportParts,
    WireClient,
    fill,
)
from evanesce.testing.conversation import ClientTalker, Talker, converse
from evanesce.testing.frames import frame_of
from evanesce.testing.gateway import ScriptedGateway
from evanesce.testing.leaks import cancelled_at_each_await
from evanesce.testing.plugins import plugin_server
from evanesce.testing.stand_ins import GUESTS

SCRIPT = """
    ada opens a room
    bob joins
    ada: Hello, Bob
    bob: Grüße 👩‍👩‍👧‍👦
    cleo joins
    bob leaves
    cleo: Hello, both
    bob joins
    ada: Welcome back
"""


class _TransportPlugin:
    evanesce_sees_content = True

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @hookimpl
    def evanesce_transport(self) -> Transport:
        return self._transport


class EndingTests(TransportParts):
    """Closes, clients that leave or misbehave, cancellation, and conversations."""

    # The end of a connection

    @pytest.mark.parametrize("code", CLOSE_CODES)
    async def test_a_close_sends_what_waits_and_the_goodbye_and_the_code(self, server: Listening, code: int) -> None:
        async def handle(connection: Connection) -> None:
            await connection.receive()
            assert connection.write(frame_of(b'["first"]'))
            await connection.close(code, "enough", frame_of(b'["goodbye"]'))
            await connection.close(1011, "again, which changes nothing", frame_of(b'["never"]'))

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                assert [await client.receive() for _ in range(3)] == ['["first"]', '["goodbye"]', None]
        assert not self.has_close_codes or client.close_code == code

    async def test_a_goodbye_is_sent_even_where_the_outbox_is_full(self, server: Listening) -> None:
        full = trio.Event()

        async def handle(connection: Connection) -> None:
            fill(connection)
            full.set()
            await connection.close(4413, "too slow", frame_of(b'["goodbye"]'))

        server.gateway.handle = handle
        last: str | None = None
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                await full.wait()
                while (frame := await client.receive()) is not None:
                    last = frame
        assert last == '["goodbye"]'
        assert not self.has_close_codes or client.close_code == 4413

    async def test_a_close_waits_for_no_client_that_reads_nothing(self, server: Listening) -> None:
        async def handle(connection: Connection) -> None:
            fill(connection)
            await connection.close(4413, "too slow")

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                await server.gateway.ended.wait()
                await server.check_alive()

    async def test_a_close_ends_the_receive_of_another_task(self, server: Listening) -> None:
        received: list[str | bytes | None] = []

        async def handle(connection: Connection) -> None:
            await connection.receive()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def receive() -> None:
                    received.append(await connection.receive())

                await trio.testing.wait_all_tasks_blocked()
                await connection.close(1012, "restarting")

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
                assert await client.receive() is None
                await server.gateway.ended.wait()
        assert received == [None]

    async def test_a_client_that_has_gone_is_told_by_none_and_takes_what_is_written(self, server: Listening) -> None:
        finished = trio.Event()

        async def handle(connection: Connection) -> None:
            while await connection.receive() is not None:
                pass
            for _ in range(100):
                assert connection.write(frame_of(b'["' + b"x" * LARGE + b'"]')), "what is written to nobody is dropped"
            await connection.close(1000, "")
            finished.set()

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                await client.send("{}")
            await finished.wait()
        await server.check_alive()

    # What clients may do

    async def test_a_frame_that_is_too_large_ends_its_connection_alone(self, server: Listening) -> None:
        received: list[str | bytes | None] = []

        async def handle(connection: Connection) -> None:
            while (frame := await connection.receive()) is not None:
                received.append(frame)

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                try:
                    await client.send('{"a":"' + "x" * (FRAME_BYTES * 4) + '"}')
                    await client.receive()
                except (OSError, trio.BrokenResourceError):
                    pass  # the server has closed before it had all of it
                await server.gateway.ended.wait()
        assert received == []
        await server.check_alive()

    @pytest.mark.parametrize("data", [b"\xff" * 300_000, b"\x00" * 64, b"{" * 300_000, b"\r\n" * 1_000, b""])
    async def test_what_is_not_its_protocol_harms_nobody(self, server: Listening, data: bytes) -> None:
        parts = urlsplit(server.url)
        assert parts.hostname is not None
        with trio.fail_after(PATIENCE):
            async with await trio.open_tcp_stream(parts.hostname, parts.port or 0) as stream:
                try:
                    await stream.send_all(data)
                    await stream.send_eof()
                    while await stream.receive_some(65_536):
                        pass
                except trio.BrokenResourceError:
                    pass  # the server has closed
        await server.check_alive()

    async def test_it_knows_the_client_and_when_it_was_heard(self, server: Listening) -> None:
        heard: list[float] = []

        async def handle(connection: Connection) -> None:
            ipaddress.ip_address(connection.address)
            for _ in range(2):
                await connection.receive()
                heard.append(connection.heard_at)
                assert connection.write(frame_of(b"[]"))

        server.gateway.handle = handle
        with trio.fail_after(PATIENCE):
            async with server.connect() as client:
                for _ in range(2):
                    await client.send("{}")
                    await client.receive()
        assert heard[0] < heard[1] <= trio.current_time()

    # Cancellation

    async def test_its_clients_see_the_end_when_it_is_cancelled(self, tmp_path: Path) -> None:
        stop = trio.Event()

        async def serve(task_status: trio.TaskStatus[Listening]) -> None:
            async with self.listening(tmp_path, ScriptedGateway()) as server:
                task_status.started(server)
                await stop.wait()

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                server = await nursery.start(serve)
                async with server.connect() as client:
                    await client.send("{}")
                    assert await client.receive() == "{}"
                    stop.set()
                    assert await client.receive() is None

    async def test_cancelled_at_any_await_it_leaves_nothing_open(self, tmp_path: Path) -> None:
        """The awaits are those of the transport and of a client, up to an answer."""

        async def body() -> None:
            with trio.fail_after(PATIENCE):
                async with self.listening(tmp_path, ScriptedGateway()) as server, server.connect() as client:
                    await client.send("{}")
                    assert await client.receive() == "{}"

        assert await cancelled_at_each_await(body) > 3

    # Conversations

    async def test_people_talk_over_it(self, tmp_path: Path) -> None:
        plugin = _TransportPlugin(await self.make_transport(tmp_path, OUTBOX_BYTES))
        async with plugin_server({"transport": plugin}, folder=tmp_path) as server, AsyncExitStack() as clients:
            people: dict[str, Talker] = {}
            for name in ("ada", "bob", "cleo"):
                client = WireClient(await clients.enter_async_context(self.connect(server.urls[0])))
                await client.sign_in({"provider": GUESTS, "name": name})
                people[name] = ClientTalker(client)

            async def meet(name: str) -> Talker:
                await trio.lowlevel.checkpoint()
                return people[name]

            await converse(SCRIPT, meet)
            assert server.log.plugin_faults == []
