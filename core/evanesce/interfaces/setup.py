"""What a plugin receives when the server is built, and what it adds to the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from evanesce.interfaces.handover import Handover


@dataclass(frozen=True, slots=True)
class Setup:
    """What a plugin receives when the server is built.

    `name` is the name of its entry point; `settings` is an instance of its own model (None where it declares none).
    Relative paths start from `folder`. Deep links begin with `public_url`, which has no slash at its end.
    `frame_bytes` and `outbox_bytes` are the limits of the configuration, in bytes. With `shared_port`, several
    processes of this server listen on the same ports, by SO_REUSEPORT; `handover` passes connections between them,
    where the system can do that. `sockets` are the descriptors of the Unix sockets on which they all listen, by the
    address in `binds`.
    """

    name: str
    settings: Any = field(repr=False)  # holds secrets
    folder: Path
    public_url: str
    origins: Sequence[str]
    frame_bytes: int
    outbox_bytes: int
    shared_port: bool = False
    handover: Handover | None = field(default=None, repr=False)
    sockets: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with a plugin's settings that a deployer should correct.

    `text` says on one line what is wrong, and `advice` what to do about it; neither may hold a secret. `fails` is for
    settings with which the server is useless or not safe: it makes `evanesce check` fail.
    """

    text: str
    advice: str
    fails: bool = False


@dataclass(frozen=True, slots=True)
class CliCommand:
    """A subcommand that a plugin adds to `evanesce`; `run` returns the exit code."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


Settings = type[msgspec.Struct]
"""A plugin's model of its table in the configuration."""

SECRET_PATH: Final = {"evanesce-secret": "path"}
"""Marks the type of a setting as an address whose path may be a secret: `Annotated[str, Meta(extra=SECRET_PATH)]`.

Receivers of other people often know a sender by the path alone. `evanesce config show` does not show it.
"""
