"""Writing the distribution of a new plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from string import Template

from evanesce.errors import ConfigurationError
from evanesce.hookspecs import API
from evanesce.scaffold.kinds import KINDS, Kind
from evanesce.scaffold.names import PluginName

_TEMPLATES = resources.files("evanesce") / "scaffold" / "templates"

_COMMON = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "ci.yml": ".github/workflows/ci.yml",
    "gitignore": ".gitignore",
    "plugin.py": "src/{module}/__init__.py",
    "settings.py": "src/{module}/settings.py",
    "conftest.py": "tests/conftest.py",
}
"""The templates of every distribution, and where each file goes."""

_PARTS = ("readme", "settings", "config")
"""The parts of common files to which each kind adds."""

_ENABLED = ("guest", "sqlite", "quart")
"""The plugins beside which the examples run: those that are enabled by default."""


def write_distribution(name: PluginName, kinds: Sequence[str], folder: Path) -> str:
    """Write the distribution of a plugin with these `KINDS` into a folder, and return the command that serves with it.

    Raises `ConfigurationError` where the folder is not empty, or cannot be written.
    """
    chosen = {kind: KINDS[kind] for kind in KINDS if kind in kinds}
    values = _values(name, chosen)
    texts = {target.format(module=name.module): _filled("common", file, values) for file, target in _COMMON.items()}
    texts[f"src/{name.module}/py.typed"] = ""
    for kind, its in chosen.items():
        for file in (f"{its.module}.py", *its.data):
            texts[f"src/{name.module}/{file}"] = _filled(kind, file, values)
        texts[f"tests/test_{its.module}.py"] = _filled(kind, f"test_{its.module}.py", values)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(str(folder), "there is something here already", "Name another folder with --into.")
        for file, text in texts.items():
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
    except OSError as error:
        problem = f"the plugin cannot be written ({error.strerror or error})"
        raise ConfigurationError(str(folder), problem, "Name another folder with --into.") from None
    return f"evanesce serve --set '{values['enabled']}'{values['options']}"


def _values(name: PluginName, chosen: Mapping[str, Kind]) -> dict[str, str]:
    """Return what the templates contain in place of their names."""
    installed = version("evanesce")
    replaced = {kind.replaces for kind in chosen.values()}
    enabled = [*(plugin for plugin in _ENABLED if plugin not in replaced), name.plugin]
    options = [kind.option.format(plugin=name.plugin) for kind in chosen.values() if kind.option is not None]
    imported = [(kind.module, kind.base) for kind in chosen.values()] + [("settings", "PluginSettings")]
    values = {
        "plugin": name.plugin,
        "distribution": name.distribution,
        "module": name.module,
        "scheme": name.scheme,
        "api": API,
        "oldest": installed,
        "newest": str(int(installed.partition(".")[0]) + 1),
        "enabled": "plugins.enabled=[" + ", ".join(f'"{plugin}"' for plugin in enabled) + "]",
        "options": "".join(f" --set '{option}'" for option in options),
        "plugin_imports": "\n".join(f"from {name.module}.{module} import {what}" for module, what in sorted(imported)),
        "bases": ", ".join(kind.base for kind in chosen.values()),
        "sees_content": str(any(kind.sees_content for kind in chosen.values())),
    }
    return values | _settings_values(chosen) | {part: _joined(chosen, part, values) for part in _PARTS}


def _settings_values(chosen: Mapping[str, Kind]) -> dict[str, str]:
    """Return the base of the settings, and their imports in the order of ruff."""
    listens = "transport" in chosen
    imports = ["import msgspec"] if "auth" in chosen or not listens else []
    imports += ["from evanesce.listening import ListenSettings"] if listens else []
    return {"base": "ListenSettings" if listens else "msgspec.Struct", "settings_imports": "\n".join(imports)}


def _joined(chosen: Mapping[str, Kind], part: str, values: Mapping[str, str]) -> str:
    """Return a part of a file that each kind adds to."""
    return "".join(_filled(kind, f"{part}.txt", values) for kind in chosen).rstrip("\n")


def _filled(folder: str, file: str, values: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / folder / f"{file}.template").read_text("utf-8")).substitute(values)
