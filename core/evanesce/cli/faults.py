"""How the errors of a command are told: those that say themselves what to do on one line, anything else as a fault."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import cast

from evanesce import logs
from evanesce.errors import EvanesceError, Unavailable

log = logging.getLogger(__name__)


def exit_code(command: Callable[[], int]) -> int:
    """Run `command` and give its exit code, or that of what it raised.

    1: what it was asked to do failed. 2: the deployer has something to correct. 130: interrupted.
    """
    try:
        return command()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the outermost border: the text of what was raised may hold content, so it is folded
        found = told(error)
        if found is not None:
            sys.stderr.write(line(str(found)))
            return 2
        log.critical("ended by a fault", exc_info=error)
        return 1


def line(problem: str) -> str:
    """Write what a deployer has to correct as one line."""
    return logs.escaped(f"evanesce: {problem}") + "\n"


def told(error: BaseException) -> EvanesceError | None:
    """Give `error`, or the first one of its kind that a nursery wrapped; None where nothing says what to do.

    What is told to people, that something is down, may have come from what is told to a deployer: then that.
    """
    if isinstance(error, Unavailable) and isinstance(error.__cause__, EvanesceError):
        return error.__cause__
    if isinstance(error, EvanesceError):
        return error
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return next(filter(None, map(told, group.exceptions)), None)
    return None
