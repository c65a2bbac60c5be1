"""A plugin that measures how late the server's event loop wakes who sleeps, and shows it over HTTP.

It is a transport that carries nothing: that is a task of its own for as long as the server runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import trio

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Gateway, HttpRequest, HttpResponse, HttpRoute, Setup, Transport

INTERVAL = 0.005
delays: list[float] = []


class Clock:
    binds: Sequence[str] = ()

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        task_status.started([])
        while True:
            due = trio.current_time() + INTERVAL
            await trio.sleep_until(due)
            delays.append(trio.current_time() - due)


async def show(request: HttpRequest) -> HttpResponse:
    """Return the delays since the last look, in milliseconds."""
    await trio.lowlevel.checkpoint()
    found = sorted(delays)
    delays.clear()
    picked = {"count": len(found)}
    if found:
        picked |= {name: round(1000 * found[int(len(found) * share)], 2) for name, share in SHARES.items()}
    return HttpResponse(json.dumps(picked).encode())


SHARES = {"p50": 0.5, "p99": 0.99, "max": 0.999999}


evanesce_sees_content = True


@hookimpl
def evanesce_transport(setup: Setup) -> Transport:
    return Clock()


@hookimpl
def evanesce_http_routes(setup: Setup) -> Sequence[HttpRoute]:
    return [HttpRoute("GET", "/delay", show)]
