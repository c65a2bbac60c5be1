"""What a plugin is built from, and the commands that it adds."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Setup:
    """What a plugin is built from.

    `name` is its entry point's; `settings` an instance of its own model (None where it declares none); `folder` what
    relative paths start from; `public_url` what deep links begin with, without a slash at its end.
    `frame_bytes` and `outbox_bytes` are the limits of the configuration, in bytes. `shared_port`: several processes of
    this server listen on the same ports, by SO_REUSEPORT.
    """

    name: str
    settings: Any = field(repr=False)  # holds secrets
    folder: Path
    public_url: str
    origins: Sequence[str]
    frame_bytes: int
    outbox_bytes: int
    shared_port: bool = False


@dataclass(frozen=True, slots=True)
class CliCommand:
    """A subcommand that a plugin adds to `evanesce`; `run` gives the exit code."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


Settings = type[msgspec.Struct]
"""A plugin's model of its table in the configuration."""
