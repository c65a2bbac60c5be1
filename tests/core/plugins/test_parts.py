"""The parts that plugins give, and the contracts that these are held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, Setup, SignInPage
from tests.core.plugins.made import Model, Part, built, full, loaded, plugin


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
        ("evanesce_transport", _raises, r"evanesce_transport failed: ValueError at test_parts\.py:\d+ _raises"),
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
