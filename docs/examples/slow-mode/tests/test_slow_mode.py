"""Slow mode and the word list hold for each person, over all servers."""

import pytest
import trio
from evanesce.errors import ConfigurationError, Rejected
from evanesce.hookspecs import hookimpl
from evanesce.model import Draft
from evanesce.testing import CommandRefused, ServerFactory

from evanesce_slow_mode import SlowMode

CONFIG = {"plugins": {"slow_mode": {"seconds": 30, "refuse": ["mud"]}}}


class Picky:
    """Refuses each message the first time, after slow mode has counted it."""

    evanesce_sees_content = True

    def __init__(self) -> None:
        self._seen: set[str] = set()

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> None:
        if draft.message_id not in self._seen:
            self._seen.add(draft.message_id)
            raise Rejected("Not yet.")


async def test_a_person_waits_and_others_do_not(plugin_server: ServerFactory) -> None:
    async with plugin_server({"slow_mode": SlowMode()}, config=CONFIG) as server:
        ada, bob = await server.guest("Ada"), await server.guest("Bob")
        room = await ada.create_room()
        for client in (ada, bob):
            await client.join(room)
        await ada.send(room, "one")
        with pytest.raises(CommandRefused, match="you may write again in 30 s") as refused:
            await ada.send(room, "two")
        assert refused.value.retry_after == pytest.approx(30)
        await bob.send(room, "mine")
        await trio.sleep(30)
        await ada.send(room, "three")
        assert [event["content"] for event in await bob.events("message")] == ["one", "mine", "three"]
        assert not server.log.plugin_faults


async def test_it_holds_on_another_server(plugin_server: ServerFactory) -> None:
    async with (
        plugin_server({"slow_mode": SlowMode()}, config=CONFIG) as one,
        plugin_server({"slow_mode": SlowMode()}, config=CONFIG, beside=one) as other,
    ):
        here, there = await one.guest("Ada"), await other.guest("Ada")
        room = await here.create_room()
        for client in (here, there):
            await client.join(room)
        await here.send(room, "one")
        with pytest.raises(CommandRefused, match="Slow mode"):
            await there.send(room, "two")


async def test_a_message_that_is_sent_again_is_counted_once(plugin_server: ServerFactory) -> None:
    plugins = {"slow_mode": SlowMode(), "picky": Picky()}
    async with plugin_server(plugins, config=CONFIG) as server:
        ada = await server.guest("Ada")
        room = await ada.create_room()
        await ada.join(room)
        message_id = "3f8e9b52-6d07-4c0b-9d3c-0a5f0f2f6b11"
        with pytest.raises(CommandRefused, match="Not yet"):
            await ada.send(room, "one", messageId=message_id)
        await ada.send(room, "one", messageId=message_id)  # let through without another token
        await ada.send(room, "one", messageId=message_id)  # it was stored: no filter is asked
        with pytest.raises(CommandRefused, match="Slow mode"):
            await ada.send(room, "two")
        assert [event["content"] for event in await ada.events("message")] == ["one"]


async def test_a_refused_word_is_refused_and_not_counted(plugin_server: ServerFactory) -> None:
    async with plugin_server({"slow_mode": SlowMode()}, config=CONFIG) as server:
        ada = await server.guest("Ada")
        room = await ada.create_room()
        await ada.join(room)
        with pytest.raises(CommandRefused, match="other words"):
            await ada.send(room, "Here is MUD!")
        await ada.send(room, "muddle")


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"burst": 0}, {"words": []}])
async def test_a_wrong_setting_stops_the_start(plugin_server: ServerFactory, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"plugins\.slow_mode\."):
        async with plugin_server({"slow_mode": SlowMode()}, config={"plugins": {"slow_mode": wrong}}):
            pass
