"""The command `evanesce new-plugin`: write the distribution of a new plugin."""

from __future__ import annotations

import argparse
import shlex
from importlib.util import find_spec
from pathlib import Path

from evanesce.errors import ConfigurationError
from evanesce.plugins import discovery
from evanesce.scaffold import KINDS, PluginName, parse_name, write_distribution


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="the name of the plugin, such as slow-mode")
    parser.add_argument(
        "--kind",
        action="append",
        required=True,
        choices=list(KINDS),
        help="what the plugin has an example of; may be repeated",
    )
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", help="the folder to write, new or empty (default: ./evanesce-NAME)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the distribution, and print what to do next. Raises `ConfigurationError` if an argument is wrong."""
    name = parse_name(options.name)
    _refuse_taken(name)
    folder: Path = options.into or Path(name.distribution)
    serve = write_distribution(name, options.kind, folder)
    print(f"{folder} has the plugin {name.plugin}. Next:")
    print(f"    cd {shlex.quote(str(folder))}")
    print("    pip install -e '.[test]'")
    print("    pytest")
    print(f"    {serve}")
    return 0


def _refuse_taken(name: PluginName) -> None:
    """Raise `ConfigurationError` for the name of an installed plugin, or of a package that can be imported."""
    for other in discovery.names():
        if other.replace("-", "_").lower() == name.plugin:
            owner = discovery.origin(discovery.find(other))
            raise ConfigurationError("NAME", f"{owner} has a plugin {other}", "Choose another name.")
    if find_spec(name.module) is not None:
        raise ConfigurationError("NAME", f"there is a package {name.module} already", "Choose another name.")
