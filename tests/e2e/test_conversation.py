"""Fifty people talk in a dozen scripts, coming and going: everyone's record agrees with the acknowledgements.

It lasts 20 s; for another time set EVANESCE_TALK_SECONDS.
"""

from __future__ import annotations

import random

import trio

from tests.e2e.people import Person, conversation, ids
from tests.e2e.running import Server
from tests.e2e.talkers import PAUSE, TALK_SECONDS, Talk, Talker, check_contents, check_record

PEOPLE = 50


async def test_everyone_hears_the_same(server: Server, nursery: trio.Nursery) -> None:
    dice = random.Random(20261122)
    texts = conversation()
    observers = [await Person.arrive(server, nursery, name) for name in ("First observer", "Second observer")]
    room_id = (await observers[0].ask("create_room"))["roomId"]
    for observer in observers:
        await observer.join(room_id)
    talk = Talk(room_id, trio.current_time() + TALK_SECONDS)
    people = [await Person.arrive(server, nursery, f"Person {number}") for number in range(PEOPLE)]
    async with trio.open_nursery() as talking:
        for number, person in enumerate(people):
            late = 0.0 if number % 5 else dice.uniform(0, TALK_SECONDS / 2)
            talking.start_soon(Talker(person, talk, random.Random(number), texts).live, late)

    last = await talk.say(observers[0], "And that was all.")
    for person in (*observers, *people):
        await person.hears_of("message", messageId=last)
        await person.leave()

    order = ids(observers[0].messages())
    assert order == ids(observers[1].messages())
    assert len(order) == len(set(order)), "no message comes twice"
    assert set(talk.acknowledged) == set(order), "what was acknowledged was heard, and nothing else"
    assert len(order) > PEOPLE * TALK_SECONDS / PAUSE / 4
    for person in (*observers, *people):
        check_contents(person, talk)
        check_record(person, talk, order)
    assert " ERROR " not in server.errors
    assert " CRITICAL " not in server.errors
