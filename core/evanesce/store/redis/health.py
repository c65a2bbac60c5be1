"""Whether Redis works, for the probe of a load balancer and for a deployer."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.health import CheckResult, ExpiryReport
from evanesce.store.redis.check import check
from evanesce.store.redis.client import CALL_SECONDS, Deadline
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.cluster_subscriber import ClusterSubscriber
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lag_reports import LagReports
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.probe import Probe, rooms_everywhere
from evanesce.store.redis.settings_check import content_on_disk
from evanesce.store.redis.subscriber import Subscriber


class RedisHealth:
    """Checks of one Redis, or of all primaries of a cluster."""

    def __init__(
        self,
        client: NodeClient | ClusterClient,
        subscriber: Subscriber | ClusterSubscriber,
        keys: Keys,
        clock: Clock,
        reports: LagReports,
    ) -> None:
        self._client = client
        self._subscriber = subscriber
        self._keys = keys
        self._reports = reports
        self._probe = Probe(client, subscriber, keys, clock)

    @property
    def healthy(self) -> bool:
        """See `Health.healthy`."""
        return self._client.up and self.subscriber_up

    @property
    def subscriber_up(self) -> bool:
        """See `Health.subscriber_up`."""
        return self._subscriber.up

    async def probe(self, seconds: float = CALL_SECONDS) -> None:
        """See `Health.probe`. In a cluster, one test message is sent on each primary, of which one has to arrive."""
        problems: list[StoreUnavailable] = []
        rooms = rooms_everywhere(self._client, self._keys).values()
        async with trio.open_nursery() as nursery:

            async def send(room_id: str) -> None:
                try:
                    await self._probe.message(room_id, seconds)
                except StoreUnavailable as problem:
                    problems.append(problem)
                else:
                    nursery.cancel_scope.cancel()

            for room_id in rooms:
                nursery.start_soon(send, room_id)
        if len(problems) == len(rooms):
            raise problems[0] if problems else StoreUnavailable()

    async def check(self) -> Sequence[CheckResult]:
        """See `Health.check`."""
        return await check(self._client, self._keys, self._probe)

    async def content_on_disk(self) -> Sequence[CheckResult]:
        """See `Health.content_on_disk`."""
        with Deadline():
            return await content_on_disk(self._client)

    async def expiry_report(self) -> ExpiryReport | None:
        """See `Health.expiry_report`."""
        with Deadline():
            return await self._reports.read()
