"""Fifty people talk in a dozen scripts, coming and going: everyone's record agrees with the acknowledgements.

It lasts 20 s; for another time set EVANESCE_TALK_SECONDS.
"""

from __future__ import annotations

import os
import random
import uuid
from dataclasses import dataclass, field

import trio

from evanesce.cli.client import Fields
from tests.e2e.people import Person, conversation, ids, seconds
from tests.e2e.running import Server

PEOPLE = 50
TALK_SECONDS = float(os.environ.get("EVANESCE_TALK_SECONDS", "20"))
PAUSE = 5.0
"""How long a person waits between two things, on average; ten messages a second for all together."""


@dataclass
class Talk:
    """What was said, by those who said it."""

    room_id: str
    until: float
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Message id → who said it, and what."""
    acknowledged: dict[str, Fields] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)


class Talker:
    """A person with something to say, and restless."""

    def __init__(self, person: Person, talk: Talk, dice: random.Random, texts: list[str]) -> None:
        self.person = person
        self.talk = talk
        self.dice = dice
        self.texts = texts
        self.own: list[str] = []

    async def live(self, late: float) -> None:
        await trio.sleep(late)
        await self.person.join(self.talk.room_id)
        while True:
            await trio.sleep(self.dice.uniform(0, 2 * PAUSE))
            if trio.current_time() >= self.talk.until:
                return
            doing = [
                self.speak,
                self.take_back,
                self.step_out,
                self.go_away,
                self.lose_connection,
                self.speak_and_vanish,
            ]
            await self.dice.choices(doing, weights=[70, 6, 8, 6, 6, 4])[0]()

    def next(self) -> tuple[str, str]:
        message_id, content = str(uuid.uuid4()), self.dice.choice(self.texts)
        self.talk.said[message_id] = (self.person.user_id, content)
        return message_id, content

    async def speak(self) -> None:
        message_id, content = self.next()
        self.talk.acknowledged[message_id] = await self.person.say(self.talk.room_id, content, message_id)
        self.own.append(message_id)

    async def take_back(self) -> None:
        if self.own:
            message_id = self.own.pop()
            self.talk.taken_back.add(message_id)
            await self.person.ask("unsend", roomId=self.talk.room_id, messageId=message_id)

    async def step_out(self) -> None:
        await self.person.ask("leave", roomId=self.talk.room_id)
        await self.come_back()

    async def go_away(self) -> None:
        await self.person.leave()
        await self.come_back(new_connection=True)

    async def lose_connection(self) -> None:
        await self.person.drop()
        await self.come_back(new_connection=True)

    async def speak_and_vanish(self) -> None:
        """Lose the connection before the acknowledgement, and say it once more under the same id."""
        message_id, content = self.next()
        room_id = self.talk.room_id
        await self.person.present.send({"type": "send", "roomId": room_id, "messageId": message_id, "content": content})
        await self.lose_connection()
        self.talk.acknowledged[message_id] = await self.person.say(room_id, content, message_id)

    async def come_back(self, *, new_connection: bool = False) -> None:
        await trio.sleep(self.dice.uniform(0, PAUSE))
        if new_connection:
            await self.person.connect()
        await self.person.join(self.talk.room_id, self.person.cursor(self.talk.room_id))


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

    last, content = str(uuid.uuid4()), "And that was all."
    talk.said[last] = (observers[0].user_id, content)
    talk.acknowledged[last] = await observers[0].say(room_id, content, last)
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


def check_contents(person: Person, talk: Talk) -> None:
    for message in person.messages():
        message_id = message["messageId"]
        assert (message["senderId"], message["content"]) == talk.said[message_id]
        sent = talk.acknowledged[message_id]
        assert (message["createdAt"], message["expiresAt"]) == (sent["createdAt"], sent["expiresAt"])


def check_record(person: Person, talk: Talk, order: list[str]) -> None:
    """Check that `person` heard all of `order` from the first `joined` on, once, but for what `missed` counts."""
    place = {message_id: number for number, message_id in enumerate(order)}
    heard = ids(person.messages())
    places = [place[message_id] for message_id in heard]
    assert places == sorted(set(places)), "one order, none twice"

    visits = [event for event in person.record if event["type"] == "joined"]
    first = ids(visits[0]["messages"])
    base = place[first[-1]] if first else -1
    arrived = person.heard_at[person.record.index(visits[0])]
    for message_id in order[: base + 1]:
        # The server never takes a message for younger than it is, and may take it for a little older.
        expired = seconds(talk.acknowledged[message_id]["expiresAt"]) <= arrived + 0.5
        assert message_id in first or message_id in talk.taken_back or expired

    missed = [visit["missed"] for visit in visits]
    absent = set(order[base + 1 :]) - set(heard)
    assert missed[0] == 0
    assert None not in missed
    if any(visit["more"] for visit in visits):
        # What was taken back before the rest of a long history was read is in no count.
        assert sum(missed) <= len(absent)
    else:
        assert sum(missed) == len(absent)
    assert absent <= talk.taken_back, "nobody was away for as long as a message lives"
    assert not [event for event in person.record if event["type"] in ("gap", "skipped", "error")]

    told = {event["messageId"] for event in person.record if event["type"] == "unsent"}
    for visit in visits:
        told.update(visit["unsent"])
    for message_id in talk.taken_back & set(heard):
        assert message_id in told
