"""`evanesce config`: write the sample configuration, and show every value with its origin."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib import resources
from pathlib import Path
from typing import cast

from evanesce import logs
from evanesce.config import origins
from evanesce.config.load import FILE, Source
from evanesce.errors import ConfigurationError
from evanesce.plugins import Plugins

_SAMPLE = "sample.toml"
"""The configuration of the distribution: the file `config.toml` at the top of the source code."""

_VALUE_WIDTH = 28

Configured = Callable[[], argparse.ArgumentParser]


def arguments(
    command: argparse.ArgumentParser, configured: Configured, read: Callable[[argparse.Namespace], Source]
) -> None:
    """Add the actions of `evanesce config`. `read` reads the configuration that the options name."""
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    action = actions.add_parser("init", help="write a sample configuration, which runs as it is")
    action.add_argument("file", nargs="?", type=Path, default=FILE, metavar="FILE", help=f"the file (default: {FILE})")
    action.set_defaults(_run=_write)
    action = actions.add_parser("show", parents=[configured()], help="show every value and where it comes from")
    action.add_argument("--json", action="store_true", help="print a JSON object instead of a table")
    action.set_defaults(_run=partial(_show, read))


def _write(options: argparse.Namespace) -> int:
    return write_sample(options.file)


def write_sample(file: Path) -> int:
    """Write the sample configuration to a new file, and return the exit code. Raises `ConfigurationError`."""
    text = resources.files("evanesce.config").joinpath(_SAMPLE).read_text("utf-8")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise ConfigurationError(str(file), "exists already", "Name another file, or remove this one") from None
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be written ({error.strerror})", "Name another file") from None
    print(logs.escaped(f"wrote {file}: evanesce serve --config {file}"))
    return 0


def _show(read: Callable[[argparse.Namespace], Source], options: argparse.Namespace) -> int:
    source = read(options)
    plugins = Plugins.load(source.enabled)
    models = plugins.settings()
    found = list(origins.values(source, source.config(models), [(name, models[name]) for name in source.enabled]))
    if options.json:
        file = None if source.file is None else str(source.file)
        print(json.dumps({"file": file, "settings": [asdict(value) for value in found]}))
        return 0
    widest = max(len(one.key) for one in found)
    for one in found:
        print(logs.escaped(f"{one.key:<{widest}}  {_as_toml(one.value):<{_VALUE_WIDTH}}  {one.origin}"))
    return 0


def _as_toml(value: object) -> str:
    """Return a value as a configuration file has it."""
    if value is None or value == origins.HIDDEN:
        return origins.HIDDEN if value else "(not set)"
    if isinstance(value, list):
        return f"[{', '.join(map(_as_toml, cast('list[object]', value)))}]"
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return "{" + ", ".join(f"{json.dumps(key)} = {_as_toml(one)}" for key, one in members) + "}"
    return json.dumps(value, ensure_ascii=False)
