"""When and why a server shuts down or restarts: because of a signal, or of a transport that ended."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from contextlib import suppress

import trio

from evanesce.lifecycle.restart_check import RestartCheck
from evanesce.lifecycle.service_manager import ServiceManager
from evanesce.lifecycle.signals import RESTART, SHUTDOWN_SIGNALS, LateSignals, unblock_signals

logger = logging.getLogger(__name__)


class Shutdown:
    """The shutdown of one server, in up to three steps: each signal after the first one starts the next step.

    - `requested` is set when the server has to shut down. Clients are still served in the lame-duck time.
    - `draining` is set when the lame-duck time is over: connections are closed.
    - `forced` is set when the server does not wait for connections any longer.

    `restarting` says whether the server starts again afterwards. `code` is the exit code, or `RESTART`. `startup` is a
    cancel scope around the whole server: a signal cancels it as long as `serving` was not called.

    With `restart_check`, SIGHUP restarts the server only if that check passes, and only after the server has started.
    Without it, as in a worker, SIGHUP shuts down at once: the supervisor has already made the check. `manager` is told
    what happens.
    """

    def __init__(self, restart_check: RestartCheck | None = None, manager: ServiceManager | None = None) -> None:
        self._manager = manager or ServiceManager(None)
        self.requested = trio.Event()
        self.draining = trio.Event()
        self.forced = trio.Event()
        self.restarting = False
        self.code = 0
        self.startup = trio.CancelScope()
        self._serving = False
        self._restart_check = restart_check
        # Restarts that are requested during a check are merged into one, which is checked afterwards.
        self._request_restart, self._restart_requests = trio.open_memory_channel[None](1)

    def serving(self) -> None:
        """Note that the server has started: from now on a signal drains its connections first."""
        self._serving = True

    def fail(self, reason: str) -> None:
        """Shut the server down because of a fault, and log the fault."""
        logger.critical("the server shuts down: %s", reason)
        if not self.requested.is_set():
            self.code = 1
            self._manager.stopping()
            self.requested.set()
        self.draining.set()

    async def watch_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Handle SIGINT, SIGTERM and SIGHUP until cancelled."""
        late = LateSignals()
        with late.kept():
            try:
                with trio.open_signal_receiver(*SHUTDOWN_SIGNALS) as signals:
                    unblock_signals()
                    task_status.started()
                    async for number in signals:
                        self._take(signal.Signals(number))
            finally:
                if self.code == RESTART:
                    late.block()

    async def restart_on_request(self, urls: Sequence[str]) -> None:
        """Wait for a SIGHUP for which the check passes, then start the shutdown and return.

        `urls` are the addresses that the server listens on. Without a `restart_check` it returns at once.
        """
        if self._restart_check is None:
            return
        async for _ in self._restart_requests:
            if await self._restart_check.passes(urls) and not self.requested.is_set():
                logger.info("restarting: closing all connections")
                self.restarting = True
                self.code = RESTART
                self.requested.set()
                return
            if not self.requested.is_set():
                self._manager.ready("serving; the new configuration was refused, see the log")

    def _take(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP and self._restart_check is not None:
            self._take_restart()
        elif not self._serving:
            logger.info("%s: stopping before the start has finished", number.name)
            self.startup.cancel()
        elif not self.requested.is_set():
            logger.info("%s: closing all connections", number.name)
            self.restarting = number == signal.SIGHUP
            self._manager.stopping()
            self.requested.set()
        else:
            self._take_again(number)

    def _take_restart(self) -> None:
        if self.requested.is_set():
            logger.info("SIGHUP: ignored, because the server is shutting down already")
            return
        logger.info("SIGHUP: checking the configuration before a restart")
        self._manager.reloading()
        with suppress(trio.WouldBlock):
            self._request_restart.send_nowait(None)

    def _take_again(self, number: signal.Signals) -> None:
        if self.restarting and number != signal.SIGHUP:
            logger.info("%s: shutting down instead of restarting", number.name)
            self.restarting = False
            self.code = 0
            self._manager.stopping()
        if not self.draining.is_set():
            logger.info("%s again: closing all connections now", number.name)
            self.draining.set()
        else:
            logger.info("%s again: waiting for no connection any longer", number.name)
            self.forced.set()
