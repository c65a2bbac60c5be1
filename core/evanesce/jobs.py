"""Background jobs: each runs again and again, and a failure ends one run of it only."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from evanesce.errors import Unavailable
from evanesce.logs import folded
from evanesce.metrics import Metrics

logger = logging.getLogger(__name__)


async def run_every(seconds: float, job: Callable[[], Awaitable[object]], name: str, metrics: Metrics) -> None:
    """Run `job`, and again `seconds` after each end of it, until cancelled. `name` names it in the log.

    A run ends early when the store or the database is unavailable, or when the repository has a fault.
    """
    while True:
        try:
            await job()
        except (Unavailable, trio.TooSlowError) as error:
            logger.debug("%s ended early: %s", name, error)
        except Exception as error:
            report_repository_fault(name, error, metrics)
        await trio.sleep(seconds)


def report_repository_fault(job: str, error: Exception, metrics: Metrics) -> None:
    """Log and count a fault of the repository, which is a plugin's code: it must not end the server."""
    metrics.faults.labels("repository").inc()
    logger.error("the repository failed at %s: %s", job, folded(error))
