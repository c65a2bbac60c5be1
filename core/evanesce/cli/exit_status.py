"""How a command ends: its exit code, and one line for an error that the deployer can correct."""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, cast

from evanesce import logs
from evanesce.errors import EvanesceError, Unavailable
from evanesce.interfaces import CliCommand
from evanesce.lifecycle.signals import RESTART, restart_program
from evanesce.plugins.faults import describe

log = logging.getLogger(__name__)

OUTPUT_ENDED = 128 + signal.SIGPIPE
"""The exit code of a program whose output nothing reads any more, as shells have it."""


def exit_code(command: Callable[[], int]) -> int:
    """Run `command`, report what it raises, and return its exit code.

    1: the command failed. 2: the deployer has to correct something. 130: interrupted. 141: what reads the output, such
    as `head`, has ended.
    """
    try:
        code = command()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # the outermost handler: the text of an error may hold content, so it is folded
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            return error.code or 0
        if isinstance(error, BrokenPipeError) and _output_has_ended():
            return OUTPUT_ENDED
        known = deployer_error(error)
        if known is not None:
            logs.put_line(error_line(str(known)))  # not to `sys.stderr`: a write there waits for a reader without end
            logs.flush()
            return 2
        log.critical("the command failed because of a fault in Evanesce or in a plugin", exc_info=error)
        return 1


def _output_has_ended() -> bool:
    """Return whether nothing reads the standard output any more, and let what is still to be written go nowhere."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, 0)
    if not poll.poll(0):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output)
    os.close(nowhere)
    return True


def run_plugin_command(plugin: str, command: CliCommand, options: argparse.Namespace) -> int:
    """Run a subcommand that a plugin adds, and return its exit code: 1, with a line in the log, where it raises."""
    try:
        code = cast(object, command.run(options))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the boundary to a plugin's code
        if deployer_error(error) is not None:
            raise
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            return error.code or 0
        log.critical("plugin %s: its command %s failed: %s", plugin, command.name, describe(error))
        return 1
    if not isinstance(code, int):
        log.critical("plugin %s: its command %s did not return an exit code", plugin, command.name)
        return 1
    return code


def exit_now(command: Callable[[], int]) -> NoReturn:
    """End the process at once with the exit code of `command`, even while a plugin's code ignores its cancellation.

    Where the code is `RESTART`, start the program again in the same process.
    """
    code = exit_code(command)
    if code == RESTART:
        restart_program()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def error_line(problem: str) -> str:
    """Return the line for an error that the deployer can correct."""
    return logs.escaped(f"evanesce: {problem}") + "\n"


def deployer_error(error: BaseException) -> EvanesceError | None:
    """Return the first error in `error`, or in its exception groups, that tells the deployer what to do, or None.

    An `Unavailable` only says that something is down. Where another `EvanesceError` caused it, that one is returned.
    """
    if isinstance(error, Unavailable) and isinstance(error.__cause__, EvanesceError):
        return error.__cause__
    if isinstance(error, EvanesceError):
        return error
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return next(filter(None, map(deployer_error, group.exceptions)), None)
    return None
