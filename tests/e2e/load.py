"""Load clients that send, unsend and reconnect, and the checks that each of them received what was sent."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

import trio

from evanesce.client.connection import Fields
from tests.e2e.clients import ChatClient, ids, seconds

LOAD_SECONDS = float(os.environ.get("EVANESCE_TALK_SECONDS", "20"))
PAUSE = 5.0
"""The average pause of a client between two actions: fifty clients do ten actions a second together."""


@dataclass
class Transcript:
    """What the clients have sent to a room, as they know it themselves. They stop at the time `until`."""

    room_id: str
    until: float
    sent: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The sender and the content of each message, by its id, acknowledged or not."""
    acknowledged: dict[str, Fields] = field(default_factory=dict)
    unsent: set[str] = field(default_factory=set)

    async def send(self, client: ChatClient, content: str) -> str:
        """Send a message, and return its id."""
        message_id = self.new_message(client, content)
        self.acknowledged[message_id] = await client.say(self.room_id, content, message_id)
        return message_id

    def new_message(self, client: ChatClient, content: str) -> str:
        """Note that a client is going to send a message, and return its id."""
        message_id = str(uuid.uuid4())
        self.sent[message_id] = (client.user_id, content)
        return message_id


class LoadClient:
    """A client that sends messages, and sometimes unsends one, leaves the room or loses the connection."""

    pause = PAUSE

    def __init__(self, chat: ChatClient, transcript: Transcript, dice: random.Random, texts: list[str]) -> None:
        self.chat = chat
        self.transcript = transcript
        self.dice = dice
        self.texts = texts
        self.own: list[str] = []

    async def run(self, delay: float) -> None:
        """Join the room after `delay` seconds, and act until the end of the transcript."""
        await trio.sleep(delay)
        await self.ask("join")
        while True:
            await trio.sleep(self.dice.uniform(0, 2 * self.pause))
            if trio.current_time() >= self.transcript.until:
                return
            actions = [
                self.send_new,
                self.unsend,
                self.leave_and_join,
                self.reconnect,
                self.lose_connection,
                self.lose_connection_while_sending,
            ]
            await self.dice.choices(actions, weights=[70, 6, 8, 6, 6, 4])[0]()

    def new_message(self) -> tuple[str, str]:
        content = self.dice.choice(self.texts)
        return self.transcript.new_message(self.chat, content), content

    async def send_new(self) -> None:
        message_id, content = self.new_message()
        await self.send(message_id, content)
        self.own.append(message_id)

    async def unsend(self) -> None:
        if self.own:
            message_id = self.own.pop()
            self.transcript.unsent.add(message_id)
            await self.ask("unsend", messageId=message_id)

    async def leave_and_join(self) -> None:
        await self.ask("leave")
        await self.rejoin()

    async def reconnect(self) -> None:
        await self.chat.close()
        await self.rejoin(new_connection=True)

    async def lose_connection(self) -> None:
        await self.chat.abort()
        await self.rejoin(new_connection=True)

    async def lose_connection_while_sending(self) -> None:
        """Lose the connection before the acknowledgement, and send the message again with the same id."""
        message_id, content = self.new_message()
        send = {"type": "send", "roomId": self.transcript.room_id, "messageId": message_id, "content": content}
        await self.chat.connection.send(send)
        await self.lose_connection()
        await self.send(message_id, content)

    async def connect(self) -> None:
        await self.chat.connect()

    async def send(self, message_id: str, content: str) -> None:
        self.transcript.acknowledged[message_id] = await self.ask("send", messageId=message_id, content=content)

    async def ask(self, kind: str, **fields: str) -> Fields:
        """Send a command about the room, and return its reply."""
        return await self.chat.ask(kind, roomId=self.transcript.room_id, **fields)

    async def rejoin(self, *, new_connection: bool = False) -> None:
        await trio.sleep(self.dice.uniform(0, self.pause))
        if new_connection:
            await self.connect()
        await self.ask("join", since=self.chat.cursor(self.transcript.room_id))


def check_contents(client: ChatClient, transcript: Transcript) -> None:
    """Check that the messages that a client received are those that were sent."""
    for message in client.messages():
        message_id = message["messageId"]
        assert (message["senderId"], message["content"]) == transcript.sent[message_id]
        sent = transcript.acknowledged[message_id]
        assert (message["createdAt"], message["expiresAt"]) == (sent["createdAt"], sent["expiresAt"])


def check_record(client: ChatClient, transcript: Transcript, order: list[str], refused: Collection[str] = ()) -> None:
    """Check that `client` received all of `order` from its first `joined` on, once, except for those in `missed`.

    `refused` are the codes of errors that it may have received.
    """
    place = {message_id: number for number, message_id in enumerate(order)}
    received = ids(client.messages())
    places = [place[message_id] for message_id in received]
    assert places == sorted(set(places)), "one order, none twice"

    joined = [event for event in client.record if event["type"] == "joined"]
    first = ids(joined[0]["messages"])
    base = place[first[-1]] if first else -1
    joined_at = client.received_at[client.record.index(joined[0])]
    for message_id in order[: base + 1]:
        # The server may treat a message as a little older than it is, but never as younger.
        expired = seconds(transcript.acknowledged[message_id]["expiresAt"]) <= joined_at + 0.5
        assert message_id in first or message_id in transcript.unsent or expired

    missed = [reply["missed"] for reply in joined]
    absent = set(order[base + 1 :]) - set(received)
    assert missed[0] == 0
    assert None not in missed
    if any(reply["more"] for reply in joined):
        # A message that was unsent before the rest of a long history was read is not counted.
        assert sum(missed) <= len(absent)
    else:
        assert sum(missed) == len(absent)
    assert absent <= transcript.unsent, "no client was away for as long as a message lives"
    assert not [event["type"] for event in client.record if event["type"] in ("gap", "skipped")]
    assert {event["code"] for event in client.record if event["type"] == "error"} <= set(refused)

    unsent = {event["messageId"] for event in client.record if event["type"] == "unsent"}
    for reply in joined:
        unsent.update(reply["unsent"])
    for message_id in transcript.unsent & set(received):
        assert message_id in unsent
