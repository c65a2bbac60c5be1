"""The generated parts of the reference are what the code says, and nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from docs import generate
from evanesce.config import load
from evanesce.plugins import Plugins, discovery

pytestmark = pytest.mark.slow  # one of the pages needs a server

PAGES = sorted({page for page, _, _ in generate.parts()})
PARTS = {(kind, argument) for _, kind, argument in generate.parts()}
CONFIGURATION = (generate.DOCS / "reference/configuration.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_as_the_code_says(page: Path) -> None:
    assert page.read_text("utf-8") == generate.regenerated(page), "run `python -m docs.generate`"


def test_every_table_of_the_configuration_is_there_under_its_name() -> None:
    assert {argument for kind, argument in PARTS if kind == "settings"} == generate.models().keys()
    for name in (*generate.models(), "plugins"):
        part = "enabled" if name == "plugins" else f"settings {name}"
        assert re.search(
            rf"^## `\[{re.escape(name)}\]`\n(?:(?!^## ).*\n)*<!-- generated: {part} -->$", CONFIGURATION, re.M
        )


@pytest.mark.parametrize("name", generate.models())
def test_every_key_is_described_in_whole_sentences(name: str) -> None:
    model = generate.models()[name]
    texts = generate.attributes(model)
    for field in msgspec.structs.fields(model):
        assert texts[field.name].endswith("."), field.name


@pytest.mark.parametrize("kind", sorted(generate.KINDS))
def test_every_kind_of_part_is_used(kind: str) -> None:
    assert kind in {used for used, _ in PARTS}


def test_the_enabled_plugins_are_the_defaults() -> None:
    [default] = re.findall(r"^\| `enabled` \| .*? \| `(.*?)` \|", CONFIGURATION, re.MULTILINE)
    assert sorted(msgspec.json.decode(default)) == sorted(discovery.defaults())


def test_the_examples_of_the_configuration_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = dict(re.findall(r"`(EVANESCE__[A-Z_]+__[A-Z_]+)=([^`]+)`", CONFIGURATION))
    assert len(environ) == 2
    options = re.findall(r"--set ([a-z_.]+=[^ '`]+|'[^']+')", CONFIGURATION)
    options = [option.strip("'") for option in options if not option.startswith("table.")]
    assert len(options) == 2
    plugins = Plugins.load(discovery.defaults())
    source = load.read(options=options, environ=environ, default_plugins=discovery.defaults())
    assert source.config(plugins.settings()).messages.ttl == 30
