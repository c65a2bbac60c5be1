"""`plugin_server` runs a plugin as a real server does: its settings, hooks, routes, observers and commands."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import trio

from evanesce import testing
from evanesce.errors import ConfigurationError, PluginError, Rejected
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import CliCommand, Finding, HttpRequest, HttpResponse, HttpRoute, Settings, Setup
from evanesce.model import Draft
from evanesce.testing import CommandRefused, MemoryClient
from evanesce.testing import plugin_server as start
from evanesce.testing.pytest_plugin import ServerFactory


class SlowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.slow]`."""

    seconds: float = 10.0
    file: str = ""


class Slow:
    """Lets each person send a message once in so many seconds."""

    evanesce_sees_content = True

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sent: dict[str, float] = {}
        self.joined: Counter[str] = Counter()
        self.setup: Setup | None = None

    @hookimpl
    def evanesce_settings(self) -> Settings:
        return SlowSettings

    @hookimpl
    def evanesce_configure(self, setup: Setup) -> None:
        self.setup = setup
        self.seconds = setup.settings.seconds
        if self.seconds <= 0:
            raise ConfigurationError("plugins.slow.seconds", "is not above 0", "Set it to 1 or more")

    @hookimpl
    def evanesce_findings(self, exposed: Sequence[str]) -> Sequence[Finding]:
        return [Finding(f"{one} is reachable", "Close it") for one in exposed]

    @hookimpl
    def evanesce_cli_commands(self) -> Sequence[CliCommand]:
        def arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--count", type=int, required=True)

        def run(options: argparse.Namespace) -> int:
            if options.count == 13:
                raise ValueError("unlucky")
            trio.run(trio.lowlevel.checkpoint)
            return int(options.count)

        return [CliCommand("slow", "Return a number", arguments, run)]

    @hookimpl
    def evanesce_http_routes(self) -> Sequence[HttpRoute]:
        return [HttpRoute("GET", "/slow", self._page), HttpRoute("POST", "/slow", self._fail)]

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        if draft.content == "break it":
            raise ValueError(f"broken by {draft.content}")
        wait = self.sent.get(draft.sender_id, 0) + self.seconds - trio.current_time()
        if draft.sender_id in self.sent and wait > 0:
            raise Rejected("Slowly, please.", retry_after=wait)
        self.sent[draft.sender_id] = trio.current_time()
        return None

    @hookimpl
    async def evanesce_member_joined(self, display_name: str) -> None:
        self.joined[display_name] += 1

    async def _page(self, request: HttpRequest) -> HttpResponse:
        name = None if request.user is None else request.user.display_name
        told = {"user": name, "query": dict(request.query), "header": request.headers.get("X-Test")}
        return HttpResponse(msgspec.json.encode(told))

    async def _fail(self, request: HttpRequest) -> HttpResponse:
        raise RuntimeError(request.body.decode())


@pytest.fixture
def slow() -> Slow:
    return Slow()


async def test_guests_talk_and_a_filter_refuses(plugin_server: ServerFactory, slow: Slow) -> None:
    async with plugin_server({"slow": slow}, config={"plugins": {"slow": {"seconds": 5}}}) as server:
        ada, bob = await server.guest("Ada"), await server.guest("Bob")
        room = await ada.create_room()
        for client in (ada, bob):
            await client.join(room)
        sent = await ada.send(room, "one")
        with pytest.raises(CommandRefused, match="Slowly, please") as refused:
            await ada.send(room, "two")
        assert (refused.value.code, refused.value.retry_after) == ("rejected", 5.0)
        await trio.sleep(5)
        await ada.send(room, "three")
        messages = await bob.events("message")
        assert [message["content"] for message in messages] == ["one", "three"]
        assert messages[0]["messageId"] == sent["messageId"]
        assert await bob.events("message") == []
        assert slow.joined == {"Ada": 1, "Bob": 1}
        assert server.log.plugin_faults == []


async def test_time_is_the_tests_own(plugin_server: ServerFactory, slow: Slow) -> None:
    async with plugin_server({"slow": slow}, config={"messages": {"ttl": 30}}) as server:
        ada = await server.guest("Ada")
        room = await ada.create_room()
        await ada.join(room)
        await ada.send(room, "gone soon")
        assert len((await (await server.guest("Bob")).join(room))["messages"]) == 1
        began = trio.current_time()
        await trio.sleep(3_600)
        assert trio.current_time() == began + 3_600
        assert (await (await server.guest("Cleo")).join(room))["messages"] == []


async def test_what_a_plugin_raises_is_shown_with_its_traceback(plugin_server: ServerFactory, slow: Slow) -> None:
    async with plugin_server({"slow": slow}) as server:
        ada = await server.guest("Ada")
        room = await ada.create_room()
        await ada.join(room)
        with pytest.raises(CommandRefused) as refused:
            await ada.send(room, "break it")
        assert refused.value.code == "internal"
        [fault] = server.log.plugin_faults
        assert (fault.plugin, type(fault.error)) == ("slow", ValueError)
        assert "evanesce_filter_message" in fault.call
        assert "ValueError: broken by break it" in fault.traceback
        assert 'raise ValueError(f"broken by {draft.content}")' in fault.traceback
        assert fault.traceback in refused.value.__notes__[0]


async def test_routes_see_who_asks(plugin_server: ServerFactory, slow: Slow) -> None:
    async with plugin_server({"slow": slow}) as server:
        ada = await server.guest("Ada")
        answer = await server.http("GET", "/slow", query={"a": "b"}, headers={"X-Test": "yes"}, by=ada)
        assert msgspec.json.decode(answer.body) == {"user": "Ada", "query": {"a": "b"}, "header": "yes"}
        assert msgspec.json.decode((await server.http("GET", "/slow")).body)["user"] is None
        assert (await server.http("GET", "/fast")).status == 404
        assert (await server.http("DELETE", "/slow")).status == 405
        failed = await server.http("POST", "/slow", body=b"told")
        assert (failed.status, msgspec.json.decode(failed.body)["code"]) == (500, "internal")
        assert "RuntimeError: told" in server.log.plugin_faults[0].traceback


async def test_commands_run_in_a_thread(
    plugin_server: ServerFactory, slow: Slow, capsys: pytest.CaptureFixture[str]
) -> None:
    async with plugin_server({"slow": slow}) as server:
        assert await server.command("slow", "--count", "7") == 7
        assert await server.command("slow", "--count", "many") == 2
        assert "invalid int value: 'many'" in capsys.readouterr().err
        assert await server.command("slow", "--count", "13") == 1
        assert "ValueError: unlucky" in server.log.plugin_faults[0].traceback
        with pytest.raises(LookupError, match="no plugin has a command fast"):
            await server.command("fast")


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"plugins": {"slow": {"second": 5}}}, "plugins.slow.second"),
        ({"plugins": {"slow": {"seconds": "5"}}}, "plugins.slow.seconds"),
        ({"plugins": {"slow": {"seconds": 0}}}, "plugins.slow.seconds"),
        ({"messages": {"ttl": -1}}, "messages.ttl"),
        ({"server": {"workers": 2}}, "server.secret"),
        ({"odd": {}}, "odd"),
        ({"plugins": {"slow": {"file": {"env": "MISSING"}}}}, "plugins.slow.file"),
        ({"plugins": {"enabled": ["slow", "nobody"]}}, "plugins.enabled"),
        ({"plugins": {"enabled": ["guest"]}}, "plugins.enabled"),  # without the plugin under test
    ],
)
async def test_a_wrong_setting_stops_the_start(
    plugin_server: ServerFactory, slow: Slow, config: dict[str, Any], path: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        async with plugin_server({"slow": slow}, config=config):
            pass
    assert refused.value.path == path
    assert refused.value.hint


async def test_a_plugin_is_told_what_the_configuration_says(
    plugin_server: ServerFactory, slow: Slow, tmp_path: Path
) -> None:
    config = {
        "server": {"public_url": "https://chat.example"},
        "plugins": {"enabled": ["slow"], "slow": {"file": {"env": "SLOW_FILE"}}},
    }
    async with plugin_server({"slow": slow}, config=config, environ={"SLOW_FILE": "x.txt"}) as server:
        assert slow.setup is not None
        assert slow.setup.settings == SlowSettings(file="x.txt")
        assert (slow.setup.folder, slow.setup.public_url) == (tmp_path, "https://chat.example")
        assert [(name, finding.text) for name, finding in server.findings] == [
            ("slow", "https://chat.example is reachable")
        ]


async def test_a_plugin_is_named_as_an_entry_point_names_it(
    plugin_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("my_slow")
    vars(module)["plugin"] = Slow()
    monkeypatch.setitem(sys.modules, "my_slow", module)
    async with plugin_server({"slow": "my_slow:plugin"}) as server:
        assert (await server.http("GET", "/slow")).status == 200
    with pytest.raises(PluginError, match="plugin 'slow': my_slow:nothing"):
        async with plugin_server({"slow": "my_slow:nothing"}):
            pass


async def test_two_servers_share_rooms_and_people(plugin_server: ServerFactory) -> None:
    first, second = Slow(), Slow()
    async with plugin_server({"slow": first}) as one, plugin_server({"slow": second}, beside=one) as two:
        ada, bob = await one.guest("Ada"), await two.guest("Bob")
        room = await ada.create_room()
        await bob.join(room)
        await ada.join(room)
        await ada.send(room, "over there")
        assert (await bob.event("message"))["content"] == "over there"
        assert (first.joined, second.joined) == ({"Ada": 1}, {"Bob": 1})
        assert (await two.guest("Ada")).user_id == ada.user_id


async def test_installed_plugins_may_be_enabled_as_well_on_a_real_clock(slow: Slow, tmp_path: Path) -> None:
    config = {"plugins": {"enabled": ["guest", "slow", "sqlite"]}}
    people: list[MemoryClient] = []
    for _ in range(2):  # the second server finds the database of the first
        async with start({"slow": slow}, config=config, folder=tmp_path) as server:
            client = server.connect()
            await client.sign_in({"provider": "guest", "displayName": "Ada"})
            people.append(client)
            assert [bool(await server.repository.user(one.user_id)) for one in people] == [True] * len(people)
    assert (tmp_path / "evanesce.db").exists()


async def test_the_assertion_of_a_test_is_raised_as_it_is(plugin_server: ServerFactory, slow: Slow) -> None:
    with pytest.raises(AssertionError, match=r"^mine$"):
        async with plugin_server({"slow": slow}):
            raise AssertionError("mine")


async def test_waiting_in_vain_ends_with_what_was_waited_for(plugin_server: ServerFactory, slow: Slow) -> None:
    async with plugin_server({"slow": slow}) as server:
        ada = await server.guest("Ada")
        with pytest.raises(AssertionError, match=r"no event message with .* within 60 s"):
            await ada.event("message", content="x")


def test_the_public_names_are_there_and_are_imported_when_they_are_used() -> None:
    assert {name: getattr(testing, name).__name__ for name in testing.__all__} == {
        name: name for name in testing.__all__
    }
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(testing, "nothing")  # noqa: B009 (its type is unknown)
    code = "import sys, evanesce.testing, evanesce.testing.pytest_plugin; print('evanesce.application' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_a_server_needs_no_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None; import evanesce.cli.main, evanesce.server, evanesce.testing.plugins"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
