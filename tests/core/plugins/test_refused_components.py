"""What plugins return before the server starts, and what they raise then: the error names the plugin."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any, cast

import pytest

from evanesce.cli.plugins import listing
from evanesce.errors import PluginError
from evanesce.files import static_file
from evanesce.hookspecs import Hooks
from evanesce.interfaces import CliCommand, HttpRequest, HttpResponse, HttpRoute
from evanesce.plugins.contracts import is_async_callable, is_async_hook
from evanesce.plugins.discovery import load_point
from tests.core.plugins.faulty import SECRET, OddError, Worse
from tests.core.plugins.fixtures import Component, built, found, full, loaded, plugin

SYNC_HOOKS = [name for name in vars(Hooks) if name.startswith("evanesce_") and not is_async_hook(name)]

ERRORS = [
    ValueError(SECRET),
    Worse(SECRET),
    SystemExit(SECRET),
    SystemExit(0),
    KeyboardInterrupt(SECRET),
    OddError(SECRET),
    GeneratorExit(SECRET),
    BaseExceptionGroup(SECRET, [SystemExit(SECRET), ValueError(SECRET)]),
    OSError(5, SECRET),
]


def ask_everything(odd: object, *, alone: bool = False) -> None:
    plugins = loaded(odd=odd) if alone else loaded(main=full(), odd=odd)
    plugins.settings()
    plugins.cli_commands("odd")
    built(plugins)
    found(plugins)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("hook", SYNC_HOOKS)
def test_whatever_a_hook_raises_names_its_plugin(hook: str, error: BaseException) -> None:
    def fails() -> None:
        raise error

    hooks: dict[str, Callable[..., Any]] = {hook: fails}
    others: dict[str, Callable[..., Any]] = {}
    if hook == "evanesce_repository":  # there is only one
        others = {"evanesce_authenticator": lambda: Component(), "evanesce_transport": lambda: Component()}
    with pytest.raises(PluginError) as caught:
        ask_everything(plugin(**hooks, **others), alone=bool(others))
    assert str(caught.value).startswith(f"plugin 'odd': {hook} ({__name__}:")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_importing_raises_names_the_plugin(install: Callable[..., None], error: BaseException) -> None:
    name = type(error).__name__
    code = f"raise {name}({SECRET!r})" if hasattr(__import__("builtins"), name) else "raise SystemExit"
    if isinstance(error, BaseExceptionGroup):
        code = f"raise BaseExceptionGroup({SECRET!r}, [SystemExit({SECRET!r})])"
    install("broken", code)
    [listed] = [one for one in listing([]) if one.name == "broken"]
    assert listed.problem is not None
    assert listed.problem.startswith("plugin 'broken': plugin_broken of plugin_broken 1.0 cannot be imported: ")
    assert SECRET not in listed.problem


def test_an_entry_point_without_its_object_says_what_is_missing() -> None:
    point = EntryPoint("typo", "evanesce.model:Usr", "evanesce.plugins")
    with pytest.raises(PluginError, match=r"cannot be imported: the module evanesce.model has no Usr$"):
        load_point(point)


def test_an_interrupt_that_is_a_signal_passes() -> None:
    def waits() -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        ask_everything(plugin(evanesce_configure=waits))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("attribute", ["provider", "loopback_only", "timeout", "challenge"])
def test_a_property_that_raises_names_the_plugin(attribute: str, error: BaseException) -> None:
    def fails(self: object) -> None:
        raise error

    odd = type("Odd", (Component,), {attribute: property(fails), "__init__": lambda self: None})
    with pytest.raises(PluginError, match="'odd': the result of evanesce_authenticator cannot be read") as caught:
        ask_everything(plugin(evanesce_authenticator=lambda: odd()))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("hook", "method"),
    [
        ("evanesce_authenticator", "challenge"),
        ("evanesce_authenticator", "authenticate"),
        ("evanesce_authenticator", "check"),
        ("evanesce_authenticator", "__aenter__"),
        ("evanesce_authenticator", "__aexit__"),
        ("evanesce_transport", "serve"),
    ],
)
def test_a_method_that_is_not_async_is_told(hook: str, method: str) -> None:
    odd = type("Odd", (Component,), {method: lambda *arguments, **named: None})
    with pytest.raises(PluginError, match=f"'odd': the result of {hook} is no .*: its {method} must be async def"):
        ask_everything(plugin(**{hook: lambda: odd("odd")}))


def test_a_repositorys_methods_are_looked_at_too() -> None:
    odd = type("Odd", (Component,), {"rooms": lambda *arguments: ([], None)})
    hooks: dict[str, Callable[..., Any]] = {
        "evanesce_authenticator": lambda: Component(),
        "evanesce_transport": lambda: Component(),
        "evanesce_repository": lambda: odd(),
    }
    with pytest.raises(PluginError, match=r"'odd': the result of evanesce_repository .*: its rooms must be async"):
        built(loaded(odd=plugin(**hooks)))


class Callee:
    async def __call__(self, *arguments: Any) -> HttpResponse:
        return HttpResponse(b"")

    async def method(self, *arguments: Any) -> HttpResponse:
        return HttpResponse(b"")


async def handle(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (handle, True),
        (Callee(), True),
        (Callee().method, True),
        (functools.partial(handle), True),
        (functools.partial(functools.partial(Callee()), 1), True),
        (lambda request: HttpResponse(b""), False),
        (functools.partial(print), False),
        (Callee, False),
        (5, False),
        (None, False),
    ],
)
def test_what_is_awaited_is_known_before_it_is_called(function: object, expected: bool) -> None:
    assert is_async_callable(function) == expected


FILE = static_file(b"a", "text/plain")


class ReservingTransport(Component):
    reserved_paths = ("/", "/ws", "/api/*")


@pytest.mark.parametrize(
    ("route", "told"),
    [
        *[
            (HttpRoute("GET", path, handle), "write an exact, absolute path")
            for path in ("page", "", "//x", "/a//b", "/a?b", "/a#b", "/a b", "/<x>", "/a/<int:x>", "/{x}", "/é", "/%41")
        ],
        (HttpRoute("GET", "/a/../b", handle), "clients resolve . and .."),
        (HttpRoute("GET", "/./b", handle), "clients resolve . and .."),
        (HttpRoute("GET", "/ws", handle), r"which a transport serves itself (/ws)"),
        (HttpRoute("GET", "/api/v1/me", handle), r"which a transport serves itself (/api/*)"),
        (HttpRoute("GET", "/api/x", handle), r"which a transport serves itself (/api/*)"),
        (HttpRoute("TRACE", "/a", handle), "whose method is none of"),
        (HttpRoute(cast(Any, None), "/a", handle), "whose method is none of"),
        (HttpRoute("GET", cast(Any, None), handle), "write an exact, absolute path"),
        (HttpRoute("GET", "/a", cast(Any, lambda request: None)), "whose handle must be async def"),
        (HttpRoute("GET", "/a", cast(Any, None)), "whose handle must be async def"),
        (HttpRoute("POST", "/a", handle, FILE), "whose file must be a StaticFile for GET"),
        (HttpRoute("GET", "/a", handle, cast(Any, b"")), "whose file must be a StaticFile for GET"),
        (HttpRoute("GET", "/a", handle, replace(FILE, headers={"X": "a\nb"})), "an invalid name or value"),
        (HttpRoute("GET", "/a", handle, replace(FILE, etag=cast(Any, None))), "whose file cannot be served"),
        (HttpRoute("GET", "/a", handle, replace(FILE, forms={})), "whose file cannot be served"),
        (HttpRoute("GET", "/a", handle, replace(FILE, forms={"identity": cast(Any, "a")})), "must be bytes"),
    ],
)
def test_a_route_that_cannot_be_served_is_told(route: HttpRoute, told: str) -> None:
    reserving = plugin(evanesce_transport=lambda: ReservingTransport())
    with pytest.raises(PluginError, match="plugin 'odd': has ") as caught:
        built(loaded(main=full(), reserving=reserving, odd=plugin(evanesce_http_routes=lambda: [route])))
    assert told in str(caught.value)


def test_a_route_beside_what_is_reserved_is_served() -> None:
    paths = ["/wss", "/apis", "/a/", "/a.b/c-d_e~f"]
    routes = plugin(evanesce_http_routes=lambda: [HttpRoute("get", path, handle) for path in paths])
    components = built(
        loaded(main=full(), reserving=plugin(evanesce_transport=lambda: ReservingTransport()), routes=routes)
    )
    assert [(route.method, route.path) for route in components.routes] == [("GET", path) for path in paths]


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        *[({"provider": name}, "provider is no name") for name in ("", "a:b", "a b", "x" * 65, "a\n", 5, None)],
        *[({"timeout": seconds}, "timeout is not above 0") for seconds in (0, -1, 61, float("nan"), "5", True, None)],
        ({"loopback_only": "yes"}, "loopback_only is neither True nor False"),
    ],
)
def test_an_authenticators_properties_are_checked(attributes: dict[str, object], told: str) -> None:
    odd = Component()
    for name, value in attributes.items():
        setattr(odd, name, value)
    with pytest.raises(PluginError, match="plugin 'odd'") as caught:
        ask_everything(plugin(evanesce_authenticator=lambda: odd))
    assert told in str(caught.value)


@pytest.mark.parametrize("attribute", ["binds", "reserved_paths"])
@pytest.mark.parametrize("value", ["127.0.0.1:80", [5], 5, None])
def test_a_transports_properties_are_checked(attribute: str, value: object) -> None:
    odd = type("Odd", (Component,), {attribute: value})
    with pytest.raises(PluginError, match=f"plugin 'odd': its transport's {attribute} is no sequence of str"):
        ask_everything(plugin(evanesce_transport=lambda: odd()))


@pytest.mark.parametrize(("name", "help_text"), [("", "h"), ("A b", "h"), ("-x", "h"), (5, "h"), ("ok", None)])
def test_a_commands_name_is_checked(name: Any, help_text: Any) -> None:
    command = CliCommand(name, help_text, lambda parser: None, lambda options: 0)
    with pytest.raises(PluginError, match="plugin 'odd': a command's name"):
        ask_everything(plugin(evanesce_cli_commands=lambda: [command]))
