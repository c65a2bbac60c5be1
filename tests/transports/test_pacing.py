"""Floods of frames that are no whole messages: read at a pace, so that others are not kept waiting."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from evanesce.interfaces import Connection
from evanesce_transports.limits import FRAMES_AT_ONCE, FRAMES_PER_SECOND, Pace
from tests.patience import PATIENCE, within
from tests.transports.serving import TRANSPORTS, FakeGateway, listening, masked

pytestmark = pytest.mark.slow

FLOODING = 20
"""How many flood at the same time."""

on_each = pytest.mark.parametrize("transport", TRANSPORTS)

FLOODS = {
    "pings": masked(9, b"x"),
    "pongs": masked(10),
    "empty fragments": masked(0, fin=False),
    "fragments": masked(0, b"x", fin=False),
}


async def test_a_burst_then_the_pace(autojump_clock: MockClock) -> None:
    pace = Pace()
    assert [pace.count() for _ in range(FRAMES_AT_ONCE)] == pytest.approx([0.0] * FRAMES_AT_ONCE)
    assert pace.count() == pytest.approx(1 / FRAMES_PER_SECOND)
    await trio.sleep(2 / FRAMES_PER_SECOND)
    assert pace.count() == pytest.approx(0, abs=1e-9)
    assert pace.count(int(FRAMES_PER_SECOND)) == pytest.approx(1)
    await trio.sleep(100)
    assert pace.count(FRAMES_AT_ONCE) == pytest.approx(0, abs=1e-9)


@dataclass
class Counted:
    """How many frames all connections together have counted, and the most that one counted at a time."""

    frames: int = 0
    most: int = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted, count = Counted(), Pace.count

    def counting(pace: Pace, frames: int = 1) -> float:
        counted.frames += frames
        counted.most = max(counted.most, frames)
        return count(pace, frames)

    monkeypatch.setattr(Pace, "count", counting)
    return counted


@on_each
@pytest.mark.parametrize("kind", FLOODS)
async def test_many_who_flood_keep_nobody_waiting(
    gateway: FakeGateway, transport: str, kind: str, counted: Counted
) -> None:
    async with listening(gateway, transport) as server, trio.open_nursery() as nursery:

        async def flood() -> None:
            start = masked(1, b"x", fin=False) if "fragments" in kind else b""
            with contextlib.suppress(trio.BrokenResourceError):
                async with await server.upgraded(behind=start) as stream:
                    data = FLOODS[kind] * 2_000
                    while True:
                        await stream.send_all(data)

        async with server.websocket() as other:
            for _ in range(FLOODING):
                nursery.start_soon(flood)
            with trio.fail_after(PATIENCE):
                while counted.frames <= FLOODING * FRAMES_AT_ONCE:  # noqa: ASYNC110  until all have had their burst
                    await trio.sleep(0.01)
            began, before = trio.current_time(), counted.frames
            for number in range(50):
                await other.send_message(str(number))
                assert await other.get_message() == str(number)
                await trio.sleep(0.02)
            lasted, read = trio.current_time() - began, counted.frames - before
            # Each has at most its burst, then as many as time gives it, and what was read together with the last.
            assert read <= FLOODING * (FRAMES_AT_ONCE + FRAMES_PER_SECOND * lasted + counted.most)
            assert counted.most <= 512, "a library reads little at a time"
        nursery.cancel_scope.cancel()


@on_each
async def test_after_our_close_a_flood_is_read_at_the_same_pace(
    gateway: FakeGateway, transport: str, counted: Counted
) -> None:
    async def talk(connection: Connection) -> None:
        await connection.receive()
        await connection.close(4429, "")

    gateway.handle = talk
    async with listening(gateway, transport) as server, await server.upgraded() as stream:
        began = trio.current_time()
        with trio.fail_after(PATIENCE), contextlib.suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(masked(1, b"x") * 2_000)
        lasted = trio.current_time() - began
    assert FRAMES_AT_ONCE < counted.frames < FRAMES_AT_ONCE + (lasted + 1) * FRAMES_PER_SECOND + counted.most


@on_each
async def test_usual_fragments_are_not_slowed_down(gateway: FakeGateway, transport: str) -> None:
    async with listening(gateway, transport) as server:
        message = masked(1, b"a" * 1000, fin=False) + masked(0, b"b" * 1000, fin=False) * 30 + masked(0, b"c")
        with within(2):
            async with await server.upgraded() as stream:
                await stream.send_all(message * 2)
                received = b""
                while received.count(b"c") < 2:
                    received += await stream.receive_some(65_536)
