"""What somebody is told who joins a room on a server that has had no members in it: two servers on one Valkey."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from tests.e2e.clients import ChatClient
from tests.e2e.running import Server

pytestmark = pytest.mark.slow


async def test_who_joins_on_another_server_hears_the_votes_and_mutes_that_run(
    serve_shared: Callable[..., Server], nursery: trio.Nursery
) -> None:
    one, two = serve_shared(), serve_shared()
    ana, ben, cyd, dan = [await ChatClient.open(one, nursery, name) for name in ("Ana", "Ben", "Cyd", "Dan")]
    room_id = str((await ana.ask("create_room"))["roomId"])
    for client in (ana, ben, cyd, dan):
        await client.join(room_id)
    of_ben, of_dan = ({"roomId": room_id, "userId": client.user_id} for client in (ben, dan))
    await ana.ask("mute", **of_ben, seconds=100)
    told = await cyd.wait_for_event("member_muted", **of_ben)
    await ana.ask("leave", roomId=room_id)
    ballot = await ben.ask("vote_remove", **of_dan)
    eve = await ChatClient.open(two, nursery, "Eve")
    await eve.join(room_id)
    muted = await eve.wait_for_event("member_muted", **of_ben)
    assert muted["until"] == told["until"]
    vote = await eve.wait_for_event("vote", **of_dan)
    expected = {"votes": 1, "needed": 2, "expiresAt": ballot["expiresAt"]}
    assert {name: vote[name] for name in expected} == expected
    assert "outcome" not in vote
    await eve.ask("vote_remove", **of_dan)
    await eve.wait_for_event("vote", **of_dan, outcome="removed")
    assert (await eve.wait_for_event("member_left", **of_dan))["removed"] is True
    await ana.ask("close_room", roomId=room_id)
