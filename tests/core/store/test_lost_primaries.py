"""Each primary of a cluster is lost in turn, killed or standing still: that harms its own rooms and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

import pytest
import trio

from evanesce.accounts.challenges import Challenges
from evanesce.errors import StoreUnavailable
from evanesce.interfaces import Challenge
from evanesce.model import timestamp
from evanesce.store import Store
from evanesce.store.control_bus import Notice, TokenRevoked, UserErased, UserRenamed
from evanesce.store.events import Joined
from evanesce.store.message_log import LogEntry, RoomClosed
from evanesce.store.presence import Member
from tests.core.store.backends import (
    ClusterBackend,
    appended,
    cluster_backend,
    departures,
    draft,
    eventually,
    join,
    of_kind,
    python,
    until,
)
from tests.patience import PATIENCE, within
from tests.valkey_cluster import PRIMARIES, ClusterNode, ValkeyCluster

pytestmark = pytest.mark.slow

ADA, BOB, EVE = Member("ada", "Ada"), Member("bob", "Bob"), Member("eve", "Eve")

REFUSED_SECONDS = 2.5
"""How long a call may take that is refused."""

RECOVERED = 60.0
"""How long it may take until all is as before, in seconds."""

SERVER = """
import sys, trio
from evanesce.config.model import RedisTable
from evanesce.store.presence import Joiner
from evanesce.store.redis import open_redis_store
from evanesce.store.rules import RoomRules
async def main():
    async with open_redis_store(RedisTable(url=sys.argv[1], cluster=True), ttl=60, server_id="killed") as store:
        for room_id in sys.argv[2:]:
            people = [Joiner("eve", "Eve", "e")]
            await store.presence.join(room_id, people, 10, 10, RoomRules("creator", 60_000))
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@dataclass
class Loss:
    """One primary of a cluster, which is lost in one way, and the rooms that are there and elsewhere."""

    cluster: ValkeyCluster
    primary: ClusterNode
    replica: ClusterNode
    kill: bool

    def key_on(self, primary: ClusterNode) -> str:
        """Make up an id whose keys are on a primary."""
        while True:
            made_up = str(uuid4())
            if self.cluster.primary_of(f"evanesce:{{{made_up}}}:state") is primary:
                return made_up

    def happen(self) -> None:
        if self.kill:
            self.cluster.kill(self.primary)
        else:
            os.kill(self.primary.process.pid, signal.SIGSTOP)

    async def end(self) -> None:
        """Bring it back, or put its replica in its place."""
        if not self.kill:
            os.kill(self.primary.process.pid, signal.SIGCONT)
            return

        def took_over() -> bool:
            if self.replica.role != "master":
                self.replica.client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            return self.replica.role == "master"

        await eventually(took_over, RECOVERED)


@pytest.fixture(scope="module", params=["killed", "standing still"])
def nodes(request: pytest.FixtureRequest) -> Iterator[tuple[ValkeyCluster, bool]]:
    """A cluster that takes no primary for dead as long as a test runs: what happens meanwhile is what is tried."""
    cluster = ValkeyCluster(node_timeout=300_000)
    cluster.start()
    yield cluster, request.param == "killed"
    cluster.stop()


@pytest.fixture(params=range(PRIMARIES))
async def loss(
    request: pytest.FixtureRequest, nodes: tuple[ValkeyCluster, bool]
) -> AsyncGenerator[tuple[ClusterBackend, Loss]]:
    cluster, kill = nodes
    primaries = sorted(cluster.primaries, key=first_slot)
    primary = primaries[request.param]
    async with cluster_backend(cluster) as backend:
        lost = Loss(cluster, primary, cluster.replica_of(primary), kill)
        try:
            yield backend, lost
        finally:
            await lost.end()  # whatever the test did: the next one finds three primaries


def first_slot(node: ClusterNode) -> int:
    told = node.client.execute_command("CLUSTER", "SLOTS")
    return min(first for first, _, primary, *_ in told if primary[1] == node.port)


async def served(store: Store, other: Store, room_id: str) -> None:
    """Do in a room all that people do there: join, be seen, write and be heard, take back, rename, read and leave."""
    guest = Member(str(uuid4()), "Guest")
    async with other.events.follow(room_id, 10) as feed:
        outcome = await join(store, room_id, [guest])
        assert not outcome.barred, "there was a place"
        assert of_kind(await until(feed, Joined), Joined)[0].person == guest
        mine = draft(room_id, sender=guest.user_id)
        await store.messages.append(room_id, [mine])
        [heard] = of_kind(await until(feed, LogEntry), LogEntry)
        assert heard.message.message_id == mine.message_id
        assert await other.messages.find(room_id, mine.message_id, guest.user_id) is not None
        await store.events.typing(room_id, guest.user_id)
        await store.presence.rename(room_id, Member(guest.user_id, "Renamed"))
        assert Member(guest.user_id, "Renamed") in ((await other.presence.snapshot(room_id, 10)).members or ())
        history = await other.messages.history(room_id, None, 10, 100_000)
        assert not isinstance(history, RoomClosed)
        assert mine.message_id in [each.message.message_id for each in history.messages]
        assert await store.messages.unsend(room_id, mine.message_id, guest.user_id) is True
        before = await other.presence.counts([room_id])
        count = await store.presence.leave(room_id, [guest.user_id])
        left = await departures(feed, guest.user_id)
        assert {event.user_id for event in left} <= {guest.user_id, EVE.user_id}, "her server was killed"
        assert before[0] - len(left) <= count == left[-1].count < before[0]


async def refused(store: Store, room_id: str) -> None:
    """Find that a room of a lost primary refuses what people do, in time."""
    for act in (
        lambda: store.messages.append(room_id, [draft(room_id)]),
        lambda: join(store, room_id, [Member(str(uuid4()), "Guest")]),
        lambda: store.presence.snapshot(room_id, 10),
        lambda: store.messages.history(room_id, None, 10, 100_000),
    ):
        with within(REFUSED_SECONDS), pytest.raises(StoreUnavailable):
            await act()


async def told(store: Store, notice: Notice) -> None:
    """Receive notices until this one comes."""
    with trio.fail_after(PATIENCE):
        while await store.control.next_notice() != notice:
            pass


async def members_are(store: Store, rooms: Sequence[str], *members: Member) -> None:
    for room_id in rooms:

        async def right(room_id: str = room_id) -> bool:
            try:
                return set((await store.presence.snapshot(room_id, 10)).members or ()) == set(members)
            except StoreUnavailable:
                return False

        await eventually(right, RECOVERED)


async def test_a_lost_primary_harms_its_own_rooms_alone(
    loss: tuple[ClusterBackend, Loss],
) -> None:
    backend, lost = loss
    one, two = await backend.open("one"), await backend.open("two")
    there = [lost.key_on(lost.primary) for _ in range(2)]
    others = [primary for primary in lost.cluster.primaries if primary is not lost.primary]
    elsewhere = [lost.key_on(primary) for primary in others for _ in range(2)]
    for room_id in there + elsewhere:
        await join(one, room_id, [ADA])
        await join(two, room_id, [BOB])
        await served(one, two, room_id)
    users = [lost.key_on(primary) for primary in others]
    signed_out = TokenRevoked(str(uuid4()))
    async with python(SERVER, backend.cluster.url, *there, *elsewhere) as (doomed, line):
        assert line == "ready"
        await members_are(one, there + elsewhere, ADA, BOB, EVE)

        lost.happen()
        doomed.kill()  # a server ends without a word, while the primary is away
        with trio.fail_after(PATIENCE):
            for room_id in elsewhere:
                await served(one, two, room_id)
                await served(two, one, room_id)
        for room_id in there:
            await refused(one, room_id)

        # What is nobody's room: limits, connections, notices, who lives, and a server that is new.
        with trio.fail_after(PATIENCE):
            for user_id in users:
                assert await one.rate_limits.connect(user_id, 1, 1)
                assert not await two.rate_limits.connect(user_id, 1, 1), "there is one on the other server"
                one.rate_limits.disconnect(user_id, 0)

                async def free(user_id: str = user_id) -> bool:
                    return await two.rate_limits.connect(user_id, 1, 1)

                await eventually(free)
                assert await one.rate_limits.take_tokens(user_id, 5, 1.0, 5) == (5, 0)
                assert (await two.rate_limits.take_tokens(user_id, 5, 1.0, 5))[0] <= 1
        challenges = Challenges(one.one_time_values, one.clock)
        with trio.fail_after(PATIENCE):
            for _ in range(12):
                issued = await challenges.issue("any", Challenge({}, kept=b"kept", seconds=60))
                async with Challenges(two.one_time_values, two.clock).answer("any", issued) as answered:
                    assert answered is not None
                    assert answered.kept == b"kept"
        with trio.fail_after(PATIENCE):
            for duty in [f"duty-{number}" for number in range(12)]:
                await eventually(lambda duty=duty: claimed(one, duty), PATIENCE)
                assert not await claimed(two, duty), "one server has it"
        for notice in (signed_out, UserErased(str(uuid4())), UserRenamed("ada", "Ada Byron")):
            await eventually(lambda notice=notice: announced(one, notice), PATIENCE)
            await told(two, notice)
        assert await two.control.revoked([signed_out.sign_in_id, "another"]) == {signed_out.sign_in_id}
        three = await backend.open("three")
        with trio.fail_after(PATIENCE):
            for room_id in elsewhere:
                await served(three, one, room_id)
        assert await three.control.revoked([signed_out.sign_in_id]) == {signed_out.sign_in_id}
        await members_are(one, elsewhere, ADA, BOB)

        async def known_to_be_gone() -> bool:
            expiries = await two.servers.expiries()
            if expiries is None:
                return False  # for the first 9 s
            now = timestamp(two.clock.now())
            assert all(expiries[store.servers.server_name] > now for store in (one, two, three))
            return any(name.startswith("killed") and until < now for name, until in expiries.items())

        await eventually(known_to_be_gone, PATIENCE)
        with pytest.raises(StoreUnavailable):
            await one.presence.leave(there[0], ["ada"])  # it holds as soon as the store answers
        await backend.close(three)

    await lost.end()
    for room_id in there:
        await eventually(lambda room_id=room_id: appended(two, room_id), RECOVERED)
    await members_are(two, [there[0]], BOB)
    await members_are(two, [*there[1:], *elsewhere], ADA, BOB)
    for room_id in there + elsewhere:
        await served(one, two, room_id)
    assert await one.control.revoked([signed_out.sign_in_id]) == {signed_out.sign_in_id}


async def claimed(store: Store, duty: str) -> bool:
    """Claim a duty; False where the store does not answer, or somebody has it."""
    try:
        return await store.servers.claim(duty, 60)
    except StoreUnavailable:
        return False


async def announced(store: Store, notice: Notice) -> bool:
    """Announce something; False where the store does not take it, so that it is tried again as the server does."""
    try:
        await store.control.announce(notice)
    except StoreUnavailable:
        return False
    return True
