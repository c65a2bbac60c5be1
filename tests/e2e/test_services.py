"""The task of a plugin on two workers with a real Valkey: what a service says, and what it counts, over both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from evanesce.client import Refused
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.patience import within

pytestmark = pytest.mark.slow

TTL = 3
CODE = """
import trio

from evanesce.errors import Rejected
from evanesce.hookspecs import hookimpl


class Bot:
    evanesce_api = "1.0"
    evanesce_sees_content = True
    server = None

    @hookimpl
    async def evanesce_run(self, server):
        self.server = server
        await trio.sleep_forever()

    @hookimpl
    async def evanesce_member_joined(self, room_id, display_name):
        if display_name == "Bob":
            await self.server.say(room_id, f"Welcome, {display_name}.", name="Door")

    @hookimpl
    async def evanesce_filter_message(self, draft):
        if draft.sender_id.startswith("service:"):
            return
        wait = await self.server.shared.take(f"{draft.room_id} {draft.sender_id}", 1 / 3600, 1)
        if wait:
            raise Rejected("Slow mode.", retry_after=wait)


plugin = Bot()
"""


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Return a server of two workers with the plugin `bot`, that has not been started."""
    site = tmp_path / "site"
    metadata = site / "bot-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "bot.py").write_text(CODE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bot\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[evanesce.plugins]\nbot = bot:plugin\n")
    folder = tmp_path / "server"
    folder.mkdir()
    enabled = "plugins.enabled=" + json.dumps(["guest", "sqlite", "quart", "bot"])
    settings = ("server.workers=2", f"server.secret={'s' * 32}", f"messages.ttl={TTL}", enabled)
    return Server(folder, *settings, environment={"PYTHONPATH": str(site)})


async def test_a_service_speaks_and_counts_over_all_workers(server: Server, nursery: trio.Nursery) -> None:
    with server, within(60):
        ada = await ChatClient.open(server, nursery, "Ada")
        room_id = (await ada.ask("create_room"))["roomId"]
        await ada.join(room_id)
        bob = await ChatClient.open(server, nursery, "Bob")
        await bob.join(room_id)
        said = await ada.wait_for_event("message", content="Welcome, Bob.")
        assert (said["senderId"], said["senderName"]) == ("service:bot", "Door (service)")
        key = f"evanesce:{{{room_id}}}:message:{said['messageId']}"
        redis = server.redis()
        assert redis.exists(key)
        assert 0 < redis.pttl(key) <= TTL * 1000
        await until(lambda: not redis.exists(key))
        # Whichever worker a connection of Ada's is on, she has written already.
        assert (await ada.say(room_id, "first"))["type"] == "sent"
        others = [await ada.open_another(server) for _ in range(4)]
        for other in others:
            await other.join(room_id)
            with pytest.raises(Refused, match=r"Slow mode\."):
                await other.say(room_id, "again")
        buckets = [name.decode() for name in redis.scan_iter("evanesce:{plugin:bot:*}:tokens")]
        assert len(buckets) == 1
        assert room_id not in buckets[0]
        nursery.cancel_scope.cancel()
