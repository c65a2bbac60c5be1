"""How late the event loop is: everything on the server waits for it."""

from __future__ import annotations

import trio

from evanesce.metrics import Metrics

BEAT_SECONDS = 0.1
"""How often it is measured, in seconds."""


async def measure_delay(metrics: Metrics) -> None:
    """Measure again and again how much later than it should this task runs, until cancelled."""
    delay = metrics.histogram("event_loop_delay_seconds", "Seconds that a task that is due waits for the event loop")
    while True:
        due = trio.current_time() + BEAT_SECONDS
        await trio.sleep_until(due)
        delay.observe(trio.current_time() - due)
