"""Which servers use this Redis, the settings that they publish, the duties they reserve, and Redis's identity."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial

import msgspec

from evanesce.errors import StoreUnavailable
from evanesce.model import Timestamp, timestamp
from evanesce.store.redis.client import Client, Deadline
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.scripts import Command

IDENTITY_SECONDS = 7 * 24 * 3600
"""How long Redis's identity is kept after a server last used it."""

FRESH_SECONDS = 15.0
"""How old the settings of a server may be to be valid."""

KEEP = 60_000
"""How long the hash of settings is kept after the last change, in milliseconds."""


class _PublishedSettings(msgspec.Struct, frozen=True, array_like=True):
    """What one server has published, and when (`at`), in milliseconds of the store's clock."""

    at: int
    settings: dict[str, str]


_STATUS = "status"

_decoder = msgspec.json.Decoder(_PublishedSettings)


class RedisServerRegistry:
    """The servers, by their leases in all homes.

    Settings are published in one home on each primary. The key of the identity is not reported to the eraser (it is not
    sent by `tracked`): it expires only when no server has used this Redis for long, and nothing depends on it then.
    """

    def __init__(self, client: Client, tracked: Client, homes: Homes) -> None:
        self._client = client
        self._tracked = tracked
        self._homes = homes

    @property
    def server_name(self) -> str:
        """See `ServerRegistry.server_name`."""
        return self._homes.name

    async def expiries(self) -> Mapping[str, Timestamp] | None:
        """See `ServerRegistry.expiries`."""
        known = await self._homes.servers()
        return None if known is None else {name: timestamp(until) for name, until in known.items()}

    async def running(self) -> Collection[str]:
        """See `ServerRegistry.running`."""
        with Deadline():
            told = await self._homes.each(lambda home: home.lease.running())
        return {name for names in told for name in names}

    async def publish_settings(self, settings: Mapping[str, str]) -> None:
        """See `ServerRegistry.publish_settings`. Call it again within `FRESH_SECONDS`."""
        with Deadline():
            await self._homes.each(partial(self._publish, settings, False))

    async def other_settings(self) -> Mapping[str, Mapping[str, str]]:
        """See `ServerRegistry.other_settings`."""
        found: dict[str, Mapping[str, str]] = {}
        with Deadline():
            for published in await self._homes.each(partial(self._read, False)):
                found |= published
        found.pop(self._homes.name, None)
        return found

    async def publish_status(self, status: bytes) -> None:
        """See `ServerRegistry.publish_status`."""
        with Deadline():
            await self._homes.any(partial(self._publish, {_STATUS: status.decode()}, True))

    async def statuses(self) -> Mapping[str, bytes]:
        """See `ServerRegistry.statuses`."""
        found: dict[str, bytes] = {}
        with Deadline():
            for published in await self._homes.each(partial(self._read, True)):
                found |= {name: values.get(_STATUS, "").encode() for name, values in published.items()}
        return found

    async def delete_settings(self) -> None:
        """Delete the settings and the status of this server. If the store does not answer, they expire."""
        with suppress(StoreUnavailable):
            await self._homes.each(self._delete)

    async def claim(self, duty: str, seconds: float) -> bool:
        """See `ServerRegistry.claim`. All servers ask the same primary of a cluster first."""
        milliseconds = max(1, round(seconds * 1000))

        async def take(home: Home) -> bool:
            key = home.keys.duty(duty)
            taken, _ = await self._tracked.run(
                ("SET", key, self.server_name, "NX", "PX", milliseconds),
                ("PEXPIRE", key, milliseconds, "LT"),  # shorter only if the clock was set back since
            )
            return taken is not None

        with Deadline():
            return await self._homes.any(take)

    async def identity(self, proposed: str | None = None) -> str | None:
        """See `ServerRegistry.identity`. In a cluster, each primary has one.

        A primary that was away while the others lost their data comes back with an old identity. So the identity that
        most primaries have is valid, and it replaces the others if it is the proposed one.
        """
        milliseconds = IDENTITY_SECONDS * 1000

        async def ask(home: Home) -> str | None:
            name = home.keys.identity
            give: list[Command] = []
            if proposed is not None:
                give = [("SET", name, proposed, "NX", "PX", milliseconds), ("PEXPIRE", name, milliseconds)]
            *_, found = await self._client.run(*give, ("GET", name))
            return None if found is None else bytes(found).decode()

        async def replace(home: Home) -> None:
            await self._client.run(("SET", home.keys.identity, proposed or "", "PX", milliseconds))

        with Deadline():
            found = [one for one in await self._homes.each(ask) if one is not None]
            if not found:
                return None
            identity = max(found, key=lambda one: (found.count(one), one == proposed, one))
            if identity == proposed and len(set(found)) > 1:
                await self._homes.each(replace)
            return identity

    async def _publish(self, settings: Mapping[str, str], is_status: bool, home: Home) -> None:
        key = home.keys.status if is_status else home.keys.settings
        await home.lease.known()  # before that, the time is that of this machine
        published = _PublishedSettings(home.clock.now(), dict(settings))
        await self._client.run(
            ("HSET", key, self._homes.name, msgspec.json.encode(published)),
            ("PEXPIRE", key, KEEP),
        )

    async def _read(self, is_status: bool, home: Home) -> dict[str, Mapping[str, str]]:
        key = home.keys.status if is_status else home.keys.settings
        await home.lease.known()
        [flat] = await self._client.run(("HGETALL", key))
        now = home.clock.now()
        found: dict[str, Mapping[str, str]] = {}
        gone: list[str] = []
        for raw_name, raw in zip(flat[::2], flat[1::2], strict=True):
            name = bytes(raw_name).decode("utf-8", "replace")
            try:
                published = _decoder.decode(raw)
            except msgspec.DecodeError:  # of another version or another program
                continue
            age = abs(now - published.at)  # the clock of the store may have been set back
            if age > KEEP:
                gone.append(name)  # the others renew the hash, and with it the settings of killed servers
            elif age <= FRESH_SECONDS * 1000:
                found[name] = published.settings
        if gone:
            await self._client.run(("HDEL", key, *gone))
        return found

    async def _delete(self, home: Home) -> None:
        keys = (home.keys.settings, home.keys.status)
        await self._client.run(*(("HDEL", key, self._homes.name) for key in keys), urgent=True)
