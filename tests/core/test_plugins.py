"""The plugin manager: loading, the contracts that it holds plugins to, and faults at run time.

Plugins here are objects; those that fail to import are entry points of a distribution made for the test. Time is
virtual: nothing here leaves the process.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from evanesce.config.model import (
    Config,
    LimitsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
)
from evanesce.errors import CommandError, ConfigurationError, ErrorCode, PluginError, Rejected
from evanesce.hookspecs import Hooks, hookimpl
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, Setup, SignInPage
from evanesce.model import ChatRoom, Draft, timestamp
from evanesce.plugins import Parts, Plugins, catalogue, installed
from evanesce.plugins.hookcalls import SECONDS, WAITING

DRAFT = Draft(message_id="m", room_id="r", sender_id="s", sender_name="n", content="hello")
ROOM = ChatRoom(room_id="r", created_by="s", created_at=timestamp(0), deep_link="http://h/r/r")


def plugin(**hooks: Callable[..., Any]) -> object:
    """Make a plugin: a module whose hook implementations are `hooks`."""
    module = ModuleType("plugin")
    for name, hook in hooks.items():
        hook.__name__ = name
        setattr(module, name, hookimpl(hook))
    return module


def loaded(**objects: object) -> Plugins:
    """Load plugins, in order."""
    return Plugins.load(list(objects), objects)


class Part:
    """Has all that any contract names."""

    def __init__(self, provider: str = "part") -> None:
        self.provider = provider

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return name

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...


def full(provider: str = "part") -> object:
    """Make a plugin that is all a server needs."""
    return plugin(
        evanesce_authenticator=lambda setup: Part(provider),
        evanesce_repository=lambda setup: Part(),
        evanesce_transport=lambda setup: Part(),
    )


def built(plugins: Plugins, **settings: object) -> Parts:
    """Let `plugins` give their parts, under the default configuration."""
    config = Config(
        plugins={name: settings.get(name) for name in plugins.names},
        server=ServerTable(public_url="http://h/"),
        redis=RedisTable(),
        messages=MessagesTable(),
        rooms=RoomsTable(),
        limits=LimitsTable(),
        retention=RetentionTable(),
    )
    return plugins.build(config, Path("/folder"))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give what installs a distribution with a module and an entry point for it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, code: str, *, module: str | None = None) -> None:
        module = module or f"plugin_{name}"
        (tmp_path / f"{module}.py").write_text(code)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[evanesce.plugins]\n{name} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


# Loading


def test_plugins_are_found_by_entry_point() -> None:
    assert {"guest", "sqlite", "quart"} <= set(installed.names())
    plugins = Plugins.load(["guest"])
    assert plugins.names == ("guest",)
    assert plugins.hooks("guest") == (
        "evanesce_authenticator",
        "evanesce_http_routes",
        "evanesce_settings",
        "evanesce_sign_in_page",
    )


def test_the_default_plugins_are_installed() -> None:
    assert sorted(installed.defaults()) == ["guest", "quart", "sqlite"]
    assert set(installed.defaults()) <= set(installed.names())


def test_nobody_else_can_make_a_plugin_a_default(install: Callable[..., None], tmp_path: Path) -> None:
    install("extra", "")
    with (tmp_path / "plugin_extra-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("[evanesce.defaults]\nextra = plugin_extra\n")
    assert "extra" in installed.names()
    assert "extra" not in installed.defaults()


def test_one_that_is_not_installed_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no plugin 'gest' is installed\. Did you mean 'guest'") as caught:
        Plugins.load(["gest"])
    assert caught.value.path == "plugins.enabled"
    assert "sqlite" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("def", "SyntaxError"),
    ],
)
def test_one_that_cannot_be_imported_stops_the_start(install: Callable[..., None], code: str, told: str) -> None:
    install("broken", code)
    with pytest.raises(PluginError, match=r"plugin 'broken': plugin_broken of plugin_broken 1\.0") as caught:
        Plugins.load(["broken"])
    assert told in str(caught.value)
    assert caught.value.plugin == "broken"
    assert "\n" not in str(caught.value)


def test_one_name_in_two_packages_stops_the_start(install: Callable[..., None]) -> None:
    install("twice", "", module="plugin_a")
    install("twice", "", module="plugin_b")
    with pytest.raises(PluginError, match=r"is in plugin_a 1\.0 and plugin_b 1\.0: uninstall"):
        Plugins.load(["twice"])


@pytest.mark.parametrize(
    ("hooks", "told"),
    [
        ({"evanesce_filter_mesage": lambda draft: None}, "evanesce_filter_mesage is not a hook of this version"),
        ({"evanesce_transport": lambda gateway: None}, "'gateway'"),
        ({"evanesce_filter_message": lambda draft: None}, "evanesce_filter_message must be async def"),
        ({"evanesce_member_left": lambda: None}, "evanesce_member_left must be async def"),
    ],
)
def test_what_no_hook_could_call_stops_the_start(hooks: dict[str, Callable[..., Any]], told: str) -> None:
    with pytest.raises(PluginError, match="plugin 'odd'") as caught:
        loaded(odd=plugin(**hooks))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_async_hook_where_none_is_awaited_stops_the_start() -> None:
    async def repository(setup: Setup) -> None: ...

    with pytest.raises(PluginError, match="evanesce_repository must be def, not async def"):
        loaded(odd=plugin(evanesce_repository=repository))


def test_a_hook_that_is_not_marked_stops_the_start() -> None:
    module = ModuleType("unmarked")
    module.evanesce_settings = lambda: None  # type: ignore[attr-defined]  # what somebody forgets
    with pytest.raises(PluginError, match="evanesce_settings is not marked with @hookimpl"):
        loaded(odd=module)


def test_a_wrapper_stops_the_start() -> None:
    module = ModuleType("wrapper")

    @hookimpl(wrapper=True)
    def evanesce_settings() -> Any:
        return (yield)

    module.evanesce_settings = evanesce_settings  # type: ignore[attr-defined]  # a module's attribute
    with pytest.raises(PluginError, match="evanesce_settings is a wrapper"):
        loaded(odd=module)


def test_one_that_breaks_when_it_is_looked_at_stops_the_start() -> None:
    class Broken:
        @property
        def evanesce_settings(self) -> None:
            raise ValueError

    with pytest.raises(PluginError, match=r"plugin 'odd': cannot be registered: ValueError"):
        loaded(odd=Broken())


def test_objects_and_modules_are_plugins_and_hooks_may_leave_out_arguments() -> None:
    class Object:
        @hookimpl
        def evanesce_repository(self) -> Part:
            return Part()

    plugins = loaded(object=Object(), guest=full())
    assert plugins.hooks("object") == ("evanesce_repository",)


# Settings and commands


class Model(msgspec.Struct, forbid_unknown_fields=True):
    """A plugin's model."""

    key: str = ""


def test_each_plugin_has_its_own_model() -> None:
    plugins = loaded(a=plugin(evanesce_settings=lambda: Model), b=plugin(), c=plugin(evanesce_settings=lambda: Other))
    assert plugins.settings() == {"a": Model, "b": None, "c": Other}


class Other(msgspec.Struct):
    """Another plugin's model."""


class Unreadable(msgspec.Struct):
    """A model whose annotation names nothing."""

    key: NoSuchType  # type: ignore[name-defined]  # noqa: F821  # the point of it


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "gave no msgspec.Struct"),
        (dict, "gave no msgspec.Struct"),
        (Model(), "gave no msgspec.Struct"),
        (Unreadable, "gave a model that cannot be used"),
    ],
)
def test_a_model_that_is_none_stops_the_start(given: object, told: str) -> None:
    with pytest.raises(PluginError, match=f"plugin 'odd': evanesce_settings {told}"):
        loaded(odd=plugin(evanesce_settings=lambda: given)).settings()


def test_commands_of_installed_plugins_are_found_and_broken_ones_left_out(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install("broken", "import nothing_of_this_name")
    for name, command in (("adds", "greet"), ("collides", "serve")):
        install(
            name,
            "from evanesce.hookspecs import hookimpl\nfrom evanesce.interfaces import CliCommand\n"
            "@hookimpl\ndef evanesce_cli_commands():\n"
            f"    return [CliCommand({command!r}, 'help', lambda parser: None, lambda options: 0)]\n",
        )
    names = [command.name for command in catalogue.cli_commands({"serve"})]
    assert ("greet" in names, "serve" in names) == (True, False)
    assert "plugin collides: its command serve is left out" in caplog.text


def test_commands_that_are_none_stop_the_start() -> None:
    plugins = loaded(a=plugin(evanesce_cli_commands=lambda: ["text"]), b=plugin(evanesce_cli_commands=lambda: 5))
    with pytest.raises(PluginError, match="plugin 'a': evanesce_cli_commands must give objects of CliCommand"):
        plugins.cli_commands("a")
    with pytest.raises(PluginError, match="plugin 'b': evanesce_cli_commands must give a sequence"):
        plugins.cli_commands("b")


def test_the_list_shows_all_that_are_installed_and_what_is_wrong_with_them(install: Callable[..., None]) -> None:
    install("broken", "import nothing_of_this_name")
    install("silent", "")
    plugins = catalogue.listing(["silent", "nobody", "guest"])
    assert [one.name for one in plugins][:3] == ["silent", "nobody", "guest"]
    listed = {one.name: one for one in plugins}
    assert listed["silent"] == catalogue.Listed("silent", True, "plugin_silent 1.0", (), None)
    assert listed["guest"].origin.startswith("evanesce ")
    assert "evanesce_authenticator" in listed["guest"].hooks
    assert listed["nobody"].origin == "not installed"
    assert "no plugin 'nobody' is installed" in (listed["nobody"].problem or "")
    assert "nothing_of_this_name" in (listed["broken"].problem or "")
    assert not listed["broken"].enabled


# Building


def test_each_plugin_is_given_its_own_setup() -> None:
    setups: dict[str, Setup] = {}

    def authenticator(setup: Setup) -> Part:
        setups[setup.name] = setup
        return Part(setup.name)

    plugins = loaded(
        main=full("main"),
        a=plugin(evanesce_authenticator=authenticator),
        b=plugin(evanesce_authenticator=authenticator),
    )
    parts = built(plugins, a=Model(key="k3y"))
    assert list(parts.authenticators) == ["main", "a", "b"]
    assert setups["a"].settings == Model(key="k3y")
    assert setups["b"].settings is None
    assert setups["a"].folder == Path("/folder")
    assert setups["a"].public_url == "http://h"
    assert (setups["a"].frame_bytes, setups["a"].outbox_bytes) == (65_536, 1_048_576)
    assert "k3y" not in repr(setups["a"])


def test_a_plugin_is_configured_before_it_is_asked_for_parts() -> None:
    asked: list[str] = []

    def configure(setup: Setup) -> None:
        asked.append(f"configure {setup.name} {setup.settings.key}")

    def routes(setup: Setup) -> list[HttpRoute]:
        asked.append("routes")
        return []

    plugins = loaded(a=plugin(evanesce_configure=configure, evanesce_http_routes=routes), main=full())
    built(plugins, a=Model(key="k"))
    assert asked == ["configure a k", "routes"]


def test_all_parts_are_given() -> None:
    async def handle(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"")

    routes = [HttpRoute("GET", "/a", handle), HttpRoute("POST", "/a", handle)]
    parts = built(loaded(main=full(), routes=plugin(evanesce_http_routes=lambda setup: routes)))
    assert list(parts.authenticators) == ["part"]
    assert list(parts.transports) == ["main"]
    assert isinstance(parts.repository, Part)
    assert list(parts.routes) == routes


ONE: dict[str, Callable[..., Any]] = {
    "evanesce_authenticator": lambda setup: Part(),
    "evanesce_repository": lambda setup: Part(),
    "evanesce_transport": lambda setup: Part(),
}


@pytest.mark.parametrize(
    ("missing", "wanted", "candidate"),
    [
        ("evanesce_authenticator", "at least one way to sign in", "guest"),
        ("evanesce_repository", "exactly one repository", "sqlite"),
        ("evanesce_transport", "at least one transport", "quart"),
    ],
)
def test_a_part_that_is_missing_is_told_with_who_could_give_it(
    install: Callable[..., None], missing: str, wanted: str, candidate: str
) -> None:
    install("broken", "import nothing_of_this_name")
    hooks = {name: hook for name, hook in ONE.items() if name != missing}
    with pytest.raises(ConfigurationError, match=f"needs {wanted}") as caught:
        built(loaded(main=plugin(**hooks)))
    assert caught.value.path == "plugins.enabled"
    assert candidate in caught.value.hint


def test_two_repositories_are_told() -> None:
    with pytest.raises(ConfigurationError, match="needs exactly one repository, and has main, other") as caught:
        built(loaded(main=full(), other=plugin(evanesce_repository=lambda: Part())))
    assert caught.value.path == "plugins.enabled"


def test_two_ways_to_sign_in_of_one_name_are_told() -> None:
    with pytest.raises(ConfigurationError, match="'other' and another one both sign in with 'part'"):
        built(loaded(main=full(), other=plugin(evanesce_authenticator=lambda: Part())))


def _raises() -> None:
    raise ValueError("its text may hold a secret: S3CR3T")


class NoTransport:
    """Has less than a transport."""

    binds = ()


class BrokenProperty(Part):
    """Raises when it is looked at."""

    @property
    def binds(self) -> None:
        raise ValueError


@pytest.mark.parametrize(
    ("hook", "implementation", "told"),
    [
        ("evanesce_transport", _raises, r"evanesce_transport failed: ValueError at test_plugins\.py:\d+ _raises"),
        ("evanesce_transport", lambda: None, "what evanesce_transport gave is no Transport: it has no binds, serve"),
        ("evanesce_transport", NoTransport, "what evanesce_transport gave is no Transport: it has no serve"),
        ("evanesce_transport", BrokenProperty, "what evanesce_transport gave is broken: ValueError"),
        ("evanesce_authenticator", lambda: Part(""), "its authenticator's provider is no name"),
        ("evanesce_authenticator", object, "no Authenticator: it has no .*__aenter__"),
        ("evanesce_http_routes", lambda: ["/path"], "evanesce_http_routes must give objects of HttpRoute"),
    ],
)
def test_a_plugin_that_breaks_its_contract_is_named(hook: str, implementation: Callable[..., Any], told: str) -> None:
    def give() -> Any:
        return implementation()

    with pytest.raises(PluginError, match="plugin 'odd'") as caught:
        built(loaded(main=full(), odd=plugin(**{hook: give})))
    assert caught.match(told)
    assert "S3CR3T" not in str(caught.value)


def test_two_routes_in_one_place_are_told() -> None:
    async def handle(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"")

    one = plugin(evanesce_http_routes=lambda: [HttpRoute("GET", "/a", handle)])
    other = plugin(evanesce_http_routes=lambda: [HttpRoute("get", "/a", handle)])
    with pytest.raises(PluginError, match="plugin 'other': the route GET /a is another plugin's already"):
        built(loaded(main=full(), one=one, other=other))


def test_the_ways_to_sign_in_are_in_the_configured_order() -> None:
    def way(name: str) -> object:
        return plugin(
            evanesce_authenticator=lambda setup: Part(setup.name),
            evanesce_sign_in_page=lambda setup: SignInPage(setup.name, f"/{name}.js", {"img-src": ("https://i",)}),
        )

    parts = built(loaded(main=full(), b=way("b"), a=way("a")))
    assert [(page.provider, page.module) for page in parts.sign_in_pages] == [("b", "/b.js"), ("a", "/a.js")]


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (None, "must give a SignInPage"),
        (SignInPage("nobody", "/x.js"), "names the provider 'nobody', and no enabled plugin signs in with it"),
        (SignInPage("part", "/x.js"), "gives a second page for 'part'"),
        (SignInPage("odd", "x.js"), "gives 'x.js' as its module"),
        (SignInPage("odd", "//elsewhere/x.js"), "gives '//elsewhere/x.js' as its module"),
        (SignInPage("odd", "https://elsewhere/x.js"), "gives 'https://elsewhere/x.js' as its module"),
        (SignInPage("odd", "/x.js\n"), "as its module"),
        (SignInPage("odd", "/x.js", {"connect-src": ["https://a; script-src *"]}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"connect-src": ["https://a,b"]}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"connect-src": ["https://a\n"]}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"connect-src": [""]}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"connect-src": "https://a"}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"img-src; x": ["https://a"]}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"img-src\n": ["https://a"]}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"frame-ancestors": ["https://a"]}), "gives what cannot be used"),
        (SignInPage("odd", "/x.js", {"default-src": ["https://a"]}), "gives what cannot be used"),
    ],
)
def test_a_way_to_sign_in_that_cannot_be_used_stops_the_start(page: object, told: str) -> None:
    first = plugin(evanesce_sign_in_page=lambda: SignInPage("part", "/part.js"))
    odd = plugin(evanesce_authenticator=lambda: Part("odd"), evanesce_sign_in_page=lambda: page)
    with pytest.raises(PluginError, match="plugin 'odd': evanesce_sign_in_page") as caught:
        built(loaded(main=full(), first=first, odd=odd))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_plugin_says_about_its_own_settings_is_told_as_it_is() -> None:
    def refuse() -> None:
        raise ConfigurationError("plugins.odd.key", "does not exist", "Choose another one")

    with pytest.raises(ConfigurationError, match=r"plugins\.odd\.key: does not exist"):
        built(loaded(main=full(), odd=plugin(evanesce_transport=refuse)))


# Filters


def appending(text: str) -> object:
    async def filter_message(draft: Draft) -> Draft:
        return msgspec.structs.replace(draft, content=draft.content + text, sender_id="forged", room_id="forged")

    return plugin(evanesce_filter_message=filter_message)


async def test_without_filters_a_message_stays_as_it_is() -> None:
    assert await loaded(a=plugin()).filter_message(DRAFT) is DRAFT


async def test_filters_run_in_the_configured_order_and_only_content_counts() -> None:
    objects = {"a": appending("a"), "b": appending("b")}
    assert await Plugins.load(["a", "b"], objects).filter_message(DRAFT) == msgspec.structs.replace(
        DRAFT, content="helloab"
    )
    assert (await Plugins.load(["b", "a"], objects).filter_message(DRAFT)).content == "helloba"


async def test_a_filter_that_gives_nothing_lets_the_message_be() -> None:
    async def look(draft: Draft) -> None: ...

    assert await loaded(a=plugin(evanesce_filter_message=look)).filter_message(DRAFT) == DRAFT


async def test_a_filter_refuses_with_its_own_words_and_those_behind_it_are_not_asked() -> None:
    async def refuse(draft: Draft) -> None:
        raise Rejected("not here")

    async def never(draft: Draft) -> None:
        pytest.fail("asked")

    plugins = loaded(a=plugin(evanesce_filter_message=refuse), b=plugin(evanesce_filter_message=never))
    with pytest.raises(Rejected, match="not here"):
        await plugins.filter_message(DRAFT)
    assert plugins.statistics()["a"].failed == 0


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
    broken: Callable[..., Any], caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def behind(draft: Draft) -> None:
        pytest.fail("asked")

    plugins = loaded(main=full(), odd=plugin(evanesce_filter_message=broken), b=plugin(evanesce_filter_message=behind))
    built(plugins)
    began = trio.current_time()
    with pytest.raises(CommandError) as caught:
        await plugins.filter_message(DRAFT)
    assert caught.value.code is ErrorCode.INTERNAL
    assert trio.current_time() - began <= SECONDS
    assert plugins.statistics()["odd"].failed == 1
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "plugin odd: evanesce_filter_message" in record.getMessage()
    assert DRAFT.content not in record.getMessage()


async def test_a_filter_that_is_cancelled_is_not_at_fault(autojump_clock: MockClock) -> None:
    plugins = loaded(a=plugin(evanesce_filter_message=_takes_long))
    with trio.move_on_after(SECONDS / 2) as scope:
        await plugins.filter_message(DRAFT)
    assert scope.cancelled_caught
    assert plugins.statistics()["a"].failed == 0


async def test_what_a_filter_raises_while_it_is_cancelled_stays_inside(autojump_clock: MockClock) -> None:
    async def raises_on_cancel() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    async def messy(draft: Draft) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises_on_cancel)
            nursery.start_soon(trio.sleep_forever)

    plugins = loaded(a=plugin(evanesce_filter_message=messy))
    with trio.move_on_after(SECONDS / 2) as scope:
        await plugins.filter_message(DRAFT)
    assert scope.cancelled_caught
    assert plugins.statistics()["a"].failed == 1


# Observers


class Watcher:
    """Notes what it is told; raises or waits where it is asked to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.fails = False
        self.gate: trio.Event | None = None

    async def _note(self, *event: str) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise ValueError
        self.told.append(event)

    @hookimpl
    async def evanesce_member_joined(self, room_id: str, user_id: str, display_name: str) -> None:
        await self._note("joined", room_id, user_id, display_name)

    @hookimpl
    async def evanesce_member_left(self, room_id: str, user_id: str) -> None:
        await self._note("left", room_id, user_id)

    @hookimpl
    async def evanesce_room_opened(self, room: ChatRoom) -> None:
        await self._note("opened", room.room_id)

    @hookimpl
    async def evanesce_room_closed(self, room_id: str) -> None:
        await self._note("closed", room_id)


def tell_all(plugins: Plugins) -> None:
    plugins.observe("evanesce_room_opened", room=ROOM)
    plugins.observe("evanesce_member_joined", room_id="r", user_id="u", display_name="n")
    plugins.observe("evanesce_member_left", room_id="r", user_id="u")
    plugins.observe("evanesce_room_closed", room_id="r")


ALL = [("opened", "r"), ("joined", "r", "u", "n"), ("left", "r", "u"), ("closed", "r")]


@pytest.fixture
async def nursery_of_observers() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


async def test_observers_are_told_everything_in_order(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock
) -> None:
    a, b = Watcher(), Watcher()
    plugins = loaded(a=a, b=b, c=plugin())
    await nursery_of_observers.start(plugins.run_observers)
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert a.told == b.told == ALL


async def test_what_was_told_before_they_run_is_not_lost(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock
) -> None:
    a = Watcher()
    plugins = loaded(a=a)
    tell_all(plugins)
    assert plugins.statistics()["a"].waiting == 4
    await nursery_of_observers.start(plugins.run_observers)
    await trio.testing.wait_all_tasks_blocked()
    assert a.told == ALL


async def test_closing_tells_what_waits_and_ends(autojump_clock: MockClock) -> None:
    a = Watcher()
    plugins = loaded(a=a)
    tell_all(plugins)
    plugins.close_observers()
    await plugins.run_observers()
    assert a.told == ALL


async def test_one_that_raises_harms_nobody(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Watcher(), Watcher()
    a.fails = True
    plugins = loaded(a=a, b=b)
    await nursery_of_observers.start(plugins.run_observers)
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert b.told == ALL
    assert plugins.statistics()["a"].failed == 4
    assert caplog.text.count("plugin a: evanesce_") == 4
    a.fails = False
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert a.told == ALL


async def test_one_that_hangs_is_passed_over(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Watcher(), Watcher()
    a.gate = trio.Event()
    plugins = loaded(a=a, b=b)
    await nursery_of_observers.start(plugins.run_observers)
    tell_all(plugins)
    await trio.testing.wait_all_tasks_blocked()
    assert b.told == ALL
    await trio.sleep(4 * SECONDS + 0.1)
    assert plugins.statistics()["a"].failed == 4
    assert caplog.text.count("took more than 2 s") == 4


async def test_what_finds_the_queue_full_is_dropped_and_counted(
    nursery_of_observers: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Watcher(), Watcher()
    a.gate = trio.Event()
    plugins = loaded(a=a, b=b)
    await nursery_of_observers.start(plugins.run_observers)
    for _ in range(WAITING + 1):
        plugins.observe("evanesce_room_closed", room_id="r")
        await trio.testing.wait_all_tasks_blocked()
    for _ in range(100):
        plugins.observe("evanesce_room_closed", room_id="late")
    assert plugins.statistics()["a"].waiting == WAITING
    assert plugins.statistics()["a"].dropped == 100
    assert plugins.statistics()["b"].dropped == 0
    assert caplog.text.count("events dropped") == 7  # at 1, 2, 4, … 64: a line each would fill the log
    a.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert len(a.told) == WAITING + 1


# Every hook


def test_every_hook_is_called_by_somebody_here() -> None:
    text = Path(__file__).read_text()
    for hook in vars(Hooks):
        if hook.startswith("evanesce_"):
            assert hook in text, hook
