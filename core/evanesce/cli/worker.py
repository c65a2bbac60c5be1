"""The process of one worker: `evanesce serve --workers` starts it, nobody else does."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from evanesce import logs, server
from evanesce.cli.faults import exit_code
from evanesce.config import load
from evanesce.plugins import Plugins, installed
from evanesce.workers.line import Line

# Without the working folder among the places that modules come from (-P): the command `evanesce` has it there no more.
COMMAND = (sys.executable, "-P", "-m", "evanesce.cli.worker")
"""Starts a worker. Its number, which is put behind that, is for those who look at the processes."""


def main() -> int:
    """Serve as the supervisor says, and give the exit code."""
    logs.setup()
    return exit_code(_serve)


def _serve() -> int:
    line = Line.take()
    given = line.assignment
    file = None if given.file is None else Path(given.file)
    source = load.read(file, given.settings, default_plugins=installed.defaults())
    enabled = Plugins.load(source.enabled)
    config = source.config(enabled.settings())
    own = msgspec.structs.replace(
        config.server,
        workers=given.workers,
        node=f"{given.node}/{given.number}",  # by which it clears up behind the worker that it comes after
        drain_seconds=given.drain_seconds,
    )
    redis = msgspec.structs.replace(config.redis, url=given.redis_url)
    return server.run(msgspec.structs.replace(config, server=own, redis=redis), enabled, line)


if __name__ == "__main__":
    sys.exit(main())
