"""The settings of the interface for operators: off by default, and never without a token that cannot be guessed."""

from __future__ import annotations

import pytest

from evanesce.config import load
from evanesce.config.model import Config
from evanesce.config.public import admin_bind, admin_binds
from evanesce.errors import ConfigurationError

TOKEN = "t" * 32


def read(*settings: str) -> Config:
    source = load.read(None, ["plugins.enabled=[]", *settings], environ={}, default_plugins=())
    return source.config({})


@pytest.mark.parametrize(
    ("settings", "bind", "ports"),
    [
        ((), None, []),
        ((f"admin.token={TOKEN}",), "127.0.0.1:8002", [("admin.bind", "127.0.0.1:8002")]),
        ((f"admin.token={TOKEN}", "admin.bind=[::1]:9"), "[::1]:9", [("admin.bind", "[::1]:9")]),
        ((f"admin.token={TOKEN}", "admin.bind=unix:a/b.sock"), "unix:a/b.sock", [("admin.bind", "unix:a/b.sock")]),
    ],
)
def test_it_is_off_without_a_token(settings: tuple[str, ...], bind: str | None, ports: list[tuple[str, str]]) -> None:
    config = read(*settings)
    assert admin_bind(config) == bind
    assert admin_binds(config) == ports


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (("admin.bind=127.0.0.1:8002",), "admin.token"),
        (("admin.bind=unix:admin.sock",), "admin.token"),
        (("admin.token=short",), "admin.token"),
        (("admin.token=" + "two words " * 9,), "admin.token"),
        ((f"admin.token={TOKEN}", "admin.bind=8002"), "admin.bind"),
        ((f"admin.token={TOKEN}", "admin.bind=127.0.0.1:99999"), "admin.bind"),
        ((f"admin.token={TOKEN}", "admin.bind=::1:8002"), "admin.bind"),
        ((f"admin.token={TOKEN}", "admin.bind=unix:"), "admin.bind"),
        ((f"admin.token={TOKEN}", "admin.bind=unix:" + "x" * 91), "admin.bind"),
    ],
)
def test_what_is_not_safe_is_refused(settings: tuple[str, ...], key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(*settings)
    assert refused.value.path == key
    assert TOKEN not in str(refused.value)
