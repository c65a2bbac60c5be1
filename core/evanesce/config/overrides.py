"""What overrides `config.toml`: environment variables `EVANESCE__TABLE__KEY`, and `--set table.key=value`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evanesce.errors import ConfigurationError

_PREFIX = "EVANESCE__"


@dataclass(frozen=True, slots=True)
class Override:
    """A setting's path, the text given for it (which may be secret), and who gave it, in words for an error."""

    path: tuple[str, ...]
    text: str = field(repr=False)
    origin: str


def from_environment(environ: Mapping[str, str]) -> list[Override]:
    """Give the overrides of the environment; a table comes before its keys."""
    overrides: list[Override] = []
    for name in sorted(environ):
        if name.startswith(_PREFIX):
            path = tuple(name.removeprefix(_PREFIX).lower().split("__"))
            if len(path) < 2 or not all(path):
                raise ConfigurationError(
                    name, "names no setting", "Write EVANESCE__TABLE__KEY, such as EVANESCE__MESSAGES__TTL"
                )
            overrides.append(Override(path, environ[name], f"the environment variable {name}"))
    return overrides


def from_options(options: Sequence[str]) -> list[Override]:
    """Give the overrides of `--set`, in order. What is not of the right form is not shown: it may be secret."""
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
