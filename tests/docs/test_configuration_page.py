"""docs/configuration.md says what the models say: every table, key, range and default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from evanesce.config import kinds, load
from evanesce.config.model import Config
from evanesce.plugins import Plugins, installed

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")


def documented() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Read the page's tables: value, default and meaning by key, by table."""
    tables: dict[str, dict[str, tuple[str, str, str]]] = {}
    for name, section in re.findall(r"^## `\[(.+?)\]`$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL):
        rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
        tables[name] = {key: (value, default, meaning) for key, value, default, meaning in rows}
        assert len(tables[name]) == len(rows), f"a key of {name} is there twice"
    return tables


def models() -> dict[str, type[msgspec.Struct]]:
    """Give the model of every table."""
    tables = {
        field.name: field.type
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }
    for name, model in Plugins.load(installed.names()).settings().items():
        if model is not None:
            tables[f"plugins.{name}"] = model
    return tables


def number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def value_of(kind: inspect.Type) -> str:
    """Say what a setting may be, in the page's words."""
    plain = kinds.plain(kind)
    if isinstance(plain, inspect.CollectionType):
        return f"list: {value_of(plain.item_type)}"
    if isinstance(plain, inspect.BoolType):
        return "true or false"
    if isinstance(plain, inspect.IntType | inspect.FloatType):
        text = "whole number" if isinstance(plain, inspect.IntType) else "number"
        if plain.gt is not None:
            text += f", above {number(plain.gt)}" + ("" if plain.le is None else f", up to {number(plain.le)}")
        elif plain.ge is not None:
            text += f", {number(plain.ge)} " + ("or more" if plain.le is None else f"to {number(plain.le)}")
        return text
    if isinstance(plain, inspect.LiteralType):
        return " or ".join(map(str, plain.values))
    assert isinstance(plain, inspect.StrType)
    if plain.min_length is not None:
        return f"text of {plain.min_length} or more characters"
    return kinds.description(kind) or "text"


def default_of(field: inspect.Field) -> str:
    """Say what a default is, in the page's words."""
    if field.required:
        return "must be set"
    default = field.default
    if default is None:
        return "none"
    if isinstance(default, float):
        return f"`{number(default)}`"
    return f"`{msgspec.json.encode(default).decode()}`"


def test_every_table_is_there() -> None:
    assert documented().keys() == models().keys() | {"plugins"}


@pytest.mark.parametrize("table", models())
def test_a_table_is_as_its_model_says(table: str) -> None:
    kind = inspect.type_info(models()[table])
    assert isinstance(kind, inspect.StructType)
    rows = documented()[table]
    assert list(rows) == [field.encode_name for field in kind.fields]
    for field in kind.fields:
        value, default, meaning = rows[field.encode_name]
        assert value == value_of(field.type), field.name
        assert default == default_of(field), field.name
        assert meaning.endswith("."), field.name


def test_the_enabled_plugins_are_the_defaults() -> None:
    _, default, _ = documented()["plugins"]["enabled"]
    assert sorted(msgspec.json.decode(default.strip("`"))) == sorted(installed.defaults())


def test_the_examples_are_lawful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = dict(re.findall(r"`(EVANESCE__[A-Z_]+__[A-Z_]+)=([^`]+)`", TEXT))
    assert len(environ) == 2
    options = re.findall(r"--set ([a-z_.]+=[^ '`]+|'[^']+')", TEXT)
    options = [option.strip("'") for option in options if not option.startswith("table.")]
    assert len(options) == 2
    plugins = Plugins.load(installed.defaults())
    source = load.read(options=options, environ=environ, default_plugins=installed.defaults())
    assert source.config(plugins.settings()).messages.ttl == 30
