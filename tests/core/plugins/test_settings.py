"""The settings and the subcommands of plugins."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from evanesce.cli.plugins import ListedPlugin, added_commands, listing
from evanesce.errors import PluginError
from evanesce.hookspecs import FIRST_API
from evanesce.plugins.declarations import Declarations
from tests.core.plugins.fixtures import Model, loaded, plugin


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
        (None, "must return a subclass of msgspec.Struct"),
        (dict, "must return a subclass of msgspec.Struct"),
        (Model(), "must return a subclass of msgspec.Struct"),
        (Unreadable, "returned a model that cannot be used"),
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
    names = [command.name for _, command in added_commands({"serve"})]
    assert ("greet" in names, "serve" in names) == (True, False)
    assert "plugin collides: its command serve is left out" in caplog.text


def test_commands_that_are_none_stop_the_start() -> None:
    plugins = loaded(a=plugin(evanesce_cli_commands=lambda: ["text"]), b=plugin(evanesce_cli_commands=lambda: 5))
    with pytest.raises(PluginError, match="plugin 'a': evanesce_cli_commands must return objects of CliCommand"):
        plugins.cli_commands("a")
    with pytest.raises(PluginError, match="plugin 'b': evanesce_cli_commands must return a sequence"):
        plugins.cli_commands("b")


def test_the_list_shows_all_that_are_installed_and_what_is_wrong_with_them(install: Callable[..., None]) -> None:
    install("broken", "import nothing_of_this_name")
    install("silent", "")
    plugins = listing(["silent", "nobody", "guest"])
    assert [one.name for one in plugins][:3] == ["silent", "nobody", "guest"]
    listed = {one.name: one for one in plugins}
    assert listed["silent"] == ListedPlugin(
        "silent", True, "plugin_silent 1.0", (), Declarations(FIRST_API, sees_content=False), None
    )
    assert listed["guest"].origin.startswith("evanesce ")
    assert "evanesce_authenticator" in listed["guest"].hooks
    assert listed["nobody"].origin == "not installed"
    assert "no plugin 'nobody' is installed" in (listed["nobody"].problem or "")
    assert "nothing_of_this_name" in (listed["broken"].problem or "")
    assert not listed["broken"].enabled
