"""What a plugin uses that a coming version of the API will not have is told once for each; and that it has no hook."""

from __future__ import annotations

import inspect

import pytest

from evanesce.hookspecs import API, DEPRECATIONS, Deprecation, Hooks
from evanesce.interfaces import Finding, Setup
from evanesce.plugins.declarations import FIRST_API
from tests.core.plugins.fixtures import found, full, loaded, plugin

SEEDED = (
    Deprecation("evanesce_room_closed", None, "1.3", "2.0", "evanesce_room_ended"),
    Deprecation("evanesce_member_joined", "display_name", "1.4", "2.0", "the argument name"),
)


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deprecate a hook, and an argument of another one."""
    monkeypatch.setattr("evanesce.plugins.deprecations.DEPRECATIONS", SEEDED)


async def closed(room_id: str) -> None: ...


async def joined(room_id: str) -> None: ...


async def joined_by_name(display_name: str) -> None: ...


def test_a_plugin_that_uses_nothing_deprecated_has_no_finding() -> None:
    assert found(loaded(main=full(), new=plugin(evanesce_member_joined=joined))) == []


def test_each_use_is_told_once_with_the_plugin_and_the_versions() -> None:
    uses = plugin(evanesce_room_closed=closed, evanesce_member_joined=joined_by_name)
    told = found(loaded(main=full(), a=uses, b=plugin(evanesce_room_closed=closed)))
    assert [name for name, _ in told] == ["a", "a", "b"]
    assert [finding.text for _, finding in told[:2]] == [
        "it uses evanesce_room_closed, which is deprecated since version 1.3 of the plugin API, and which version 2.0"
        " will not have",
        "it uses the argument display_name of evanesce_member_joined, which is deprecated since version 1.4 of the"
        " plugin API, and which version 2.0 will not have",
    ]
    assert told[0][1].advice.startswith("Its author has to use evanesce_room_ended instead.")
    assert not any(finding.fails for _, finding in told)


def test_it_stands_beside_the_plugins_own_findings() -> None:
    def findings(setup: Setup) -> list[Finding]:
        return [Finding("something", "Correct it.")]

    told = found(loaded(main=full(), a=plugin(evanesce_room_closed=closed, evanesce_findings=findings)))
    assert [finding.text.partition(",")[0] for _, finding in told] == ["it uses evanesce_room_closed", "something"]


def test_what_is_deprecated_exists_and_will_be_removed_with_a_later_major_version() -> None:
    def major(version: str) -> int:
        return int(version.partition(".")[0])

    for one in (*DEPRECATIONS, SEEDED[1]):
        parameters = inspect.signature(getattr(Hooks, one.hook)).parameters
        assert one.argument is None or one.argument in parameters
        assert major(one.until) > major(API) >= major(FIRST_API)


def test_a_plugin_without_hooks_is_told_by_name() -> None:
    told = found(loaded(main=full(), empty=object()))
    assert [(name, finding.text) for name, finding in told] == [
        ("empty", "it implements no hook: nothing of it is ever called")
    ]
