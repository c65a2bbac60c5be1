"""The guarded connection: messages, sizes, violations, closing, and the faults that end other servers (C3 to C6)."""

from __future__ import annotations

import contextlib

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed

from evanesce.delivery.outbox import CONTROL_BYTES
from evanesce.interfaces import Connection
from tests.patience import PATIENCE, within
from tests.transports.serving import (
    FRAME_BYTES,
    TRANSPORTS,
    FakeGateway,
    Listening,
    close_code,
    frame_of,
    goodbyes,
    listening,
    masked,
    read_all,
)

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("transport", TRANSPORTS)]


async def test_text_and_binary(server: Listening, gateway: FakeGateway) -> None:
    text = "Grüße 👩‍👩‍👧‍👦 שלום 😀"
    async with server.websocket() as client:
        await client.send_message(text)
        assert await client.get_message() == text
        await client.send_message(b"\0\xff")
        assert await client.get_message() == "00ff"
        await client.send_message(b"")
        assert await client.get_message() == ""
    await gateway.ended.wait()
    assert gateway.received == [text, b"\0\xff", b"", None]


async def test_fragments_with_a_ping_between_and_a_character_across(server: Listening) -> None:
    frames = masked(1, b"a\xf0\x9f", fin=False) + masked(9, b"hi") + masked(0, b"", fin=False) + masked(0, b"\x98\x80b")
    async with await server.upgraded(frames + masked(8, b"\x03\xe8")) as stream:
        assert await read_all(stream) == b"\x8a\x02hi" + b"\x81\x06a\xf0\x9f\x98\x80b" + b"\x88\x02\x03\xe8"


async def test_the_largest_message(server: Listening) -> None:
    async with server.websocket() as client:
        await client.send_message("é" * (FRAME_BYTES // 2))
        assert await client.get_message() == "é" * (FRAME_BYTES // 2)


GOODBYE = frame_of(b'[{"type":"goodbye","code":4413,"reason":"too slow","reconnect":true}]')
PING = masked(9, b"x")
REASONS = {
    1002: "This is not valid WebSocket data (RFC 6455).",
    1007: "Text has to be UTF-8.",
    1009: "The message is too large.",
}


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (masked(1, b"x" * (FRAME_BYTES + 1)), 1009),
        (masked(2, b"x" * (FRAME_BYTES + 1)), 1009),
        (masked(1, "é".encode() * (FRAME_BYTES // 2) + b"x"), 1009),
        (masked(1, b"x" * FRAME_BYTES, fin=False) + masked(0, b"x", fin=False), 1009),
        (masked(1, b"x", fin=False) + masked(0, b"x", fin=False) * FRAME_BYTES, 1009),
        (masked(1, b"x" * (FRAME_BYTES + 1)) + PING, 1009),  # C4: trio-websocket #184
        (masked(1, b"x", rsv=4), 1002),
        (masked(1, b"x", rsv=2), 1002),
        (masked(3, b"x"), 1002),
        (masked(11), 1002),
        (masked(0, b"x"), 1002),
        (masked(1, b"x", fin=False) + masked(1, b"y"), 1002),
        (masked(9, b"x" * 126), 1002),
        (masked(9, b"x", fin=False), 1002),
        (b"\x81\x01x", 1002),  # not masked
        (masked(8, b"x"), 1002),
        (masked(8, b"\x03\xed"), 1002),  # 1005 is never sent
        (masked(8, b"\x03\xe8\xff"), 1007),
        (masked(1, b"\xff"), 1007),
        (masked(1, b"ok\xf0\x9f"), 1007),
        (masked(1, b"\xf4\x90", fin=False), 1007),
        (masked(8, b"\x03\xe9bye"), 1001),
        (masked(8, b"\x0f\xa0"), 4000),
    ],
)
async def test_violations(server: Listening, gateway: FakeGateway, frames: bytes, code: int) -> None:
    async with await server.upgraded() as stream, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):  # the server had enough of it
                await stream.send_all(frames)

        sent = await read_all(stream)
        assert close_code(sent) == code
    if code in REASONS:
        assert goodbyes(sent) == [{"type": "goodbye", "code": code, "reason": REASONS[code], "reconnect": False}]
    else:
        assert goodbyes(sent) == []
    with trio.fail_after(PATIENCE):
        await gateway.ended.wait()
    assert gateway.received[-1] is None
    await server.check_alive()


async def test_an_endless_message_is_cut_and_its_code_arrives(server: Listening) -> None:
    async with await server.upgraded() as stream, trio.open_nursery() as nursery:
        sent = 0

        async def drip() -> None:
            nonlocal sent
            header = bytes([0x81, 0xFF]) + (200_000_000).to_bytes(8, "big") + b"\0\0\0\0"
            try:
                await stream.send_all(header)
                while sent < 200_000_000:
                    await stream.send_all(b"x" * 65_536)
                    sent += 65_536
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(drip)
        with trio.fail_after(PATIENCE):
            received = b""
            while b"\x88" not in received:
                received += await stream.receive_some(1000)
        assert goodbyes(received)[0]["code"] == close_code(received) == 1009
        nursery.cancel_scope.cancel()
    await server.check_alive()


async def test_junk_and_half_close(server: Listening, gateway: FakeGateway) -> None:
    """C3."""
    for _ in range(8):
        async with await server.upgraded() as stream:
            await stream.send_all(b"\xff" * 64)
            await stream.send_eof()
            assert close_code(await read_all(stream)) == 1002
    async with await server.upgraded() as stream:
        await stream.send_eof()
        await read_all(stream)
    await server.check_alive()


async def test_a_ping_during_our_close(server: Listening, gateway: FakeGateway) -> None:
    """C4."""

    async def talk(connection: Connection) -> None:
        await connection.receive()
        await connection.close(4400, "enough")

    gateway.handle = talk
    async with await server.upgraded(masked(1, b"x")) as stream:
        received = b""
        while b"enough" not in received:
            received += await stream.receive_some(100)
        assert close_code(received) == 4400
        await stream.send_all(PING * 3 + masked(1, b"late") + masked(8, b"\x11\x30"))
        with within(1):
            assert await read_all(stream) == b""
    gateway.handle = gateway.echo
    await server.check_alive()


async def test_a_handler_that_raises(server: Listening, gateway: FakeGateway, faults: list[str]) -> None:
    """C5."""
    faults.append("serving a connection failed")

    async def talk(connection: Connection) -> None:
        await connection.receive()
        raise RuntimeError("secret")

    async with server.websocket() as other:
        await other.send_message("served")
        assert await other.get_message() == "served"
        gateway.handle = talk
        async with server.websocket() as client:
            await client.send_message("x")
            with pytest.raises(ConnectionClosed) as closed:
                await client.get_message()
            assert closed.value.reason.code == 1011
            assert not closed.value.reason.reason
        gateway.handle = gateway.echo
        await other.send_message("not harmed")
        assert await other.get_message() == "not harmed"
    await server.check_alive()


async def test_a_client_that_leaves_while_a_handler_writes(server: Listening, gateway: FakeGateway) -> None:
    """C6."""
    finished = trio.Event()

    async def talk(connection: Connection) -> None:
        while await connection.receive() is not None:
            pass
        for _ in range(10_000):
            assert connection.write(frame_of(b"x" * 1000))
        finished.set()

    gateway.handle = talk
    async with await server.upgraded():
        pass
    with trio.fail_after(PATIENCE):
        await finished.wait()
    gateway.handle = gateway.echo
    await server.check_alive()


async def test_a_close_is_waited_for_no_longer_than_it_may(
    server: Listening, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evanesce_transports.websocket.CLOSE_SECONDS", 0.2)

    async def talk(connection: Connection) -> None:
        with trio.CancelScope() as scope:  # not to be interrupted, and yet bounded
            scope.cancel()
            await connection.close(4408, "")
        await connection.close(4400, "again, which changes nothing")

    gateway.handle = talk
    async with await server.upgraded() as stream:
        with trio.fail_after(PATIENCE):
            assert close_code(await read_all(stream)) == 4408


async def test_a_task_that_receives_ends_with_a_close_that_the_client_never_answers(
    server: Listening, gateway: FakeGateway
) -> None:
    got: list[str | bytes | None] = []

    async def talk(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                got.append(await connection.receive())

            await wait_all_tasks_blocked()
            await connection.close(4400, "")

    gateway.handle = talk
    async with await server.upgraded() as stream:
        with within(10):
            await gateway.ended.wait()
        assert got == [None]
        assert close_code(await read_all(stream)) == 4400


async def test_a_close_while_another_task_receives(server: Listening, gateway: FakeGateway) -> None:
    got: list[str | bytes | None] = []

    async def talk(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                got.append(await connection.receive())

            await wait_all_tasks_blocked()
            await connection.close(1012, "restarting")

    gateway.handle = talk
    async with server.websocket() as client:
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
    assert closed.value.reason.code == 1012
    with trio.fail_after(PATIENCE):
        await gateway.ended.wait()
    assert got == [None]


async def test_a_client_that_never_reads_is_refused_more_and_then_dropped(
    gateway: FakeGateway, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evanesce_transports.websocket.CLOSE_SECONDS", 0.2)
    waited: list[int] = []

    async def talk(connection: Connection) -> None:
        while connection.write(frame_of(b"x" * 50_000)):
            pass
        waited.append(connection.waiting_bytes)
        await connection.close(4413, "too slow", GOODBYE)

    gateway.handle = talk
    async with listening(gateway, transport, outbox_bytes=600_000) as server:
        async with await server.upgraded(receive_buffer=4096):
            with trio.fail_after(PATIENCE):
                await gateway.ended.wait()
        assert 550_000 < waited[0] <= 600_000
        gateway.handle = gateway.echo
        await server.check_alive()


async def test_a_full_outbox_takes_a_goodbye(gateway: FakeGateway, transport: str) -> None:
    async def talk(connection: Connection) -> None:
        while connection.write(frame_of(b"x" * 50_000)):
            pass
        await connection.close(4413, "too slow", GOODBYE)

    gateway.handle = talk
    async with (
        listening(gateway, transport, outbox_bytes=600_000) as server,
        await server.upgraded(receive_buffer=4096) as stream,
    ):
        sent = await read_all(stream)
    assert len(sent) > 600_000
    assert close_code(sent) == 4413
    assert goodbyes(sent) == [{"type": "goodbye", "code": 4413, "reason": "too slow", "reconnect": True}]


async def test_pings_of_ours_and_signs_of_life(server: Listening, gateway: FakeGateway) -> None:
    heard: list[float] = []

    async def talk(connection: Connection) -> None:
        heard.append(connection.heard_at)
        connection.ping()
        await connection.receive()
        heard.append(connection.heard_at)

    gateway.handle = talk
    async with await server.upgraded() as stream:
        assert await stream.receive_some(2) == b"\x89\x00"
        await stream.send_all(masked(10) + masked(1, b"x") + masked(8))
        await read_all(stream)
    await gateway.ended.wait()
    assert heard[1] > heard[0]


async def test_a_flood_of_pings_takes_no_memory(server: Listening, gateway: FakeGateway) -> None:
    async with await server.upgraded(receive_buffer=4096) as stream, server.websocket() as other:
        connection = gateway.connections[0]
        with trio.move_on_after(2):
            while True:  # floods are read at a bounded pace: sooner or later the network takes no more
                await stream.send_all(masked(9, b"x" * 125) * 500)
        assert connection.waiting_bytes <= CONTROL_BYTES + 300
        with trio.fail_after(PATIENCE):
            await other.send_message("served all the same")
            assert await other.get_message() == "served all the same"


async def test_a_stop_of_the_server_says_goodbye_and_waits_for_nobody(gateway: FakeGateway, transport: str) -> None:
    async with listening(gateway, transport) as server:
        stream = await server.upgraded()
    with within(1):
        assert close_code(await read_all(stream)) == 1001
    await stream.aclose()


async def test_two_hundred_members_share_one_framing(server: Listening, gateway: FakeGateway) -> None:
    count = 200
    frame = frame_of(b'[{"type":"ok"}]' + b" " * 1000)
    async with trio.open_nursery() as nursery:
        received = 0

        async def member(task_status: trio.TaskStatus[None]) -> None:
            nonlocal received
            async with server.websocket() as client:
                task_status.started()
                assert (await client.get_message()).encode() == frame.payload
                received += 1

        for _ in range(count):
            await nursery.start(member)
        framings = {connection.framing for connection in gateway.connections}
        assert len(framings) == 1
        wire = frame.wire(framings.pop())
        for connection in gateway.connections:
            assert frame.wire(connection.framing) is wire
            assert connection.write(frame)
    assert received == count
