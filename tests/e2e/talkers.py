"""People who talk and are restless, what they said, and whether what each of them was told agrees with it."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

import trio

from evanesce.cli.client import Fields
from tests.e2e.people import Person, ids, seconds

TALK_SECONDS = float(os.environ.get("EVANESCE_TALK_SECONDS", "20"))
PAUSE = 5.0
"""How long a person waits between two things, on average: fifty do ten things a second, all together."""


@dataclass
class Talk:
    """What was said, by those who said it."""

    room_id: str
    until: float
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Message id → who said it, and what."""
    acknowledged: dict[str, Fields] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)

    async def say(self, person: Person, content: str) -> str:
        """Have somebody say something; gives the message's id."""
        message_id = self.new_message(person, content)
        self.acknowledged[message_id] = await person.say(self.room_id, content, message_id)
        return message_id

    def new_message(self, person: Person, content: str) -> str:
        """Note that somebody is about to say something; gives the id for it."""
        message_id = str(uuid.uuid4())
        self.said[message_id] = (person.user_id, content)
        return message_id


class Talker:
    """A person with something to say, and restless."""

    pause = PAUSE

    def __init__(self, person: Person, talk: Talk, dice: random.Random, texts: list[str]) -> None:
        self.person = person
        self.talk = talk
        self.dice = dice
        self.texts = texts
        self.own: list[str] = []

    async def live(self, late: float) -> None:
        await trio.sleep(late)
        await self.ask("join")
        while True:
            await trio.sleep(self.dice.uniform(0, 2 * self.pause))
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
        content = self.dice.choice(self.texts)
        return self.talk.new_message(self.person, content), content

    async def speak(self) -> None:
        message_id, content = self.next()
        await self.say(message_id, content)
        self.own.append(message_id)

    async def take_back(self) -> None:
        if self.own:
            message_id = self.own.pop()
            self.talk.taken_back.add(message_id)
            await self.ask("unsend", messageId=message_id)

    async def step_out(self) -> None:
        await self.ask("leave")
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
        said = {"type": "send", "roomId": self.talk.room_id, "messageId": message_id, "content": content}
        await self.person.present.send(said)
        await self.lose_connection()
        await self.say(message_id, content)

    async def connect(self) -> None:
        await self.person.connect()

    async def say(self, message_id: str, content: str) -> None:
        self.talk.acknowledged[message_id] = await self.ask("send", messageId=message_id, content=content)

    async def ask(self, kind: str, **fields: str) -> Fields:
        """Ask something of the room."""
        return await self.person.ask(kind, roomId=self.talk.room_id, **fields)

    async def come_back(self, *, new_connection: bool = False) -> None:
        await trio.sleep(self.dice.uniform(0, self.pause))
        if new_connection:
            await self.connect()
        await self.ask("join", since=self.person.cursor(self.talk.room_id))


def check_contents(person: Person, talk: Talk) -> None:
    for message in person.messages():
        message_id = message["messageId"]
        assert (message["senderId"], message["content"]) == talk.said[message_id]
        sent = talk.acknowledged[message_id]
        assert (message["createdAt"], message["expiresAt"]) == (sent["createdAt"], sent["expiresAt"])


def check_record(person: Person, talk: Talk, order: list[str], refused: Collection[str] = ()) -> None:
    """Check that `person` heard all of `order` from the first `joined` on, once, but for what `missed` counts.

    `refused` are the errors that may have been told.
    """
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
    assert not [event["type"] for event in person.record if event["type"] in ("gap", "skipped")]
    assert {event["code"] for event in person.record if event["type"] == "error"} <= set(refused)

    told = {event["messageId"] for event in person.record if event["type"] == "unsent"}
    for visit in visits:
        told.update(visit["unsent"])
    for message_id in talk.taken_back & set(heard):
        assert message_id in told
