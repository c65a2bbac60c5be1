"""How long a message lives, and what somebody who comes back is told."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pytest
import trio

from evanesce.client.errors import Refused
from tests.e2e.clients import ChatClient, ids, seconds
from tests.e2e.running import Server

pytestmark = pytest.mark.slow


async def until(moment: str) -> None:
    """Wait until it is later than `moment` of the store's clock, which is this machine's here."""
    await trio.sleep(max(0.0, seconds(moment) - time.time()) + 0.02)


@pytest.fixture
def brief(serve: Callable[..., Server]) -> Server:
    """A server where messages live for 6 s: longer than a busy machine takes for what is done with them."""
    return serve("messages.ttl=6", "limits.messages_per_second=1000", "limits.burst=1000")


async def test_late_comers_get_what_lives_and_nothing_else(brief: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(brief, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    early = [await ana.say(room_id, f"early {number}") for number in range(5)]
    for sent in early:
        assert seconds(sent["expiresAt"]) - seconds(sent["createdAt"]) == pytest.approx(6)

    ben = await ChatClient.open(brief, nursery, "Ben")
    assert ids((await ben.join(room_id))["messages"]) == ids(early)

    await trio.sleep(3)
    late = await ana.say(room_id, "late")
    await until(early[-1]["expiresAt"])
    carl = await ChatClient.open(brief, nursery, "Carl")
    joined = await carl.join(room_id)
    assert ids(joined["messages"]) == ids([late])
    assert joined["missed"] == 0

    await until(late["expiresAt"])
    dora = await ChatClient.open(brief, nursery, "Dora")
    assert (await dora.join(room_id))["messages"] == []
    for client in (ana, ben, carl, dora):
        for event, heard_at in zip(client.record, client.received_at, strict=True):
            for message in event["messages"] if event["type"] == "joined" else [event]:
                if message["type"] == "message":
                    assert heard_at < seconds(message["expiresAt"]), "nobody is sent a message that has expired"
    with brief.redis() as redis:
        assert list(redis.scan_iter("*:message:*")) == []


async def test_what_expired_or_was_taken_back_is_missed(brief: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(brief, nursery, "Ana")
    ben = await ChatClient.open(brief, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    seen = await ana.say(room_id, "seen")
    await ben.wait_for_event("message", messageId=seen["messageId"])
    cursor = ben.cursor(room_id)
    await ben.abort()

    for number in range(3):
        expired = await ana.say(room_id, f"expires {number}")
    await trio.sleep(3)
    taken_back = await ana.say(room_id, "taken back")
    kept = [await ana.say(room_id, "kept")]
    await ana.ask("unsend", roomId=room_id, messageId=taken_back["messageId"])
    kept.append(await ana.say(room_id, "kept too"))
    await until(expired["expiresAt"])

    await ben.connect()
    joined = await ben.join(room_id, cursor)
    assert ids(joined["messages"]) == ids(kept)
    assert joined["missed"] == 4
    assert joined["unsent"] == []

    await until(kept[-1]["expiresAt"])
    again = await ben.join(room_id, cursor)
    assert (again["messages"], again["missed"]) == ([], 6)
    assert (await ben.join(room_id, again["cursor"]))["missed"] == 0


async def test_coming_back_gives_exactly_what_was_missed(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    ben = await ChatClient.open(server, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    before = [await ana.say(room_id, f"before {number}") for number in range(3)]
    await ben.wait_for_event("message", messageId=before[-1]["messageId"])
    cursor = ben.cursor(room_id)
    await ben.abort()
    during = [await ana.say(room_id, f"during {number}") for number in range(3)]
    await ana.ask("unsend", roomId=room_id, messageId=before[1]["messageId"])
    await ana.ask("unsend", roomId=room_id, messageId=during[1]["messageId"])

    await ben.connect()
    joined = await ben.join(room_id, cursor)
    assert ids(joined["messages"]) == ids([during[0], during[2]])
    assert joined["missed"] == 1
    assert joined["unsent"] == [before[1]["messageId"]]
    assert joined["cursor"] == joined["messages"][-1]["cursor"]
    after = await ana.say(room_id, "after")
    await ben.wait_for_event("message", messageId=after["messageId"])
    assert ids(ben.messages()) == ids([*before, during[0], during[2], after])


async def test_a_long_history_comes_in_order_and_before_anything_newer(
    serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    server = serve("messages.history=5", "limits.messages_per_second=1000", "limits.burst=1000")
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    said = [await ana.say(room_id, f"number {number}") for number in range(23)]

    ben = await ChatClient.open(server, nursery, "Ben")
    joined = await ben.join(room_id)
    said.append(await ana.say(room_id, "newer"))
    assert joined["more"] is True
    assert ids(joined["messages"]) == ids(said[:5])
    assert joined["cursor"] == joined["messages"][-1]["cursor"]
    await ben.wait_for_event("message", messageId=said[-1]["messageId"])
    assert ids(ben.messages()) == ids(said)
    assert (await ben.join(room_id, ben.cursor(room_id)))["messages"] == []


async def test_a_cursor_that_means_nothing(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    rooms = [(await ana.ask("create_room"))["roomId"] for _ in range(2)]
    for room_id in rooms:
        await ana.join(room_id)
        await ana.say(room_id, "here")
    for since in (ana.cursor(rooms[1]), "nonsense", ""):
        joined = await ana.join(rooms[0], since)
        assert joined["missed"] is None
        assert [message["content"] for message in joined["messages"]] == ["here"]


async def test_one_id_is_stored_and_broadcast_once(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    ben = await ChatClient.open(server, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    same = str(uuid.uuid4())
    answers = []

    async def say() -> None:
        answers.append(await ana.say(room_id, "once", same))

    async with trio.open_nursery() as saying:
        for _ in range(20):
            saying.start_soon(say)
    await ana.say(room_id, "done")
    await ben.wait_for_event("message", content="done")
    assert ben.contents() == ["once", "done"]
    assert [answer["duplicate"] for answer in answers].count(False) == 1
    assert len({(answer["createdAt"], answer["expiresAt"]) for answer in answers}) == 1
    with server.redis() as redis:
        assert len(list(redis.scan_iter(f"*{same}"))) == 1
    with pytest.raises(Refused) as refused:
        await ben.say(room_id, "mine", same)
    assert refused.value.code == "conflict"
