"""The signals that stop or restart a server, and the restart in the same process, which loses none of them."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# -P keeps the working folder out of `sys.path`, as it is for the command `evanesce`.
PYTHON = (sys.executable, "-P", "-m")
"""The command that runs a module as a program. The module's name follows it."""

RESTART = -1
"""Returned in place of an exit code: the program has to start again in the same process."""

SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that stop a server, or restart it."""


class LateSignals:
    """Keep the signals that arrive after a server's signal receiver was closed. Use it on the main thread.

    By default each of them would end the process, even SIGHUP, which only asks for a restart.
    """

    def __init__(self) -> None:
        self._late: list[int] = []
        self._blocked = False

    @contextmanager
    def kept(self) -> Generator[None]:
        """Keep the signals that no receiver takes while the context lasts, and after it where they are blocked."""
        before = {number: signal.signal(number, self._take) for number in SHUTDOWN_SIGNALS}
        try:
            yield
        finally:
            if not self._blocked:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def block(self) -> None:
        """Block the signals until `unblock_signals` is called in the restarted program. Those kept so far are sent."""
        block_signals()
        self._blocked = True
        for number in self._late:
            signal.raise_signal(number)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._blocked:  # another thread received it: sent to this thread, it stays pending
            signal.raise_signal(number)
        else:
            self._late.append(number)


def block_signals() -> None:
    """Block the shutdown signals in this thread. They stay blocked and pending when the program restarts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SHUTDOWN_SIGNALS)


def unblock_signals() -> None:
    """Unblock the shutdown signals. Call it on the main thread, after the signal receiver was opened."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHUTDOWN_SIGNALS)


def restart_program(environment: Mapping[str, str] | None = None) -> NoReturn:
    """Start this program again in the same process, with the same folder and arguments.

    The environment is the same where None is given. Open files and threads end. Raises `OSError` where the Python
    interpreter does not exist any more.
    """
    block_signals()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ if environment is None else environment)
