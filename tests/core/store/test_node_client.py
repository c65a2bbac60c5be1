"""The client of one Redis: what it sends together, in which order, and how often."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from evanesce.errors import StoreUnavailable
from evanesce.store.redis import node_client
from evanesce.store.redis.connection import Address
from evanesce.store.redis.node_client import NodeClient
from tests.core.store.backends import RedisBackend, append_one, draft, eventually
from tests.core.store.gate import Gate, gated
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture
async def gate(valkey: RedisBackend, tmp_path: Path) -> AsyncGenerator[Gate, None]:
    async with gated(tmp_path, valkey.url) as gate:
        yield gate


@pytest.fixture
async def client(gate: Gate) -> AsyncGenerator[NodeClient, None]:
    async with NodeClient(Address(gate.url)) as client:
        yield client


async def test_answers_go_to_those_who_asked(client: NodeClient) -> None:
    """More calls than may be under way at once, of one to three commands, from as many tasks."""
    answers: dict[int, list[Any]] = {}

    async def ask(number: int) -> None:
        commands = [("ECHO", f"{number} {part}") for part in range(1 + number % 3)]
        answers[number] = await client.run(*commands, urgent=number % 50 == 0)

    async with trio.open_nursery() as nursery:
        for number in range(3 * node_client.SENT):
            nursery.start_soon(ask, number)
    assert len(answers) == 3 * node_client.SENT
    for number, given in answers.items():
        assert given == [f"{number} {part}".encode() for part in range(1 + number % 3)]


async def test_a_call_without_commands_has_no_answers(client: NodeClient) -> None:
    client.post()
    assert await client.run() == []
    assert await client.exchange(urgent=True) == []
    assert await client.run(("ECHO", "a")) == [b"a"], "and nobody else gets another answer"


async def test_no_more_than_so_many_calls_are_under_way(client: NodeClient, gate: Gate) -> None:
    """What is urgent is sent as soon as one of them has its answer, before those that have waited longer."""
    answers: list[int] = []
    gate.hold()
    for _ in range(node_client.SENT + 10):
        client.call(("INCR", "calls"), answers.append)
    async with trio.open_nursery() as nursery:

        async def urgent() -> None:
            assert await client.run(("GET", "calls"), urgent=True) == [b"%d" % node_client.SENT]

        await gate.held.wait()
        nursery.start_soon(urgent)
        await trio.testing.wait_all_tasks_blocked()
        gate.release()
    await eventually(lambda: len(answers) == node_client.SENT + 10)
    assert answers == list(range(1, node_client.SENT + 11)), "in order"


async def test_a_script_that_redis_forgot_is_loaded_and_run_once(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    for _ in range(5):
        valkey.client.script_flush()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(append_one, store, draft(room_id))
    assert valkey.client.xlen(f"evanesce:{{{room_id}}}:index") == 100


async def test_a_call_is_answered_once_whatever_ends_it(client: NodeClient, gate: Gate) -> None:
    told: list[object] = []
    gate.hold()
    client.call(("PING",), told.append)
    await gate.held.wait()
    gate.cut()
    await eventually(lambda: told)
    [answer] = told
    assert isinstance(answer, StoreUnavailable)
    gate.release()
    await eventually(lambda: client.up)
    client.call(("INCR", "a"), told.append)
    client.call(("LPUSH", "a", "b"), told.append)
    client.call(("PING",), told.append)
    client.stop()
    assert len(told) == 4
    assert all(isinstance(answer, StoreUnavailable) for answer in told[1:])
    with pytest.raises(StoreUnavailable):
        client.call(("PING",), told.append)


async def test_a_refused_command_tells_its_caller_alone(client: NodeClient) -> None:
    told: dict[str, object] = {}
    for name, command in {"set": ("SET", "a", "b"), "wrong": ("LPUSH", "a", "b"), "get": ("GET", "a")}.items():
        client.call(command, lambda answer, name=name: told.update({name: answer}))
    await eventually(lambda: len(told) == 3)
    assert (told["set"], told["get"]) == (b"OK", b"b")
    assert isinstance(told["wrong"], StoreUnavailable)


async def test_what_was_refused_is_not_done_later(client: NodeClient, gate: Gate) -> None:
    """Calls that were not sent when their time was over are dropped, and hold no place in the queue."""
    refused: list[object] = []
    gate.hold()
    for _ in range(node_client.SENT):
        client.post(("PING",))
    for number in range(50):
        client.call(("SET", f"late {number}", "x"), refused.append)
    await gate.held.wait()
    await eventually(lambda: len(refused) == 50)
    assert all(isinstance(answer, StoreUnavailable) for answer in refused)
    assert (len(client._waiting), len(client._outstanding)) == (0, 0)
    gate.release()
    await eventually(lambda: client.up)
    assert await client.run(("EXISTS", *(f"late {number}" for number in range(50)))) == [0]


async def test_a_script_that_cannot_be_loaded_is_tried_twice(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    await append_one(store, draft(room_id))
    valkey.client.acl_setuser("default", enabled=True, nopass=True, commands=["-script|load"])
    valkey.client.script_flush()
    before = int(valkey.client.info("commandstats")["cmdstat_evalsha"]["rejected_calls"])
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await append_one(store, draft(room_id))
    valkey.client.acl_setuser("default", enabled=True, nopass=True, commands=["+script|load"])
    assert int(valkey.client.info("commandstats")["cmdstat_evalsha"]["rejected_calls"]) - before < 1_000
    await append_one(store, draft(room_id))


async def test_a_defect_of_one_caller_costs_nobody_else_an_answer(
    client: NodeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(answer: object) -> None:
        raise ZeroDivisionError

    told: list[object] = []
    client.call(("ECHO", "a"), broken)
    client.call(("ECHO", "b"), told.append)
    await eventually(lambda: told)
    assert told == [b"b"]
    assert client.up
    assert "was not handled" in caplog.text


async def test_whoever_reads_another_connection_takes_the_answers_first(valkey: RedisBackend) -> None:
    """The subscriber does so: then the answer to a message comes before what was published with it."""
    answers: list[bytes] = []
    async with NodeClient(Address(valkey.url)) as client:
        client.take_answers()
        assert answers == [], "there are none, and nothing waits"
        client.call(("ECHO", "a"), answers.append)
        for _ in range(2):  # it is sent
            await trio.lowlevel.checkpoint()
        deadline = time.monotonic() + PATIENCE
        while not answers and time.monotonic() < deadline:
            client.take_answers()  # no other task runs meanwhile
        assert answers == [b"a"]
        assert await client.run(("ECHO", "b")) == [b"b"], "the next answer is not mistaken"
