"""Read the configuration from the file, the environment and `--set`, in this order, and check it against the models.

It is read in two steps, because the models of the plugins' tables are known only when the plugins are loaded: `read`
returns a `Source`, which names the enabled plugins, and `Source.config` returns the whole configuration.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta, inspect

from evanesce.config import kinds, rules, sources
from evanesce.config.convert import convert
from evanesce.config.model import (
    AdminTable,
    Config,
    LimitsTable,
    LogsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
    Table,
    TracesTable,
)
from evanesce.config.sources import Override, References
from evanesce.errors import ConfigurationError
from evanesce.interfaces import Settings

FILE = Path("config.toml")
"""The file in the working folder that is read where no other file is named."""

DEFAULT = "default"
"""The origin of a value that is set nowhere."""

_TABLES = ("server", "redis", "messages", "rooms", "limits", "retention", "admin", "logs", "traces")

M = TypeVar("M", bound=msgspec.Struct)


class _PluginsTable(Table, kw_only=True, frozen=True):
    """The table `[plugins]` without the tables of the plugins in it."""

    enabled: tuple[Annotated[str, Meta(min_length=1)], ...]


class _NoSettings(Table, kw_only=True, frozen=True):
    """The table of a plugin without settings."""


def read(
    file: Path | None = None,
    options: Sequence[str] = (),
    *,
    environ: Mapping[str, str] = os.environ,
    default_plugins: Sequence[str],
) -> Source:
    """Read `file` (None: `config.toml` in the working folder, if it exists) and the overrides.

    `options` are the values of `--set`. `default_plugins` are enabled where `plugins.enabled` is not set. Everything
    except the tables of the plugins is checked. Raises `ConfigurationError`.
    """
    if file is None and FILE.exists():
        file = FILE
    tree = {} if file is None else _parse(file)
    return from_tree(tree, options, environ=environ, default_plugins=default_plugins, file=file)


def from_tree(
    tree: Mapping[str, Any],
    options: Sequence[str] = (),
    *,
    environ: Mapping[str, str],
    default_plugins: Sequence[str],
    file: Path | None = None,
) -> Source:
    """Return the configuration of which `tree` is what `file` contains. The rest is as for `read`."""
    raw = _Raw(
        tree=tree,
        overrides=(*sources.from_environment(environ), *sources.from_options(options)),
        references=References(environ),
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
        admin=raw.section(AdminTable, "admin"),
        logs=raw.section(LogsTable, "logs"),
        traces=raw.section(TracesTable, "traces"),
    )
    rules.check(own)
    return Source(file, raw.enabled(default_plugins), own, raw)


def _parse(file: Path) -> dict[str, Any]:
    try:
        # with a line end at the end: otherwise an error in the last line has no line number
        return tomllib.loads(file.read_text("utf-8-sig") + "\n")
    except OSError as error:
        raise ConfigurationError(
            str(file), f"cannot be read ({error.strerror})", "Name the file with --config"
        ) from error
    except UnicodeDecodeError:
        raise ConfigurationError(str(file), "is not UTF-8 text", "Write it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(file), f"is not TOML: {error}", "Correct it there; texts need quotes") from None
    except (ValueError, RecursionError):  # a number of more than 4,300 digits, or lists nested too deep
        raise ConfigurationError(
            str(file), "is not TOML: a number is too long, or nesting too deep", "Correct it"
        ) from None


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """The configuration before the plugins are loaded.

    `file` is None if there is none. `enabled` are the names of the enabled plugins, in order.
    """

    file: Path | None
    enabled: tuple[str, ...]
    _own: Config
    _raw: _Raw

    @property
    def plugin_tables(self) -> tuple[str, ...]:
        """The names of all plugins that have a table, enabled or not, in the order of the file."""
        return self._raw.plugin_tables()

    def origin(self, path: Sequence[str]) -> tuple[str, bool]:
        """Return where the value at `path` comes from, and whether it is read from a variable or a file named there."""
        file = "the file" if self.file is None else f"the file {self.file}"
        return self._raw.origin(tuple(path), file)

    def with_plugins(self, enabled: Sequence[str]) -> Source:
        """Return a copy with other plugins enabled."""
        return replace(self, enabled=tuple(enabled))

    def config(self, models: Mapping[str, Settings | None]) -> Config:
        """Return the whole configuration. `models` has the model of each enabled plugin (None: it has no settings)."""
        settings: dict[str, Any] = {}
        for name in self.enabled:
            model = models[name]
            instance = self._raw.section(model or _NoSettings, "plugins", name)
            settings[name] = None if model is None else instance
        return msgspec.structs.replace(self._own, plugins=settings)


@dataclass(frozen=True, slots=True, repr=False)
class _Raw:
    """The tables of the file, the overrides, and the resolver of references."""

    tree: Mapping[str, Any]
    overrides: Sequence[Override]
    references: References

    def check_tables(self) -> None:
        """Refuse unknown tables. Plugins that are not enabled may have any settings."""
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
        """Return the names of the enabled plugins."""
        table = {"enabled": self._table("plugins").get("enabled", list(default))}
        chosen = [override for override in self.overrides if override.path[:2] == ("plugins", "enabled")]
        enabled = self._converted(table, _PluginsTable, ("plugins",), chosen).enabled
        for name in enabled:
            if enabled.count(name) > 1:
                raise ConfigurationError("plugins.enabled", f"names {name!r} twice", "Name each plugin once")
        return enabled

    def plugin_tables(self) -> tuple[str, ...]:
        """Return the names of the tables under `[plugins]`."""
        overridden = (override.path[1] for override in self.overrides if override.path[0] == "plugins")
        names = dict.fromkeys((*self._table("plugins"), *overridden))
        return tuple(name for name in names if name != "enabled")

    def origin(self, path: tuple[str, ...], file: str) -> tuple[str, bool]:
        """Return where the value at `path` comes from: an override, `file`, or the default. See `Source.origin`."""
        for override in reversed(self.overrides):
            shared = min(len(path), len(override.path))
            if override.path[:shared] == path[:shared]:
                return override.origin, False
        value: object = self.tree
        for name in path:
            table = cast("Mapping[str, object]", value)
            if not isinstance(value, Mapping) or name not in table:
                return DEFAULT, False
            value = table[name]
        reference = sources.described_reference(value)
        return (file, False) if reference is None else (f"{file}: {reference}", True)

    def section(self, model: type[M], *path: str) -> M:
        """Return the table at `path` as an instance of `model`."""
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
    """Return `value`, which is `depth` keys below the file, with the override applied."""
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
