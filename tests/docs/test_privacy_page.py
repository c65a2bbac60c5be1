"""The page about keeping less: its settings exist, its defaults are true, and its configuration is accepted."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path

import pytest

from evanesce.config import load
from evanesce.config.model import Config
from evanesce.plugins import Plugins, discovery

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to/keep-less-about-people.md").read_text("utf-8")
[CONFIGURATION] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMED = sorted(set(re.findall(r"`((?:server|retention|messages|logs|traces)\.\w+)", PAGE)))


def read(folder: Path, text: str) -> Config:
    (folder / "config.toml").write_text(text)
    source = load.read(folder / "config.toml", environ={}, default_plugins=discovery.defaults())
    return source.config(Plugins.load(source.enabled).settings())


@pytest.mark.parametrize("name", NAMED)
def test_a_setting_exists(tmp_path: Path, name: str) -> None:
    attrgetter(name)(read(tmp_path, ""))


def test_the_defaults_are_true(tmp_path: Path) -> None:
    config = read(tmp_path, "")
    assert config.server.session_log
    retention = config.retention
    assert (retention.session_log_days, retention.closed_room_days, retention.guest_days) == (90, 7, 1)
    assert (config.messages.encrypt_at_rest, config.logs.addresses, config.traces.url) == (False, "full", None)
    assert "webhooks" not in discovery.defaults()


def test_the_configuration_keeps_less(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIGURATION)
    assert not config.server.session_log
    assert config.messages.encrypt_at_rest
    assert (config.retention.closed_room_days, config.retention.guest_days) == (1, 0.1)
    assert config.logs.addresses == "none"
