"""Where values come from beside `config.toml`: the environment, `--set`, and references to variables and files.

A reference is a table `{ env = "NAME" }` or `{ file = "path" }` in place of a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from msgspec import inspect

from evanesce.config import kinds
from evanesce.errors import ConfigurationError

_PREFIX = "EVANESCE__"


@dataclass(frozen=True, slots=True)
class Override:
    """The path of a setting, the text to read its value from, which may be secret, and the origin, for errors."""

    path: tuple[str, ...]
    text: str = field(repr=False)
    origin: str


def from_environment(environ: Mapping[str, str]) -> list[Override]:
    """Return the overrides in the environment variables `EVANESCE__TABLE__KEY`. A table comes before its keys."""
    overrides: list[Override] = []
    for name in sorted(environ):
        if name.startswith(_PREFIX):
            path = tuple(name.removeprefix(_PREFIX).lower().split("__"))
            if len(path) < 2 or not all(path):
                raise ConfigurationError(
                    name, "does not name a setting", "Write EVANESCE__TABLE__KEY, such as EVANESCE__MESSAGES__TTL"
                )
            overrides.append(Override(path, environ[name], f"the environment variable {name}"))
    return overrides


def from_options(options: Sequence[str]) -> list[Override]:
    """Return the overrides of the options `--set table.key=value`, in order.

    An option of another form is not shown in the error, because it may be secret.
    """
    overrides: list[Override] = []
    for option in options:
        name, equals, text = option.partition("=")
        path = tuple(part.strip() for part in name.split("."))
        if not equals or len(path) < 2 or not all(path):
            raise ConfigurationError(
                "--set", "is not followed by table.key=value", "Write for example --set messages.ttl=30"
            )
        overrides.append(Override(path, text, f"--set {'.'.join(path)}"))
    return overrides


@dataclass(frozen=True, slots=True)
class References:
    """Resolve references, with the variables of `environ`. Relative paths of files start from the working folder."""

    environ: Mapping[str, str]

    def resolve(self, value: Any, kind: inspect.Type, path: str) -> Any:
        """Return the `value` of the setting at `path` with its references resolved.

        A table is a reference only where the type `kind` is not a table. Raises `ConfigurationError`, also for unknown
        keys.
        """
        plain = kinds.plain(kind)
        if isinstance(value, dict):
            table = cast(dict[str, Any], value)
            if not isinstance(plain, inspect.StructType | inspect.DictType) and _is_reference(table):
                text, origin = self._read(table, path)
                return kinds.value(text, plain, path, origin)
            return {
                key: self.resolve(one, kinds.member(plain, key, path), f"{path}.{key}") for key, one in table.items()
            }
        if isinstance(value, list):
            items = cast(Sequence[Any], value)
            return [self.resolve(one, kinds.item(plain, i), f"{path}[{i}]") for i, one in enumerate(items)]
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(path, "is not a finite number", "Write a number")
        return value

    def _read(self, reference: Mapping[str, Any], path: str) -> tuple[str, str]:
        """Return the text that a reference leads to, and its origin, for errors."""
        [(source, name)] = reference.items()
        if not isinstance(name, str) or not name or "\0" in name:
            raise ConfigurationError(
                path, f"{source} is not followed by a name", f'Write {{ {source} = "…" }} with the name in quotes'
            )
        if source == "env":
            if name not in self.environ:
                raise ConfigurationError(
                    path, f"the environment variable {name} is not set", "Set it, or write the value here"
                )
            return self.environ[name], f"the environment variable {name}"
        file = Path(name)
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            raise ConfigurationError(
                path,
                f"the file {file} cannot be read ({error.strerror})",
                "Name a file that the server may read; a relative path starts from the working folder",
            ) from error
        except UnicodeDecodeError:
            # from None: the exception holds the bytes of the file, which may be secret
            raise ConfigurationError(path, f"the file {file} is not UTF-8 text", "Write it as UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r"), f"the file {file}"


def described_reference(value: object) -> str | None:
    """Return what a reference in the configuration file, or in a list there, leads to; None where there is none."""
    if isinstance(value, list):
        return next(filter(None, map(described_reference, cast("list[object]", value))), None)
    if not isinstance(value, dict) or not _is_reference(table := cast("dict[str, object]", value)):
        return None
    [(source, name)] = table.items()
    return f"the environment variable {name}" if source == "env" else f"the content of {name}"


def _is_reference(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and bool(value.keys() & {"env", "file"})
