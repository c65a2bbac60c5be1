"""Checks of joins, and their faults. Time is virtual."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import CommandError, ErrorCode, Rejected
from evanesce.hookspecs import HOOK_SECONDS
from evanesce.plugins import Plugins
from evanesce.testing.server import memory_server
from tests.core.plugins.fixtures import loaded, plugin

NAME = "Ada, whose name is in no log"


async def ask(plugins: Plugins) -> None:
    await plugins.may_join("r", "u", NAME)


async def test_every_plugin_is_asked_in_order_and_may_omit_arguments(nursery: trio.Nursery) -> None:
    asked: list[tuple[str, ...]] = []

    async def first(room_id: str, user_id: str, display_name: str) -> None:
        asked.append((room_id, user_id, display_name))

    async def second(user_id: str) -> None:
        asked.append((user_id,))

    plugins = loaded(a=plugin(evanesce_may_join=first), b=plugin(), c=plugin(evanesce_may_join=second))
    await nursery.start(plugins.run)
    await ask(plugins)
    assert asked == [("r", "u", NAME), ("u",)]


async def test_a_plugin_refuses_with_its_own_words_and_those_behind_it_are_not_asked(nursery: trio.Nursery) -> None:
    async def refuse() -> None:
        raise Rejected("not here", retry_after=5)

    async def never() -> None:
        pytest.fail("asked")

    plugins = loaded(a=plugin(evanesce_may_join=refuse), b=plugin(evanesce_may_join=never))
    await nursery.start(plugins.run)
    with pytest.raises(Rejected, match="not here") as caught:
        await ask(plugins)
    assert caught.value.retry_after == 5
    assert plugins.statistics()["a"].failed == 0


async def _fails(display_name: str) -> None:
    raise ValueError(display_name)


async def _takes_long() -> None:
    await trio.sleep_forever()


async def _means_no() -> bool:
    return False


async def _means_yes() -> bool:
    return True


async def _raises_another_error() -> None:
    raise CommandError(ErrorCode.FORBIDDEN, "No.")


@pytest.mark.parametrize("broken", [_fails, _takes_long, _means_no, _means_yes, _raises_another_error])
async def test_a_broken_check_lets_nobody_in(
    broken: Callable[..., Any], nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    plugins = loaded(odd=plugin(evanesce_may_join=broken))
    await nursery.start(plugins.run)
    began = trio.current_time()
    with pytest.raises(CommandError) as caught:
        await ask(plugins)
    assert caught.value.code is ErrorCode.INTERNAL
    assert trio.current_time() - began <= HOOK_SECONDS
    assert plugins.statistics()["odd"].failed == 1
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "plugin odd: evanesce_may_join" in record.getMessage()
    assert NAME not in record.getMessage()


async def test_a_join_is_checked_unless_the_connection_is_in_the_room(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    async def check(display_name: str) -> None:
        asked.append(display_name)
        if display_name == "Eve":
            raise Rejected("Eve may not join.", retry_after=7)

    async with memory_server(plugins={"bouncer": plugin(evanesce_may_join=check)}) as server:
        ada, eve = await server.sign_in("Ada"), await server.sign_in("Eve")
        room_id = await server.open_room(ada)
        for _ in range(2):
            assert (await ada.ask("join", roomId=room_id))["type"] == "joined"
        error = await eve.ask("join", roomId=room_id)
        assert (error["code"], error["message"], error["retryAfter"]) == ("rejected", "Eve may not join.", 7)
        assert asked == ["Ada", "Eve"]
        assert (await ada.ask("members", roomId=room_id))["memberCount"] == 1
        assert (await ada.ask("leave", roomId=room_id))["type"] == "left"
        assert (await ada.ask("join", roomId=room_id))["type"] == "joined"
        assert asked == ["Ada", "Eve", "Ada"]
