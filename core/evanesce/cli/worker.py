"""The process of one worker. Only the supervisor, `evanesce serve --workers`, starts it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from evanesce import logs, server
from evanesce.cli.exit_status import exit_code, exit_now
from evanesce.config import load
from evanesce.lifecycle.log_settings import apply_log_settings
from evanesce.lifecycle.signals import PYTHON
from evanesce.plugins import Plugins, discovery
from evanesce.plugins.faults import debug
from evanesce.process import fills_memory, forbid_core_files, raise_descriptor_limit, with_memory_filled
from evanesce.workers.channel import SupervisorChannel

COMMAND = (*PYTHON, "evanesce.cli.worker")
"""Starts a worker. Its number follows, so that a list of processes shows it; the program does not read it."""


def main() -> int:
    """Serve as the supervisor's assignment says, and return the exit code."""
    logs.setup()
    forbid_core_files()
    raise_descriptor_limit()
    return exit_code(_serve)


def _serve() -> int:
    channel = SupervisorChannel.open()
    assignment = channel.assignment
    if assignment.debug_plugins:
        debug()
    file = None if assignment.file is None else Path(assignment.file)
    source = load.read(file, assignment.settings, default_plugins=discovery.defaults())
    enabled = Plugins.load(source.enabled)
    config = source.config(enabled.settings())
    apply_log_settings(config, enabled, worker=assignment.number)
    if config.messages.encrypt_at_rest and not fills_memory():  # it was switched on after the supervisor started
        channel.restart_program(with_memory_filled(python=True))
    own = msgspec.structs.replace(
        config.server,
        workers=assignment.workers,
        # A restarted worker has the same name, by which it cleans up what its predecessor left in Redis.
        node=f"{assignment.node}/{assignment.number}",
        lame_duck_seconds=assignment.lame_duck_seconds,
        drain_seconds=assignment.drain_seconds,
    )
    config = msgspec.structs.replace(config, server=own, redis=assignment.redis)
    return server.run(
        config,
        enabled,
        exit_now,
        channel,
        file=source.file,
        migrate=assignment.migrate,
        debug_plugins=assignment.debug_plugins,
    )


if __name__ == "__main__":
    sys.exit(main())
