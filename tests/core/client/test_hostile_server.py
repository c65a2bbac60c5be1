"""The client library and a server that breaks the protocol: it goes on, within its bounds."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from evanesce.client.connection import Connection
from evanesce.client.errors import Unreachable
from tests.core.client.scripted import ROOM, scripted, server_time


@pytest.mark.parametrize(
    "frame",
    [
        '[{"type": "x", "a": ' + "[" * 100_000 + "]" * 100_000 + "}]",
        f'[{{"type": "skipped", "roomId": "{ROOM}", "count": 1e999}}]',
        f'[{{"type": "skipped", "roomId": "{ROOM}", "count": {10**400}}}]',
    ],
    ids=["deep", "infinite", "large"],
)
async def test_a_frame_that_cannot_be_parsed_ends_only_the_connection(autojump_clock: MockClock, frame: str) -> None:
    async with scripted() as (client, peer):
        client.enter(ROOM)
        connection = await peer.connections.receive()
        await connection.welcomes()
        await connection.lets_in()
        await connection.socket.send_message(frame)
        await (await peer.connections.receive()).welcomes()


@pytest.mark.parametrize("time", [5, None, [], "soon"])
async def test_a_renewed_token_without_a_time_is_ignored(autojump_clock: MockClock, time: object) -> None:
    async with scripted() as (client, peer):
        connection = await peer.connections.receive()
        await connection.welcomes(heartbeat=1000, token="first", tokenExpiresAt=server_time(100))
        await connection.answers("refresh", {"type": "token", "token": "second", "tokenExpiresAt": time})
        await connection.takes("refresh")
        assert client.state.state == "online"


@pytest.mark.parametrize(
    "changes", [{"serverTime": 5}, {"heartbeat": "nan"}, {"heartbeat": -1}, {"limits": 5}, {"messageTtl": "x"}]
)
async def test_a_welcome_of_wrong_types_ends_the_connection(
    autojump_clock: MockClock, changes: dict[str, object]
) -> None:
    async with scripted() as (_, peer):
        await (await peer.connections.receive()).welcomes(**changes)
        await (await peer.connections.receive()).takes("hello")
        assert "online" not in [state.state for state in peer.states]


async def test_many_gaps_lead_to_one_join_after_the_other(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        client.enter(ROOM)
        connection = await peer.connections.receive()
        await connection.welcomes()
        await connection.lets_in()
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        gap = {"type": "gap", "roomId": ROOM, "since": "before"}
        for _ in range(3):
            await connection.says(*[gap] * 100)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living <= tasks + 1
        assert (await connection.lets_in())["since"] == "before"
        assert (await connection.lets_in())["since"] == "before", "a gap came after the first join was sent"
        with trio.move_on_after(5) as quiet:
            await connection.takes("join")
        assert quiet.cancelled_caught


async def test_a_pause_that_a_server_demands_ends_with_the_connection(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        client.enter(ROOM)
        counts: list[int] = []
        for _ in range(3):
            connection = await peer.connections.receive()
            await connection.welcomes()
            limited = {"type": "error", "code": "rate_limited", "message": "", "retry": True, "retryAfter": 1e9}
            await connection.answers("join", limited)
            await trio.testing.wait_all_tasks_blocked()
            assert client._nursery is not None
            counts.append(len(client._nursery.child_tasks))
            await connection.kill()
        assert counts == [1, 1, 1]


async def test_a_welcome_that_never_comes_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    async with scripted() as (_, peer):
        await (await peer.connections.receive()).takes("hello")
        start = trio.current_time()
        await peer.connections.receive()
        assert 10 <= trio.current_time() - start <= 14


async def test_a_name_that_no_host_can_have_is_unreachable(nursery: trio.Nursery) -> None:
    with pytest.raises(Unreachable):
        await Connection.open(nursery, f"ws://{'a' * 64}.example/ws")
