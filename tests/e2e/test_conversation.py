"""Fifty people talk in a dozen scripts, coming and going: everyone's record agrees with the acknowledgements.

It lasts 20 s; for another time set EVANESCE_TALK_SECONDS.
"""

from __future__ import annotations

import random

import pytest
import trio

from tests.e2e.clients import ChatClient, conversation, ids
from tests.e2e.load import LOAD_SECONDS, PAUSE, LoadClient, Transcript, check_contents, check_record
from tests.e2e.running import Server
from tests.schemas import EventSchemas

pytestmark = pytest.mark.slow

CLIENTS = 50


async def test_everyone_hears_the_same(server: Server, nursery: trio.Nursery) -> None:
    dice = random.Random(20261122)
    texts = conversation()
    observers = [await ChatClient.open(server, nursery, name) for name in ("First observer", "Second observer")]
    room_id = (await observers[0].ask("create_room"))["roomId"]
    for observer in observers:
        await observer.join(room_id)
    chats = [await ChatClient.open(server, nursery, f"Client {number}") for number in range(CLIENTS)]
    transcript = Transcript(room_id, trio.current_time() + LOAD_SECONDS)
    async with trio.open_nursery() as running:
        for number, chat in enumerate(chats):
            delay = 0.0 if number % 5 else dice.uniform(0, LOAD_SECONDS / 2)
            running.start_soon(LoadClient(chat, transcript, random.Random(number), texts).run, delay)

    last = await transcript.send(observers[0], "And that was all.")
    for chat in (*observers, *chats):
        await chat.wait_for_event("message", messageId=last)
        await chat.close()

    order = ids(observers[0].messages())
    assert order == ids(observers[1].messages())
    assert len(order) == len(set(order)), "no message comes twice"
    assert set(transcript.acknowledged) == set(order), "what was acknowledged was received, and nothing else"
    assert len(order) > CLIENTS * LOAD_SECONDS / PAUSE / 4
    for chat in (*observers, *chats):
        check_contents(chat, transcript)
        check_record(chat, transcript, order)
    schemas = EventSchemas(server.ask("GET", "/api/v1/schema.json")[1])
    for observer in observers:
        for event in observer.record:
            schemas.check(event)
    assert " ERROR " not in server.errors
    assert " CRITICAL " not in server.errors
