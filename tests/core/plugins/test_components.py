"""The components that plugins provide, and the contracts that they are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import Finding, HttpRequest, HttpResponse, HttpRoute, Setup, SignInPage
from tests.core.plugins.fixtures import Component, Model, built, found, full, loaded, plugin


def test_each_plugin_is_given_its_own_setup() -> None:
    setups: dict[str, Setup] = {}

    def authenticator(setup: Setup) -> Component:
        setups[setup.name] = setup
        return Component(setup.name)

    plugins = loaded(
        main=full("main"),
        a=plugin(evanesce_authenticator=authenticator),
        b=plugin(evanesce_authenticator=authenticator),
    )
    components = built(plugins, a=Model(key="k3y"))
    assert list(components.authenticators) == ["main", "a", "b"]
    assert setups["a"].settings == Model(key="k3y")
    assert setups["b"].settings is None
    assert setups["a"].folder == Path("/folder")
    assert setups["a"].public_url == "http://h"
    assert (setups["a"].frame_bytes, setups["a"].outbox_bytes) == (65_536, 1_048_576)
    assert "k3y" not in repr(setups["a"])


def test_a_plugin_is_configured_before_it_is_asked_for_components() -> None:
    asked: list[str] = []

    def configure(setup: Setup) -> None:
        asked.append(f"configure {setup.name} {setup.settings.key}")

    def routes(setup: Setup) -> list[HttpRoute]:
        asked.append("routes")
        return []

    plugins = loaded(a=plugin(evanesce_configure=configure, evanesce_http_routes=routes), main=full())
    built(plugins, a=Model(key="k"))
    assert asked == ["configure a k", "routes"]


async def test_all_components_are_built(nursery: trio.Nursery) -> None:
    async def handle(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.body)

    routes = [HttpRoute("GET", "/a", handle), HttpRoute("POST", "/a", handle)]
    repository = Component()
    hooks: dict[str, Callable[..., Any]] = {
        "evanesce_authenticator": lambda: Component(),
        "evanesce_repository": lambda: repository,
        "evanesce_transport": lambda: Component(),
        "evanesce_http_routes": lambda: routes,
    }
    plugins = loaded(main=plugin(**hooks))
    components = built(plugins)
    await nursery.start(plugins.run)
    assert list(components.authenticators) == ["part"]
    assert list(components.transports) == ["main"]
    repository.found = "somebody"
    assert await components.repository.user("u") == "somebody"
    assert [(route.method, route.path) for route in components.routes] == [("GET", "/a"), ("POST", "/a")]
    request = HttpRequest(method="GET", path="/a", query={}, headers={}, body=b"asked", user=None)
    assert await components.routes[0].handle(request) == HttpResponse(b"asked")


ONE: dict[str, Callable[..., Any]] = {
    "evanesce_authenticator": lambda setup: Component(),
    "evanesce_repository": lambda setup: Component(),
    "evanesce_transport": lambda setup: Component(),
}


@pytest.mark.parametrize(
    ("missing", "wanted", "candidate"),
    [
        ("evanesce_authenticator", "at least one way to sign in", "guest"),
        ("evanesce_repository", "exactly one repository", "sqlite"),
        ("evanesce_transport", "at least one transport", "quart"),
    ],
)
def test_a_component_that_is_missing_is_told_with_who_could_give_it(
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
        built(loaded(main=full(), other=plugin(evanesce_repository=lambda: Component())))
    assert caught.value.path == "plugins.enabled"


def test_two_ways_to_sign_in_of_one_name_are_told() -> None:
    with pytest.raises(ConfigurationError, match="'other' and another one both sign in with 'part'"):
        built(loaded(main=full(), other=plugin(evanesce_authenticator=lambda: Component())))


def _raises() -> None:
    raise ValueError("its text may hold a secret: S3CR3T")


class NoTransport:
    """Has less than a transport."""

    binds = ()


class BrokenProperty(Component):
    """Raises when it is looked at."""

    @property
    def binds(self) -> None:
        raise ValueError


@pytest.mark.parametrize(
    ("hook", "implementation", "told"),
    [
        (
            "evanesce_transport",
            _raises,
            r"evanesce_transport \(\S+test_components:\d+\) failed: ValueError at test_components\.py:\d+ _raises",
        ),
        (
            "evanesce_transport",
            lambda: None,
            "the result of evanesce_transport is no Transport: it has no binds, serve",
        ),
        ("evanesce_transport", NoTransport, "the result of evanesce_transport is no Transport: it has no serve"),
        ("evanesce_transport", BrokenProperty, "the result of evanesce_transport cannot be read: ValueError"),
        ("evanesce_authenticator", lambda: Component(""), "its authenticator's provider is no name"),
        ("evanesce_authenticator", object, "no Authenticator: it has no .*__aenter__"),
        ("evanesce_http_routes", lambda: ["/path"], "evanesce_http_routes must return objects of HttpRoute"),
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
            evanesce_authenticator=lambda setup: Component(setup.name),
            evanesce_sign_in_page=lambda setup: SignInPage(setup.name, f"/{name}.js", {"img-src": ("https://i",)}),
        )

    components = built(loaded(main=full(), b=way("b"), a=way("a")))
    assert [(page.provider, page.module) for page in components.sign_in_pages] == [("b", "/b.js"), ("a", "/a.js")]


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (None, "must return a SignInPage"),
        (SignInPage("nobody", "/x.js"), "names the provider 'nobody', and no enabled plugin signs in with it"),
        (SignInPage("part", "/x.js"), "returned a second page for 'part'"),
        (SignInPage("odd", "x.js"), "returned the module 'x.js'"),
        (SignInPage("odd", "//elsewhere/x.js"), "returned the module '//elsewhere/x.js'"),
        (SignInPage("odd", "https://elsewhere/x.js"), "returned the module 'https://elsewhere/x.js'"),
        (SignInPage("odd", "/x.js\n"), "returned the module"),
        (SignInPage("odd", "/x.js", {"connect-src": ["https://a; script-src *"]}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"connect-src": ["https://a,b"]}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"connect-src": ["https://a\n"]}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"connect-src": [""]}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"connect-src": "https://a"}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"img-src; x": ["https://a"]}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"img-src\n": ["https://a"]}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"frame-ancestors": ["https://a"]}), "returned an invalid page"),
        (SignInPage("odd", "/x.js", {"default-src": ["https://a"]}), "returned an invalid page"),
    ],
)
def test_a_way_to_sign_in_that_cannot_be_used_stops_the_start(page: object, told: str) -> None:
    first = plugin(evanesce_sign_in_page=lambda: SignInPage("part", "/part.js"))
    odd = plugin(evanesce_authenticator=lambda: Component("odd"), evanesce_sign_in_page=lambda: page)
    with pytest.raises(PluginError, match="plugin 'odd': evanesce_sign_in_page") as caught:
        built(loaded(main=full(), first=first, odd=odd))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_plugin_says_about_its_own_settings_is_told_as_it_is() -> None:
    def refuse() -> None:
        raise ConfigurationError("plugins.odd.key", "does not exist", "Choose another one")

    with pytest.raises(ConfigurationError, match=r"plugins\.odd\.key: does not exist"):
        built(loaded(main=full(), odd=plugin(evanesce_transport=refuse)))


def test_each_plugin_says_what_a_deployer_should_see_to() -> None:
    def look(setup: Setup, exposed: Sequence[str]) -> list[Finding]:
        return [Finding(f"{setup.settings.key} at {address}", "Close it.", fails=True) for address in exposed]

    plugins = loaded(main=full(), strict=plugin(evanesce_findings=look), calm=plugin(evanesce_findings=lambda: []))
    assert found(plugins, strict=Model(key="odd")) == []
    assert found(plugins, ["https://h"], strict=Model(key="odd")) == [
        ("strict", Finding("odd at https://h", "Close it.", fails=True))
    ]


@pytest.mark.parametrize("wrong", ["text", ["text"], 1, [None]])
def test_what_is_no_finding_names_its_plugin(wrong: object) -> None:
    with pytest.raises(PluginError, match="plugin 'odd': evanesce_findings must return"):
        found(loaded(main=full(), odd=plugin(evanesce_findings=lambda: wrong)))


@pytest.mark.parametrize(("name", "expected"), [("libsql.example/mine", "libsql.example/mine"), (None, None)])
def test_a_repository_may_name_its_database(name: str | None, expected: str | None) -> None:
    repository = Component()
    if name is not None:
        repository.database = name  # type: ignore[attr-defined]  # what not every repository has
    odd = plugin(
        evanesce_authenticator=lambda: Component(),
        evanesce_repository=lambda: repository,
        evanesce_transport=lambda: Component(),
    )
    assert built(loaded(odd=odd)).database == expected


def test_a_database_whose_name_is_no_text_stops_the_start() -> None:
    repository = Component()
    repository.database = 1  # type: ignore[attr-defined]  # what somebody gets wrong
    odd = plugin(
        evanesce_authenticator=lambda: Component(),
        evanesce_repository=lambda: repository,
        evanesce_transport=lambda: Component(),
    )
    with pytest.raises(PluginError, match="plugin 'odd': its repository's database is no str"):
        built(loaded(odd=odd))
