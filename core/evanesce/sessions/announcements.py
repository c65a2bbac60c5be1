"""What a server tells all servers: that a sign-in ended, an account was erased, somebody has another name."""

from __future__ import annotations

import logging
from collections.abc import Callable

from evanesce.errors import StoreUnavailable
from evanesce.store.base import MessageStore, Notice

logger = logging.getLogger(__name__)


class Announcements:
    """The way to all servers. `hear` is this server's own ear."""

    def __init__(self, store: MessageStore, hear: Callable[[Notice], None]) -> None:
        self._store = store
        self._hear = hear

    async def make(self, notice: Notice) -> None:
        """Tell everyone. This server knows at once, whether the store is up or not."""
        self._hear(notice)
        try:
            await self._store.announce(notice)
        except StoreUnavailable:
            # What it is about is done; connections on other servers end when their token runs out at the latest.
            logger.warning("the store is down: %s could not be announced", type(notice).__name__)
