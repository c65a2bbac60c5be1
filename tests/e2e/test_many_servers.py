"""Several servers on one Valkey: people who move between them, while connections and servers are lost at random.

It lasts 20 s; for another time, up to a minute, set EVANESCE_TALK_SECONDS.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import trio

from evanesce.client.errors import Refused
from tests.e2e.clients import ChatClient, conversation, ids
from tests.e2e.load import LOAD_SECONDS, Transcript, check_contents, check_record
from tests.e2e.reconnecting import ReconnectingClient, check_members, has_message, wait_before_retry
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey

pytestmark = pytest.mark.slow

ROOMS = 2
CLIENTS = 12
"""In each room."""

FAST = "limits.messages_per_second=100000", "limits.burst=100000"
REFUSED = ("store_unavailable", "message_not_found")
"""What people are told while Valkey is cut off; the second where the answer to taking something back was lost."""

FEW_BYTES, MANY_BYTES = 8192, 32 * 1024 * 1024
"""How much may wait in Valkey for a subscriber: while it is to lose one, and else."""


@pytest.fixture
def servers(serve_shared: Callable[..., Server]) -> list[Server]:
    return [serve_shared(*FAST) for _ in range(3)]


class Disturbance:
    """Repeated faults of the servers and of their connections to Valkey."""

    def __init__(
        self, valkey: Valkey, victim: Server, transcripts: Sequence[Transcript], senders: Sequence[ChatClient]
    ) -> None:
        self.valkey = valkey
        self.victim = victim
        self.transcripts = transcripts
        self.senders = senders
        self.cut = 0
        self.killed = 0
        self.overflowed = 0

    async def run(self, dice: random.Random) -> None:
        while trio.current_time() < self.transcripts[0].until:
            for disturb in dice.sample([self.cut_one, self.cut_one, self.cut_one, self.overflow, self.kill], 5):
                await disturb(dice)
                await trio.sleep(dice.uniform(0.1, 0.6))

    async def cut_one(self, dice: random.Random) -> None:
        def cut() -> None:
            connections = self.valkey.connections(dice.choice(["normal", "pubsub"]))
            if connections:
                self.valkey.cut(dice.choice(connections))
                self.cut += 1

        await trio.to_thread.run_sync(cut)

    async def overflow(self, dice: random.Random) -> None:
        """Send so much at once that Valkey closes the subscribers' connections because of their full buffers."""
        transcript, sender = dice.choice(list(zip(self.transcripts, self.senders, strict=True)))
        before = self.valkey.overflows
        await trio.to_thread.run_sync(self.valkey.set_subscriber_buffer, FEW_BYTES)
        while await trio.to_thread.run_sync(lambda: self.valkey.overflows) == before:
            async with trio.open_nursery() as sending:
                for number in range(40):
                    sending.start_soon(self.send, transcript, sender, f"{number} " + "x" * 3000)
        await trio.to_thread.run_sync(self.valkey.set_subscriber_buffer, MANY_BYTES)
        self.overflowed += 1

    async def send(self, transcript: Transcript, sender: ChatClient, content: str) -> None:
        message_id = transcript.new_message(sender, content)
        while message_id not in transcript.acknowledged:
            try:
                transcript.acknowledged[message_id] = await sender.say(transcript.room_id, content, message_id)
            except Refused as refused:
                await wait_before_retry(refused)

    async def kill(self, dice: random.Random) -> None:
        await trio.to_thread.run_sync(self.victim.kill)
        await trio.to_thread.run_sync(self.victim.start)
        self.killed += 1


async def test_everyone_hears_the_same_on_whichever_server(
    servers: list[Server], valkey: Valkey, nursery: trio.Nursery
) -> None:
    dice = random.Random(20261125)
    texts = conversation()
    steady = servers[:2]
    transcripts: list[Transcript] = []
    observers: list[list[ChatClient]] = []
    for number in range(ROOMS):
        watching = [await ChatClient.open(server, nursery, f"Observer {number}") for server in steady]
        room_id = (await watching[0].ask("create_room"))["roomId"]
        for observer in watching:
            await observer.join(room_id)
        transcripts.append(Transcript(room_id, trio.current_time()))
        observers.append(watching)
    loads: list[list[ReconnectingClient]] = []
    for transcript in transcripts:
        chats = [await ChatClient.open(dice.choice(servers), nursery, f"Client {number}") for number in range(CLIENTS)]
        loads.append(
            [ReconnectingClient(chat, transcript, random.Random(n), texts, servers) for n, chat in enumerate(chats)]
        )
    for transcript in transcripts:
        transcript.until = trio.current_time() + min(LOAD_SECONDS, 60)
    disturbance = Disturbance(valkey, servers[2], transcripts, [watching[0] for watching in observers])
    async with trio.open_nursery() as running:
        for load in loads:
            for client in load:
                running.start_soon(client.run, 0.0)
        running.start_soon(disturbance.run, dice)
    assert min(disturbance.cut, disturbance.killed, disturbance.overflowed) > 0
    assert sum(client.lost for load in loads for client in load) > 0

    for transcript, watching, load in zip(transcripts, observers, loads, strict=True):
        chats = [*watching, *(client.chat for client in load)]
        last = await transcript.send(watching[0], "And that was all.")
        for client in load:
            await client.ask("members")  # a client that has lost its connection without noticing reconnects
        for chat in chats:
            await chat.wait_for(partial(has_message, last))
        order = ids(watching[0].messages())
        assert order == ids(watching[1].messages()), "one order, on whichever server"
        assert len(order) == len(set(order)), "no message comes twice"
        assert set(transcript.acknowledged) == set(order), "what was acknowledged was received, and nothing else"
        assert len(order) > CLIENTS
        for chat in chats:
            check_contents(chat, transcript)
            check_record(chat, transcript, order, REFUSED)
        for observer in watching:
            await check_members(observer, transcript.room_id, {chat.user_id for chat in chats})
