"""The bytes of unfinished requests: bounded in sum, in order, and nothing is lost where a wait is cancelled."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce_transports.limits import WAIT_SECONDS, ByteBudget, Share
from evanesce_transports.request import HEAD_BYTES, Refused
from tests.transports.serving import FRAME_BYTES, QUART, TRANSPORTS, FakeGateway, listening, read_all, upgrade_request

pytestmark = pytest.mark.slow

BODY = 60_000


async def test_what_does_not_fit_waits_in_order(autojump_clock: MockClock) -> None:
    budget = ByteBudget(100)
    first, order = Share(budget), list[int]()
    await first.reserve(80)

    async def take(size: int) -> None:
        share = Share(budget)
        await share.reserve(size)
        order.append(size)
        share.release()

    async with trio.open_nursery() as nursery:
        for size in (60, 50, 10):
            nursery.start_soon(take, size)
            await wait_all_tasks_blocked()
        assert order == [], "a small one does not overtake a large one, which would never have its turn"
        first.release()
    assert order[0] == 60
    assert sorted(order[1:]) == [10, 50]
    assert budget.free == 100


async def test_what_waits_too_long_is_refused(autojump_clock: MockClock) -> None:
    budget = ByteBudget(100)
    holder, share = Share(budget), Share(budget)
    await holder.reserve(60)
    began = trio.current_time()
    with pytest.raises(Refused) as refused:
        await share.reserve(50)
    assert (refused.value.status, refused.value.error.retry_after) == (503, WAIT_SECONDS)
    assert trio.current_time() - began == pytest.approx(WAIT_SECONDS)
    await share.reserve(40)
    share.release()
    share.release()
    holder.release()
    assert budget.free == 100


async def test_one_that_gives_up_lets_the_next_ones_in(autojump_clock: MockClock) -> None:
    budget = ByteBudget(100)
    holder, large, small = Share(budget), Share(budget), Share(budget)
    await holder.reserve(60)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(self_cancelling, large, scope)
        await wait_all_tasks_blocked()
        nursery.start_soon(small.reserve, 30)
        await wait_all_tasks_blocked()
        assert budget.free == 40
        scope.cancel()
        await wait_all_tasks_blocked()
        assert budget.free == 10


async def self_cancelling(share: Share, scope: trio.CancelScope) -> None:
    with scope:
        await share.reserve(90)


@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["hold", "cancel", "wait"])), max_size=30), st.randoms())
def test_nothing_is_lost_whatever_is_cancelled_when(steps: list[tuple[int, str]], random: object) -> None:
    async def main() -> None:
        budget = ByteBudget(100)
        least = budget.free

        async def use(size: int, how: str) -> None:
            nonlocal least
            share = Share(budget)
            try:
                with trio.move_on_after(0.001 * size if how == "cancel" else 100):
                    await share.reserve(size)
                    least = min(least, budget.free)
                    await trio.sleep(0.01 * size if how == "hold" else 0)
            except Refused:
                assert size > 0
            finally:
                share.release()

        async with trio.open_nursery() as nursery:
            for size, how in steps:
                nursery.start_soon(use, size, how)
        assert least >= 0
        assert budget.free == 100
        assert not budget._waiting

    trio.run(main, clock=MockClock(autojump_threshold=0))


# On a transport


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce_transports.listener.REQUEST_BYTES", 0)  # there is always room for two


@pytest.mark.usefixtures("small_budget")
async def test_unfinished_bodies_are_bounded_in_sum(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce_transports.request.BODY_SECONDS", 4.0)
    large = b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{" % BODY
    async with listening(gateway, QUART) as server:
        statuses: list[bytes] = []

        async def post() -> None:
            async with await server.raw() as stream:
                await stream.send_all(large)
                statuses.append((await read_all(stream))[9:12])

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(post)
            await trio.sleep(0.3)
            answer = await server.exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in answer, "what has no body is not kept waiting"
        assert sorted(statuses) == [b"408"] * 2 + [b"503"] * 4
        answer = await server.exchange(
            b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY + b"{}" + b" " * (BODY - 2)
        )
        assert b" 201 " in answer, "there is room again"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_large_heads_are_bounded_in_sum(
    gateway: FakeGateway, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evanesce_transports.listener.REQUEST_BYTES", 0)  # there is always room for two bodies
    monkeypatch.setattr("evanesce.listening.listener.HEAD_SECONDS", 4.0)
    most = 2 * (HEAD_BYTES + FRAME_BYTES) // HEAD_BYTES
    half = b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Large: " + b"a" * 8_000
    async with listening(gateway, transport) as server:
        answers: list[bytes] = []

        async def send() -> None:
            async with await server.raw() as stream:
                await stream.send_all(half)
                answers.append((await read_all(stream))[9:12])

        async with trio.open_nursery() as nursery:
            for _ in range(most + 3):
                nursery.start_soon(send)
            await trio.sleep(0.3)
            async with await server.upgraded():
                pass  # a usual head needs no room
        assert sorted(answers) == [b""] * most + [b"503"] * 3
        async with await server.raw() as stream:
            await stream.send_all(upgrade_request(x_large="a" * 8_000))
            assert await stream.receive_some(12) == b"HTTP/1.1 101"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("small_budget")
async def test_a_connection_holds_nothing_of_its_handshake(gateway: FakeGateway, transport: str) -> None:
    async with listening(gateway, transport) as server, trio.open_nursery() as nursery:
        for _ in range(20):  # more than the budget has room for at once
            stream = await server.raw()
            nursery.start_soon(hold, stream)
            await stream.send_all(upgrade_request(x_large="a" * 8_000))
            assert await stream.receive_some(12) == b"HTTP/1.1 101"
        nursery.cancel_scope.cancel()


async def hold(stream: trio.SocketStream) -> None:
    async with stream:
        await trio.sleep_forever()
