"""Filters of messages, and their faults. Time is virtual."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import CommandError, ErrorCode, Rejected
from evanesce.hookspecs import HOOK_SECONDS
from evanesce.model import Draft
from evanesce.plugins import Plugins
from evanesce.protocol import codec
from tests.core.plugins.fixtures import DRAFT, built, full, loaded, plugin

Run = Callable[[Plugins], Awaitable[Plugins]]


@pytest.fixture
def run(nursery: trio.Nursery) -> Run:
    """Return what runs plugins for as long as the test."""

    async def run(plugins: Plugins) -> Plugins:
        await nursery.start(plugins.run)
        return plugins

    return run


def appending(text: str) -> object:
    async def filter_message(draft: Draft) -> Draft:
        return msgspec.structs.replace(draft, content=draft.content + text, sender_id="forged", room_id="forged")

    return plugin(evanesce_filter_message=filter_message)


async def test_without_filters_a_message_stays_as_it_is(run: Run) -> None:
    assert await (await run(loaded(a=plugin()))).filter_message(DRAFT) is DRAFT


async def test_filters_run_in_the_configured_order_and_only_content_counts(run: Run) -> None:
    objects = {"a": appending("a"), "b": appending("b")}
    forward, backward = await run(Plugins.load(["a", "b"], objects)), await run(Plugins.load(["b", "a"], objects))
    assert await forward.filter_message(DRAFT) == msgspec.structs.replace(DRAFT, content="helloab")
    assert (await backward.filter_message(DRAFT)).content == "helloba"


async def test_a_filter_that_gives_nothing_lets_the_message_be(run: Run) -> None:
    async def look(draft: Draft) -> None: ...

    plugins = await run(loaded(a=plugin(evanesce_filter_message=look)))
    assert await plugins.filter_message(DRAFT) == DRAFT


async def test_a_filter_refuses_with_its_own_words_and_those_behind_it_are_not_asked(run: Run) -> None:
    async def refuse(draft: Draft) -> None:
        raise Rejected("not here")

    async def never(draft: Draft) -> None:
        pytest.fail("asked")

    plugins = await run(loaded(a=plugin(evanesce_filter_message=refuse), b=plugin(evanesce_filter_message=never)))
    with pytest.raises(Rejected, match="not here"):
        await plugins.filter_message(DRAFT)
    assert plugins.statistics()["a"].failed == 0


@pytest.mark.parametrize("wait", [0, 0.5, 30, 604_800.0])
def test_a_refusal_may_say_when_to_try_again(wait: float) -> None:
    assert codec.error_reply(Rejected("later", retry_after=wait)).retry_after == wait


@pytest.mark.parametrize(
    "wait", [None, -1, -0.001, 604_800.1, 10**400, float("nan"), float("inf"), float("-inf"), "5", 1j, object()]
)
def test_a_time_that_is_none_is_left_out_of_a_refusal(wait: Any) -> None:
    refusal = codec.error_reply(Rejected("later", retry_after=wait))
    assert (refusal.code, refusal.message, refusal.retry_after) == ("rejected", "later", msgspec.UNSET)


async def _fails(draft: Draft) -> None:
    raise ValueError(draft.content)


async def _fails_in_a_nursery(draft: Draft) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fails, draft)


async def _takes_long(draft: Draft) -> None:
    await trio.sleep_forever()


async def _gives_text(draft: Draft) -> Any:
    return "text"


async def _gives_nothing(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, content=" \n")


async def _gives_too_much(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, content="é" * 2049)


async def _gives_a_surrogate(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, content="\ud800")


async def _gives_a_number(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, content=5)  # the point of it


async def _is_for_another_loop(draft: Draft) -> None:
    import asyncio

    await asyncio.sleep(0)
    await asyncio.sleep(1)


@pytest.mark.parametrize(
    "broken",
    [
        _fails,
        _fails_in_a_nursery,
        _takes_long,
        _gives_text,
        _gives_nothing,
        _gives_too_much,
        _gives_a_surrogate,
        _gives_a_number,
        _is_for_another_loop,
    ],
)
async def test_a_filter_that_is_broken_lets_nothing_through(
    broken: Callable[..., Any], run: Run, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def behind(draft: Draft) -> None:
        pytest.fail("asked")

    plugins = await run(
        loaded(main=full(), odd=plugin(evanesce_filter_message=broken), b=plugin(evanesce_filter_message=behind))
    )
    built(plugins)
    began = trio.current_time()
    with pytest.raises(CommandError) as caught:
        await plugins.filter_message(DRAFT)
    assert caught.value.code is ErrorCode.INTERNAL
    assert trio.current_time() - began <= HOOK_SECONDS
    assert plugins.statistics()["odd"].failed == 1
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "plugin odd: evanesce_filter_message" in record.getMessage()
    assert DRAFT.content not in record.getMessage()


async def test_a_filter_that_is_cancelled_is_not_at_fault(run: Run, autojump_clock: MockClock) -> None:
    plugins = await run(loaded(a=plugin(evanesce_filter_message=_takes_long)))
    with trio.move_on_after(HOOK_SECONDS / 2) as scope:
        await plugins.filter_message(DRAFT)
    assert scope.cancelled_caught
    assert plugins.statistics()["a"].failed == 0


async def test_what_a_filter_raises_while_it_is_cancelled_stays_inside(run: Run, autojump_clock: MockClock) -> None:
    async def raises_on_cancel() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    async def messy(draft: Draft) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises_on_cancel)
            nursery.start_soon(trio.sleep_forever)

    plugins = await run(loaded(a=plugin(evanesce_filter_message=messy)))
    with trio.move_on_after(HOOK_SECONDS / 2) as scope:
        await plugins.filter_message(DRAFT)
    assert scope.cancelled_caught
    assert plugins.statistics()["a"].failed == 1
