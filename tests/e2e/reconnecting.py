"""Load clients that connect to another server whenever they lose their connection."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from evanesce.client.connection import Fields
from evanesce.client.errors import Disconnected, Refused, Unreachable
from tests.e2e.clients import ChatClient, ids, until
from tests.e2e.load import LoadClient, Transcript
from tests.e2e.running import Server


class ReconnectingClient(LoadClient):
    """A load client that connects to any of `servers`, and repeats each command until it has a reply.

    `lost` is the number of connections that it has lost.
    """

    pause = 1.0

    def __init__(
        self,
        chat: ChatClient,
        transcript: Transcript,
        dice: random.Random,
        texts: list[str],
        servers: Sequence[Server],
    ) -> None:
        super().__init__(chat, transcript, dice, texts)
        self.servers = servers
        self.lost = 0

    async def ask(self, kind: str, **fields: str) -> Fields:
        """Send a command until there is a reply, on any server."""
        while True:
            try:
                return await super().ask(kind, **fields)
            except Refused as refused:
                if kind == "unsend" and refused.code == "message_not_found":
                    return {}  # the first attempt succeeded, and its reply was lost
                await wait_before_retry(refused)
            except Disconnected:
                self.lost += 1
                await self.connect()
                since = self.chat.cursor(self.transcript.room_id)
                if kind == "join":
                    fields["since"] = since
                else:
                    await self.ask("join", since=since)

    async def connect(self) -> None:
        while True:
            self.chat.server = self.dice.choice(self.servers)
            try:
                await super().connect()
            except (Unreachable, Disconnected):
                continue
            except Refused as refused:
                await wait_before_retry(refused)
            else:
                return

    async def lose_connection_while_sending(self) -> None:
        try:
            await super().lose_connection_while_sending()
        except Disconnected:  # it was lost even before sending
            await self.rejoin(new_connection=True)


async def wait_before_retry(refused: Refused) -> None:
    """Wait for a moment if the command may be retried. Raises `refused` otherwise."""
    if not refused.retry:
        raise refused
    await trio.sleep(0.05)


def has_message(message_id: str, event: Fields) -> bool:
    """Return whether an event is this message, or has it in its history."""
    return message_id in (event.get("messageId"), *ids(event.get("messages", ())))


async def check_members(client: ChatClient, room_id: str, expected: set[str]) -> None:
    """Wait until the client has received the number of expected members, and then request and check the members."""

    def counted() -> bool:
        counts = [event["memberCount"] for event in client.record if "memberCount" in event]
        return counts[-1] == len(expected)

    await until(counted)
    members = await client.ask("members", roomId=room_id)
    assert {member["userId"] for member in members["members"]} == expected
    assert members["memberCount"] == len(expected)
