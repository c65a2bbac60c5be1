"""Servers with other settings learn of each other, in virtual time: each logs it once, and when it is over."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
import trio
from trio.testing import MockClock

from evanesce.maintenance.agreement import LOOK_SECONDS, MOST_NAMED, Agreement
from evanesce.store.memory import MemoryServer, MemoryStore, memory_store
from evanesce.store.memory.server_registry import SETTINGS_SECONDS

ONE = {"messages.ttl": "60", "server.secret": "fingerprint-1"}
TWO = {"messages.ttl": "30", "server.secret": "fingerprint-2"}


class Servers:
    """Servers on one Redis, each with its settings."""

    def __init__(self, nursery: trio.Nursery, log: pytest.LogCaptureFixture) -> None:
        self.memory = MemoryServer()
        self._nursery = nursery
        self._log = log
        log.set_level(logging.INFO)

    def start(self, name: str, settings: Mapping[str, str]) -> MemoryStore:
        store = memory_store(server_id=name, server=self.memory)
        self._nursery.start_soon(Agreement(settings, store.servers).run)
        return store

    async def lines(self, rounds: float = 1) -> list[str]:
        """Wait until every server has looked, and return what was logged since the last call."""
        await trio.sleep(rounds * LOOK_SECONDS + 0.1)
        messages = [record.getMessage() for record in self._log.records]
        self._log.clear()
        return messages


async def test_both_are_told_once_which_settings_differ_and_with_whom(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery, caplog)
        one = servers.start("one", ONE)
        assert await servers.lines() == []
        two = servers.start("two", TWO)
        lines = await servers.lines()
        first, second = one.servers.server_name, two.servers.server_name
        expected = {
            f"{second} on the same Redis is set otherwise: messages.ttl (60 here, 30 there), server.secret.",
            f"{first} on the same Redis is set otherwise: messages.ttl (30 here, 60 there), server.secret.",
        }
        assert {line.split(" Give all servers", 1)[0] for line in lines} == expected
        assert len(lines) == 2
        assert await servers.lines(10) == [], "once"
        assert "fingerprint" not in "".join(lines)
        nursery.cancel_scope.cancel()


async def test_the_new_one_is_told_at_its_start(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery, caplog)
        servers.start("one", ONE)
        await servers.lines()
        servers.start("two", TWO)
        assert len(await servers.lines(0)) == 1
        nursery.cancel_scope.cancel()


async def test_servers_that_agree_say_nothing(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery, caplog)
        for number in range(3):
            servers.start(f"server-{number}", ONE)
        assert await servers.lines(3) == []
        nursery.cancel_scope.cancel()


async def test_many_servers_that_differ_in_the_same_are_one_line(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery, caplog)
        for number in range(MOST_NAMED + 3):
            servers.start(f"server-{number}", ONE)
        await servers.lines()
        servers.start("two", TWO)
        [line] = await servers.lines(0)
        assert "and 3 more on the same Redis are set otherwise" in line
        nursery.cancel_scope.cancel()


async def test_it_is_told_when_a_change_has_reached_all(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery, caplog)
        servers.start("new", TWO)
        async with trio.open_nursery() as old:
            store = memory_store(server_id="old", server=servers.memory)
            old.start_soon(Agreement(ONE, store.servers).run)
            assert len(await servers.lines()) == 2
            old.cancel_scope.cancel()
        store.stop()
        assert await servers.lines() == ["all servers on this Redis have the same settings again"]
        nursery.cancel_scope.cancel()


async def test_a_killed_server_is_forgotten_and_the_store_may_be_away(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery, caplog)
        await memory_store(server_id="killed", server=servers.memory).servers.publish_settings(ONE)
        servers.memory.go_down()
        servers.start("two", TWO)
        assert await servers.lines(3) == []
        servers.memory.come_back()
        await trio.sleep(SETTINGS_SECONDS)
        servers.memory.come_back(with_memory=False)
        one = servers.start("one", ONE)
        lines = await servers.lines()
        assert len(lines) == 2
        assert any(one.servers.server_name in line for line in lines)
        assert not any("killed" in line for line in lines)
        nursery.cancel_scope.cancel()
