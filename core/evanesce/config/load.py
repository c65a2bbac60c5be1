"""Reads the configuration: the file, then the environment, then `--set`; checked against the models.

It is read in two steps, because the models of the plugins' tables are known only once the plugins are loaded:
`read` says which plugins are enabled, and `Source.config` gives the whole.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta, inspect

from evanesce.config import kinds, overrides, rules
from evanesce.config.convert import convert
from evanesce.config.model import (
    Config,
    LimitsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
    Table,
)
from evanesce.config.overrides import Override
from evanesce.config.references import References
from evanesce.errors import ConfigurationError
from evanesce.interfaces import Settings

FILE = Path("config.toml")
"""What is read from the working folder where no file is named."""

_TABLES = ("server", "redis", "messages", "rooms", "limits", "retention")

M = TypeVar("M", bound=msgspec.Struct)


class _PluginsTable(Table, kw_only=True, frozen=True):
    """`[plugins]` itself, without the plugins' own tables in it."""

    enabled: tuple[Annotated[str, Meta(min_length=1)], ...]


class _NoSettings(Table, kw_only=True, frozen=True):
    """The table of a plugin that takes no settings."""


def read(
    file: Path | None = None,
    options: Sequence[str] = (),
    *,
    environ: Mapping[str, str] = os.environ,
    default_plugins: Sequence[str],
) -> Source:
    """Read `file` (None: `config.toml` in the working folder, if it is there) and what overrides it.

    `options` are those of `--set`. `default_plugins` are enabled where nothing says otherwise. All but the plugins'
    own tables is checked. Raises `ConfigurationError`.
    """
    if file is None and FILE.exists():
        file = FILE
    raw = _Raw(
        tree={} if file is None else _parse(file),
        overrides=(*overrides.from_environment(environ), *overrides.from_options(options)),
        references=References(environ, Path() if file is None else file.parent),
    )
    raw.check_tables()
    own = Config(
        plugins={},
        server=raw.section(ServerTable, "server"),
        redis=raw.section(RedisTable, "redis"),
        messages=raw.section(MessagesTable, "messages"),
        rooms=raw.section(RoomsTable, "rooms"),
        limits=raw.section(LimitsTable, "limits"),
        retention=raw.section(RetentionTable, "retention"),
    )
    rules.check(own)
    return Source(file, raw.enabled(default_plugins), own, raw)


def _parse(file: Path) -> dict[str, Any]:
    try:
        # with a line end at its end: else an error in the last line has no line number
        return tomllib.loads(file.read_text("utf-8-sig") + "\n")
    except OSError as error:
        raise ConfigurationError(
            str(file), f"cannot be read ({error.strerror})", "Give the file's name with --config"
        ) from error
    except UnicodeDecodeError:
        raise ConfigurationError(str(file), "is not UTF-8 text", "Write it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(file), f"is not TOML: {error}", "Correct it there; texts need quotes") from None
    except (ValueError, RecursionError):  # a number of more than 4,300 digits; lists in lists in lists
        raise ConfigurationError(str(file), "is not TOML: too long or too deep", "Correct it") from None


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """What was read. `file` is None where there is none; `enabled` are the names of the enabled plugins, in order."""

    file: Path | None
    enabled: tuple[str, ...]
    _own: Config
    _raw: _Raw

    def config(self, models: Mapping[str, Settings | None]) -> Config:
        """Give the whole; `models` has each enabled plugin's own (None: it takes no settings)."""
        settings: dict[str, Any] = {}
        for name in self.enabled:
            model = models[name]
            instance = self._raw.section(model or _NoSettings, "plugins", name)
            settings[name] = None if model is None else instance
        return msgspec.structs.replace(self._own, plugins=settings)


@dataclass(frozen=True, slots=True, repr=False)
class _Raw:
    """The file's tables, and what overrides them. `references` leads to what stands elsewhere."""

    tree: Mapping[str, Any]
    overrides: Sequence[Override]
    references: References

    def check_tables(self) -> None:
        """Refuse tables that nobody knows. Settings of plugins that are not enabled are lawful, whatever they are."""
        known = ("plugins", *_TABLES)
        for name in (*self.tree, *(override.path[0] for override in self.overrides)):
            if name not in known:
                raise kinds.unknown("", name, known)
        for name, value in self._table("plugins").items():
            if name != "enabled" and not isinstance(value, dict):
                raise kinds.unknown("plugins", name, ["enabled"])
        for override in self.overrides:
            if override.path[0] == "plugins" and len(override.path) == 2 and override.path[1] != "enabled":
                table = kinds.value(override.text, kinds.ANY, ".".join(override.path), override.origin)
                if not isinstance(table, dict):
                    raise kinds.unknown("plugins", override.path[1], ["enabled"])

    def enabled(self, default: Sequence[str]) -> tuple[str, ...]:
        """Give the names of the enabled plugins."""
        table = {"enabled": self._table("plugins").get("enabled", list(default))}
        chosen = [override for override in self.overrides if override.path[:2] == ("plugins", "enabled")]
        enabled = self._converted(table, _PluginsTable, ("plugins",), chosen).enabled
        for name in enabled:
            if enabled.count(name) > 1:
                raise ConfigurationError("plugins.enabled", f"names {name!r} twice", "Name each plugin once")
        return enabled

    def section(self, model: type[M], *path: str) -> M:
        """Give the table at `path` as an instance of `model`."""
        table = self._table(*path)
        chosen = [override for override in self.overrides if override.path[: len(path)] == path]
        return self._converted(table, model, path, chosen)

    def _table(self, *path: str) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self.tree
        for depth, name in enumerate(path, 1):
            table = _as_table(table.get(name, {}), ".".join(path[:depth]))
        return table

    def _converted(
        self, table: Mapping[str, Any], model: type[M], path: tuple[str, ...], chosen: Sequence[Override]
    ) -> M:
        kind = inspect.type_info(model)
        dotted = ".".join(path)
        value: Any = table
        for override in chosen:
            value = _placed(value, override, len(path), kind)
        try:
            return convert(self.references.resolve(value, kind, dotted), model, dotted)
        except ConfigurationError as error:
            for override in reversed(chosen):
                given = ".".join(override.path)
                if error.path == given or error.path.startswith((f"{given}.", f"{given}[")):
                    hint = f"{error.hint.rstrip('.')}. The value comes from {override.origin}"
                    raise ConfigurationError(error.path, error.problem, hint) from None
            raise


def _placed(value: Any, override: Override, depth: int, kind: inspect.Type) -> Any:
    """Give `value`, which stands `depth` keys deep, with the override in it."""
    path = ".".join(override.path[:depth])
    if depth == len(override.path):
        return kinds.value(override.text, kind, path, override.origin)
    key = override.path[depth]
    table = dict(_as_table({} if value is None else value, path))
    table[key] = _placed(table.get(key), override, depth + 1, kinds.member(kind, key, path))
    return table


def _as_table(value: Any, path: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return cast(dict[str, Any], value)
    raise ConfigurationError(path, "expected a table", f"Write [{path}] and its keys under it")
