"""Which servers use the store, and what they agree on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from evanesce.model import Timestamp

RENEWED_SECONDS = 3.0
"""After how long all servers have renewed their leases: a little more than they wait between two renewals."""


class ServerRegistry(Protocol):
    """The servers on one store."""

    @property
    def server_name(self) -> str:
        """The name of this server process. It is unique: a server gets a new name at each start."""
        ...

    async def expiries(self) -> Mapping[str, Timestamp] | None:
        """Return for each server when its lease expires, or expired.

        A running server is included from its first lease on; one that is gone is included for a week. Returns None
        while this cannot be known: the store has lost its data, and not every server has renewed its lease yet.
        """
        ...

    async def running(self) -> Collection[str]:
        """Return the names of the servers that have a lease now.

        After a loss of data, all servers that reach the store are included `RENEWED_SECONDS` later.
        """
        ...

    async def publish_settings(self, settings: Mapping[str, str]) -> None:
        """Publish settings of this server for the others to compare: texts by the names of the settings.

        They are valid for 15 s, or until this server stops. Every client of the store can read them: do not
        publish secrets.
        """
        ...

    async def other_settings(self) -> Mapping[str, Mapping[str, str]]:
        """Return the settings that each other server has published within 15 s, by its name."""
        ...

    async def publish_status(self, status: bytes) -> None:
        """Publish the status of this server, for operators. It is valid for 15 s, or until this server stops.

        Every client of the store can read it: do not publish secrets or names of people.
        """
        ...

    async def statuses(self) -> Mapping[str, bytes]:
        """Return the status that each server, this one included, has published within 15 s, by its name."""
        ...

    async def claim(self, duty: str, seconds: float) -> bool:
        """Reserve a duty for this server for some time. Return False if it is reserved already, even by this server.

        A reservation cannot be given back; it expires. Two servers may hold it at once if a part of the store is down
        or has lost its data: a duty must be safe to do twice.
        """
        ...

    async def identity(self, proposed: str | None = None) -> str | None:
        """Return the identity of the store's data; if it has none, `proposed` becomes it, for at least a week.

        Returns None if it has none and none is proposed: the store is new, has lost its data, or was not used for long.
        """
        ...
