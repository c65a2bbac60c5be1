"""The shutdown of a server: what each signal does during the start, while it serves, and while it drains."""

from __future__ import annotations

import signal
import sys

import trio

from evanesce.lifecycle.restart_check import RestartCheck, RestartCheckRequest
from evanesce.lifecycle.shutdown import Shutdown
from evanesce.lifecycle.signals import RESTART

TIMEOUT = 60.0


def restart_check(program: str) -> RestartCheck:
    return RestartCheck([sys.executable, "-c", program], RestartCheckRequest(file=None, settings=[]))


async def test_a_sigterm_during_a_check_stops_the_server() -> None:
    shutdown = Shutdown(restart_check("import time; time.sleep(3600)"))
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            await nursery.start(shutdown.watch_signals)
            shutdown.serving()
            nursery.start_soon(shutdown.restart_on_request, [])
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGTERM)
            await shutdown.requested.wait()
            nursery.cancel_scope.cancel()
    assert (shutdown.restarting, shutdown.code) == (False, 0)


async def test_a_sighup_before_the_server_serves_restarts_it_when_it_does() -> None:
    shutdown = Shutdown(restart_check(""))
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            await nursery.start(shutdown.watch_signals)
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
            assert not shutdown.startup.cancel_called
            shutdown.serving()
            nursery.start_soon(shutdown.restart_on_request, [])
            await shutdown.requested.wait()
            assert (shutdown.restarting, shutdown.code) == (True, RESTART)
            signal.raise_signal(signal.SIGTERM)  # during the drain: it does not come back
            await shutdown.draining.wait()
            nursery.cancel_scope.cancel()
    assert (shutdown.restarting, shutdown.code) == (False, 0)


async def test_each_later_signal_cuts_short_what_is_waited_for() -> None:
    shutdown = Shutdown()
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            await nursery.start(shutdown.watch_signals)
            shutdown.serving()
            for event in (shutdown.requested, shutdown.draining, shutdown.forced):
                assert not event.is_set()
                signal.raise_signal(signal.SIGTERM)
                await event.wait()
            nursery.cancel_scope.cancel()
