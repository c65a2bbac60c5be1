"""What plugins declare: the version of the plugin API, and whether they see the content of messages."""

from __future__ import annotations

from types import ModuleType

import pytest

from evanesce import hookspecs
from evanesce.errors import PluginError
from evanesce.hookspecs import API, CONTENT_HOOKS, FIRST_API
from evanesce.model import Draft
from evanesce.plugins import Plugins, discovery
from evanesce.plugins.declarations import CONTENT_ATTRIBUTE, Declarations
from tests.core.plugins.fixtures import Component, loaded, plugin


def declaring(**declared: object) -> object:
    """Return a plugin with attributes of its own."""
    made = ModuleType("plugin")
    vars(made).update(declared)
    return made


@pytest.mark.parametrize("version", [None, "1.0", "1.1", "1.2"])
def test_a_plugin_for_this_version_or_an_older_minor_one_is_used(
    version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evanesce.plugins.declarations.API", "1.2")
    declared = {} if version is None else {"evanesce_api": version}
    plugins = loaded(odd=declaring(**declared))
    assert plugins.declarations("odd") == Declarations(version or FIRST_API, sees_content=False)


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("2.3", "install a newer version of Evanesce, or an older one of the plugin"),
        ("3.0", "install a newer version of Evanesce, or an older one of the plugin"),
        ("1.9", "install a newer version of the plugin"),
        (None, "install a newer version of the plugin"),
    ],
)
def test_a_plugin_for_another_version_is_refused_by_name(
    version: str | None, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evanesce.plugins.declarations.API", "2.2")
    declared = {} if version is None else {"evanesce_api": version}
    with pytest.raises(PluginError) as refused:
        loaded(odd=declaring(**declared))
    made_for = version or FIRST_API
    assert str(refused.value).startswith(f"plugin 'odd': it is made for version {made_for} of the plugin API")
    assert str(refused.value).endswith(f"this version of Evanesce has 2.2: {advice}")


def test_the_version_is_looked_at_before_the_hooks() -> None:
    odd = plugin(evanesce_of_tomorrow=lambda: None)
    vars(odd)["evanesce_api"] = "99.0"
    with pytest.raises(PluginError, match=r"version 99\.0 of the plugin API"):
        loaded(odd=odd)


@pytest.mark.parametrize(
    "version", ["", "1", "1.0.0", "01.0", "1.x", "-1.0", "1.0\n", "\u0663.\u0660", "1" * 5000 + ".0", 1.0, None]
)
def test_a_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(PluginError, match="plugin 'odd': its evanesce_api is no version of the plugin API"):
        loaded(odd=declaring(evanesce_api=version))


@pytest.mark.parametrize("declared", ["True", 1, None])
def test_a_declaration_about_content_is_true_or_false(declared: object) -> None:
    with pytest.raises(PluginError, match="plugin 'odd': its evanesce_sees_content is neither True nor False"):
        loaded(odd=declaring(evanesce_sees_content=declared))


def test_a_declaration_that_cannot_be_read_is_the_plugins_fault() -> None:
    class Odd:
        @property
        def evanesce_api(self) -> str:
            raise SystemExit("S3CR3T")

    with pytest.raises(PluginError, match="plugin 'odd': cannot be registered: SystemExit"):
        loaded(odd=Odd())


@pytest.mark.parametrize("hook", sorted(CONTENT_HOOKS))
@pytest.mark.parametrize("declared", [None, False])
def test_a_plugin_that_does_not_declare_that_it_sees_content_is_handed_none(hook: str, declared: bool | None) -> None:
    async def see(draft: Draft) -> None: ...

    odd = plugin(**{hook: see if hook == "evanesce_filter_message" else lambda: Component()})
    del vars(odd)[CONTENT_ATTRIBUTE]
    if declared is not None:
        vars(odd)[CONTENT_ATTRIBUTE] = declared
    with pytest.raises(PluginError, match=f"plugin 'odd': {hook} is handed the content of messages") as refused:
        loaded(odd=odd)
    assert f"{CONTENT_ATTRIBUTE} = True" in str(refused.value)


def test_hooks_that_are_handed_content_are_those_with_a_draft_or_a_gateway() -> None:
    """A new hook with content has to be added to `CONTENT_HOOKS`."""
    handed = {"Draft", "Message", "Transport"}
    found = {
        name
        for name, hook in vars(hookspecs.Hooks).items()
        if name.startswith("evanesce_")
        for text in hook.__annotations__.values()
        if any(kind in text for kind in handed)
    }
    assert found == CONTENT_HOOKS


@pytest.mark.parametrize(
    "name", [*discovery.defaults(), "oidc", "passkey", "trio_websocket", "turso", "webhooks", "worldid"]
)
def test_the_plugins_that_come_with_evanesce_declare_what_they_are(name: str) -> None:
    plugins = Plugins.load([name])
    assert plugins.declarations(name) == Declarations(API, sees_content=name in ("quart", "trio_websocket"))
