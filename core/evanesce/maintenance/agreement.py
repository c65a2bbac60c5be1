"""Servers on one Redis publish their settings to each other, and warn where these differ."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import trio

from evanesce.config.shared import differences
from evanesce.errors import StoreUnavailable
from evanesce.store.server_registry import ServerRegistry

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often a server publishes its settings and reads those of the others."""

MOST_NAMED = 5
"""How many servers one line of the log names."""

ADVICE = (
    "Give all servers on one Redis the same settings; servers that do not belong together need another redis.prefix."
    " While a setting is changed on one server after the other this is expected"
)


def disagreements(own: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> dict[Sequence[str], list[str]]:
    """Return the servers that differ, by the settings in which they do."""
    found: dict[Sequence[str], list[str]] = {}
    for server in sorted(others):
        if differing := tuple(differences(own, others[server])):
            found.setdefault(differing, []).append(server)
    return found


def described(differing: Sequence[str], servers: Sequence[str]) -> str:
    """Return a sentence that names servers and the settings in which they differ."""
    more = len(servers) - MOST_NAMED
    named = ", ".join(servers[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{named} on the same Redis {'is' if len(servers) == 1 else 'are'} set otherwise: {', '.join(differing)}"


class Agreement:
    """Publishes `own`, the settings of this server, and logs once which servers differ. `run` must run."""

    def __init__(self, own: Mapping[str, str], servers: ServerRegistry) -> None:
        self._own = own
        self._servers = servers
        self._logged: dict[Sequence[str], list[str]] = {}

    async def run(self) -> None:
        """Publish and compare every `LOOK_SECONDS`, until cancelled. It waits while the store is unavailable."""
        while True:
            try:
                await self._servers.publish_settings(self._own)
                self._log(disagreements(self._own, await self._servers.other_settings()))
            except StoreUnavailable:
                pass  # other parts log that; it is tried again
            await trio.sleep(LOOK_SECONDS)

    def _log(self, found: dict[Sequence[str], list[str]]) -> None:
        for differing, servers in found.items():
            if new := [server for server in servers if server not in self._logged.get(differing, ())]:
                logger.warning("%s. %s", described(differing, new), ADVICE)
        if self._logged and not found:
            logger.info("all servers on this Redis have the same settings again")
        self._logged = found
