"""Talkers who come back to whichever server there is, whatever becomes of the one they were on."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from evanesce.cli.client import Disconnected, Fields, Refused, Unreachable
from tests.e2e.people import Person, ids, until
from tests.e2e.running import Server
from tests.e2e.talkers import Talk, Talker


class Wanderer(Talker):
    """Comes back to whichever server there is, and asks until it is answered."""

    pause = 1.0

    def __init__(
        self, person: Person, talk: Talk, dice: random.Random, texts: list[str], servers: Sequence[Server]
    ) -> None:
        super().__init__(person, talk, dice, texts)
        self.servers = servers
        self.lost = 0

    async def ask(self, kind: str, **fields: str) -> Fields:
        """Ask until there is an answer, on whichever server."""
        while True:
            try:
                return await super().ask(kind, **fields)
            except Refused as refused:
                if kind == "unsend" and refused.code == "message_not_found":
                    return {}  # what was asked first was done, and the answer lost
                await a_moment(refused)
            except Disconnected:
                self.lost += 1
                await self.connect()
                if kind == "join":
                    fields["since"] = self.person.cursor(self.talk.room_id)
                else:
                    await self.ask("join", since=self.person.cursor(self.talk.room_id))

    async def connect(self) -> None:
        while True:
            self.person.server = self.dice.choice(self.servers)
            try:
                await super().connect()
            except (Unreachable, Disconnected):
                continue
            except Refused as refused:
                await a_moment(refused)
            else:
                return

    async def speak_and_vanish(self) -> None:
        try:
            await super().speak_and_vanish()
        except Disconnected:  # it was lost even before that
            await self.come_back(new_connection=True)


async def a_moment(refused: Refused) -> None:
    """Wait, as what the store refuses it may take in a moment: nothing tells when."""
    if not refused.retry:
        raise refused
    await trio.sleep(0.05)


def tells_of(message_id: str, event: Fields) -> bool:
    """Whether it is a message, or has it in its history."""
    return message_id in (event.get("messageId"), *ids(event.get("messages", ())))


async def all_are_there(person: Person, talk: Talk, present: set[str]) -> None:
    """Wait until somebody was told of all that are in the room, then have them named."""

    def counted() -> bool:
        counts = [event["memberCount"] for event in person.record if "memberCount" in event]
        return counts[-1] == len(present)

    await until(counted)
    members = await person.ask("members", roomId=talk.room_id)
    assert {member["userId"] for member in members["members"]} == present
    assert members["memberCount"] == len(present)
