"""Load on all workers of a server: clients that stay and reconnect as the protocol says, and ones that come and go."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from evanesce.client.connection import CloseReason
from evanesce.client.errors import Disconnected, Refused, Unreachable
from tests.e2e.clients import ChatClient, conversation, ids, until
from tests.e2e.load import Transcript, check_contents, check_record
from tests.e2e.reconnecting import ReconnectingClient, check_members, has_message, wait_before_retry
from tests.e2e.running import Server
from tests.patience import PATIENCE

SENDERS = 6


async def metric_of_workers(server: Server, name: str) -> dict[int, int]:
    """Return a metric of each worker. The request is repeated until every worker answers it."""
    found: dict[int, int] = {}
    with trio.fail_after(PATIENCE):
        while found.keys() != server.workers().keys():
            _, text = await trio.to_thread.run_sync(server.ask, "GET", "/metrics")
            values = re.findall(rf'^evanesce_{name}\{{worker="(\d+)"\}} (\d+)\.0$', text.decode(), re.MULTILINE)
            found = {int(worker): int(value) for worker, value in values}
    return found


async def sessions(server: Server) -> dict[int, int]:
    """Return the number of connections of each worker."""
    return await metric_of_workers(server, "sessions")


async def connect_to_all_workers(server: Server, nursery: trio.Nursery, least: int) -> list[ChatClient]:
    """Connect clients until each worker has at least `least` of them: the kernel chooses the worker."""
    clients: list[ChatClient] = []
    while min((await sessions(server)).values()) < least:
        clients.append(await ChatClient.open(server, nursery, f"Client {len(clients)}"))
    return clients


class LongLivedClient:
    """A client that stays in a room, and reconnects as the server's `goodbye` says."""

    def __init__(self, chat: ChatClient) -> None:
        self.chat = chat
        self.close_reasons: list[CloseReason] = []

    async def stay(self, room_id: str) -> None:
        while True:
            await self.chat.wait_closed()
            reason = self.chat.connection.close_reason
            assert reason is not None
            self.close_reasons.append(reason)
            await trio.sleep(reason.reconnect_after or 0.0)
            await self.rejoin(room_id)

    async def rejoin(self, room_id: str) -> None:
        while True:
            try:
                await self.chat.connect()
                await self.chat.join(room_id, self.chat.cursor(room_id))
            except (Unreachable, Disconnected):
                continue
            except Refused as refused:
                await wait_before_retry(refused)
            else:
                return


class Sender(ReconnectingClient):
    """A load client that does not unsend messages, so that no client may miss any."""

    async def unsend(self) -> None:
        await self.send_new()


class WorkerLoad:
    """A room with long-lived clients on every worker, and with senders that reconnect all the time."""

    def __init__(
        self, server: Server, transcript: Transcript, clients: list[LongLivedClient], senders: list[Sender]
    ) -> None:
        self.server = server
        self.transcript = transcript
        self.clients = clients
        self.senders = senders

    @classmethod
    async def start(cls, server: Server, nursery: trio.Nursery) -> WorkerLoad:
        clients = [LongLivedClient(chat) for chat in await connect_to_all_workers(server, nursery, 2)]
        room_id = (await clients[0].chat.ask("create_room"))["roomId"]
        for client in clients:
            await client.chat.join(room_id)
        transcript = Transcript(room_id, float("inf"))
        texts = conversation()
        chats = [await ChatClient.open(server, nursery, f"Sender {number}") for number in range(SENDERS)]
        senders = [Sender(chat, transcript, random.Random(n), texts, [server]) for n, chat in enumerate(chats)]
        for sender in senders:
            await sender.ask("join")
        return cls(server, transcript, clients, senders)

    async def run_during(self, disturbance: Callable[[], Awaitable[None]]) -> None:
        """Run the load while `disturbance` runs, and then check what each client has received."""
        transcript = self.transcript
        async with trio.open_nursery() as staying:
            for client in self.clients:
                staying.start_soon(client.stay, transcript.room_id)
            async with trio.open_nursery() as sending:
                for sender in self.senders:
                    sending.start_soon(sender.run, 0.0)
                await until(lambda: len(transcript.acknowledged) >= 5)
                await disturbance()
                before = len(transcript.acknowledged)
                await until(lambda: len(transcript.acknowledged) >= before + 5)
                transcript.until = 0.0
            await self.check()
            staying.cancel_scope.cancel()

    async def check(self) -> None:
        senders, transcript = self.senders, self.transcript
        last = transcript.new_message(senders[0].chat, "And that was all.")
        await senders[0].send(last, "And that was all.")
        for sender in senders:
            await sender.ask("members")  # a sender that has lost its connection without noticing reconnects
        chats = [client.chat for client in self.clients] + [sender.chat for sender in senders]
        for chat in chats:
            await chat.wait_for(partial(has_message, last))
        order = ids(self.clients[0].chat.messages())
        assert len(order) == len(set(order)), "no message comes twice"
        assert set(transcript.acknowledged) == set(order), "what was acknowledged was received, and nothing else"
        for chat in chats:
            check_contents(chat, transcript)
            check_record(chat, transcript, order)
            assert {event["missed"] for event in chat.record if event["type"] == "joined"} == {0}
        for client in self.clients:
            assert ids(client.chat.messages()) == order, "one order, on every worker"
            await check_members(client.chat, transcript.room_id, {chat.user_id for chat in chats})
