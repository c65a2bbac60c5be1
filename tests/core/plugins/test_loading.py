"""Loading plugins: what is found, and the contracts that hooks are held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evanesce.errors import ConfigurationError, PluginError
from evanesce.hookspecs import Hooks, hookimpl
from evanesce.interfaces import Setup
from evanesce.plugins import Plugins, discovery
from tests.core.plugins.fixtures import Component, full, loaded, plugin


def test_plugins_are_found_by_entry_point() -> None:
    assert {"guest", "sqlite", "quart"} <= set(discovery.names())
    plugins = Plugins.load(["guest"])
    assert plugins.names == ("guest",)
    assert plugins.hooks("guest") == (
        "evanesce_authenticator",
        "evanesce_http_routes",
        "evanesce_settings",
        "evanesce_sign_in_page",
    )


def test_the_default_plugins_are_installed() -> None:
    assert sorted(discovery.defaults()) == ["guest", "quart", "sqlite"]
    assert set(discovery.defaults()) <= set(discovery.names())


def test_nobody_else_can_make_a_plugin_a_default(install: Callable[..., None], tmp_path: Path) -> None:
    install("extra", "")
    with (tmp_path / "plugin_extra-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("[evanesce.defaults]\nextra = plugin_extra\n")
    assert "extra" in discovery.names()
    assert "extra" not in discovery.defaults()


def test_one_that_is_not_installed_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no plugin 'gest' is installed\. Did you mean 'guest'") as caught:
        Plugins.load(["gest"])
    assert caught.value.path == "plugins.enabled"
    assert "sqlite" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise ValueError('two\\nlines')", "ValueError at plugin_broken.py:1 <module>"),
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


def test_a_class_in_place_of_its_object_stops_the_start() -> None:
    class Forgotten:
        @hookimpl
        async def evanesce_may_join(self, room_id: str) -> None: ...

    with pytest.raises(PluginError, match="it is a class, and evanesce_may_join needs an object of it"):
        loaded(odd=Forgotten)
    assert loaded(fine=Forgotten()).hooks("fine") == ("evanesce_may_join",)


def test_a_class_whose_hooks_need_no_object_is_a_plugin() -> None:
    class Static:
        @staticmethod
        @hookimpl
        async def evanesce_may_join(room_id: str) -> None: ...

    assert loaded(fine=Static).hooks("fine") == ("evanesce_may_join",)


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
        def evanesce_repository(self) -> Component:
            return Component()

    plugins = loaded(object=Object(), guest=full())
    assert plugins.hooks("object") == ("evanesce_repository",)


def test_every_hook_is_called_by_somebody_here() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    for hook in vars(Hooks):
        if hook.startswith("evanesce_"):
            assert hook in text, hook
