"""Logs warnings, while a server runs, about settings of the store that keep content on disk beyond its TTL."""

from __future__ import annotations

import logging

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.health import Health

logger = logging.getLogger(__name__)

WARN_SECONDS = 3600.0
"""How often the store is examined, and the warning repeated."""

RETRY_SECONDS = 10.0
"""After how long it is examined again if it did not answer."""

MOST_NAMED = 5
"""How many findings one line names. A large cluster may have many."""


async def warn_of_disk(health: Health) -> None:
    """Examine the store at once and every hour, and log one line if it keeps content, until cancelled."""
    while True:
        try:
            found = await health.content_on_disk()
        except StoreUnavailable:  # the client has logged it
            await trio.sleep(RETRY_SECONDS)
            continue
        if found:
            named = [finding.text for finding in found[:MOST_NAMED]]
            if len(found) > MOST_NAMED:
                named.append(f"{len(found) - MOST_NAMED} more")
            logger.warning("messages may be kept on a disk beyond their TTL: %s. Run evanesce check", "; ".join(named))
        await trio.sleep(WARN_SECONDS)
