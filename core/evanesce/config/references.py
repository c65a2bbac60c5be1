"""Values that stand elsewhere: `{ env = "NAME" }` and `{ file = "path" }`; unknown keys are found on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from msgspec import inspect

from evanesce.config import kinds
from evanesce.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class References:
    """Where references lead: the environment, and the folder that relative paths start from."""

    environ: Mapping[str, str]
    folder: Path

    def resolve(self, value: Any, kind: inspect.Type, path: str) -> Any:
        """Give `value`, of the setting at `path`, with what its references stand for. Tables are not references."""
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
        """Give the text that a reference stands for, and where it came from."""
        [(where, name)] = reference.items()
        if not isinstance(name, str) or not name or "\0" in name:
            raise ConfigurationError(
                path, f"{where} is not followed by a name", f'Write {{ {where} = "…" }} with the name in quotes'
            )
        if where == "env":
            if name not in self.environ:
                raise ConfigurationError(
                    path, f"the environment variable {name} is not set", "Set it, or write the value here"
                )
            return self.environ[name], f"the environment variable {name}"
        file = self.folder / name
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            raise ConfigurationError(
                path, f"the file {file} cannot be read ({error.strerror})", "Give a file that the server may read"
            ) from error
        except UnicodeDecodeError:
            # from None: the exception holds the file's bytes, which may be secret
            raise ConfigurationError(path, f"the file {file} is not UTF-8 text", "Write it as UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r"), f"the file {file}"


def _is_reference(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and bool(value.keys() & {"env", "file"})
