"""Servers that encrypt: people notice nothing, and when a message has ended its key is in no process's memory."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import redis
import trio
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from evanesce.model import Message
from evanesce.store.sealing.exchange import KeyExchange
from evanesce.store.sealing.key_chain import BLOCK
from evanesce.store.sealing.keyring import Keyring
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server, children
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE
from tests.process_memory import copies

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

TTL = 3
SECRET = "s" * 32
CHANNEL = "evanesce:{servers}:keys"
ENCRYPTED = ("messages.encrypt_at_rest=true", f"messages.ttl={TTL}")


class Peer:
    """Someone with the secret and with Redis, who gets the keys of the servers as another server does."""

    def __init__(self, client: redis.Redis) -> None:
        self.keyring = Keyring(TTL * 1000, self._now())
        exchange = KeyExchange(self.keyring, SECRET, "peer")
        listening = client.pubsub()
        listening.ssubscribe(CHANNEL)
        client.spublish(CHANNEL, exchange.greeting())
        deadline = time.monotonic() + PATIENCE
        while len(self.keyring.known) < 2:
            assert time.monotonic() < deadline, "no server offered its keys"
            said = listening.get_sharded_message(timeout=1.0)
            if said is not None and said["type"] == "smessage":
                for notice in exchange.receive(said["data"], 0.0).offers:
                    client.spublish(CHANNEL, notice)
        listening.close()
        [self.chain] = set(self.keyring.known) - {self.keyring.own}

    @staticmethod
    def _now() -> int:
        return int(time.time() * 1000)

    def keys_up_to(self, period: int) -> list[bytes]:
        """Return the key of a period, and the inner keys of which it follows, as they are in memory."""
        exported = self.keyring.export(self.chain)
        first, inner, outer = int.from_bytes(exported[8:16], "big"), exported[24:56], exported[56:88]
        keys: list[bytes] = []
        for now in range(first, period + 1):
            if now // BLOCK != (now - 1) // BLOCK and now != first:
                inner, outer = halves(outer)
            keys.append(inner)
            key, inner = halves(inner)
        return [key, *keys]


def halves(key: bytes) -> tuple[bytes, bytes]:
    blocks = b"".join(number.to_bytes(16, "big") for number in range(4))
    made = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(blocks)
    return made[:32], made[32:]


async def test_when_a_message_has_ended_its_key_is_in_no_memory(
    serve_shared: Callable[..., Server], valkey: Valkey, nursery: trio.Nursery
) -> None:
    server = serve_shared(*ENCRYPTED)
    with redis.Redis.from_url(valkey.url) as client:
        ana = await ChatClient.open(server, nursery, "Ana")
        room_id = (await ana.ask("create_room"))["roomId"]
        await ana.join(room_id)
        peer = await trio.to_thread.run_sync(Peer, client)
        canary = f"canary {uuid.uuid4()}"
        sent = await ana.say(room_id, canary)
        body = client.get(f"evanesce:{{{room_id}}}:message:{sent['messageId']}")
        assert isinstance(body, bytes)
        assert b"canary" not in body
        stored = msgspec.json.decode(body, type=Message)
        read = peer.keyring.open(stored)
        assert read is not None
        assert read.content == canary, "the peer has the key"
        period = int(stored.content.split(".")[1])
        keys = peer.keys_up_to(period)
        assert server.process is not None
        processes = [server.process.pid, *children(server.process.pid)]
        before = [sum(copies(pid, keys)) for pid in processes]
        assert before[0] > 0, "the server has it while the message lives"

        def gone() -> bool:
            return time.time() * 1000 > (period + 1) * 500 and not any(sum(copies(pid, keys)) for pid in processes)

        await until(gone)
        assert sum(copies(client.info("server")["process_id"], [canary.encode()])) == 0


async def test_people_on_two_servers_talk_and_come_back(
    serve_shared: Callable[..., Server], nursery: trio.Nursery
) -> None:
    one, other = serve_shared(ENCRYPTED[0]), serve_shared(ENCRYPTED[0])
    ana, ben = await ChatClient.open(one, nursery, "Ana"), await ChatClient.open(other, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    for number in range(20):
        await (ana, ben)[number % 2].say(room_id, f"message {number}")
    for client in (ana, ben):
        await client.wait_for_event("message", content="message 19")
        assert client.contents() == [f"message {number}" for number in range(20)]
    await trio.to_thread.run_sync(one.stop)
    cyd = await ChatClient.open(other, nursery, "Cyd")
    joined = await cyd.join(room_id)
    assert [message["content"] for message in joined["messages"]] == [f"message {number}" for number in range(20)]


async def test_workers_share_their_keys(serve_shared: Callable[..., Server], nursery: trio.Nursery) -> None:
    server = serve_shared(ENCRYPTED[0], "server.workers=3")
    people = [await ChatClient.open(server, nursery, f"Guest {number}") for number in range(6)]
    room_id = (await people[0].ask("create_room"))["roomId"]
    for person in people:
        await person.join(room_id)
    for number, person in enumerate(people):
        await person.say(room_id, f"message {number}")
    for person in people:
        await person.wait_for(lambda _, person=person: len(person.contents()) == 6)  # type: ignore[misc]
        assert sorted(person.contents()) == [f"message {number}" for number in range(6)]


def fills_memory(pid: int) -> bool:
    """Return whether a process overwrites what it frees; it may have ended, or be about to start its program again."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "PYTHONMALLOC=malloc\0" in environment and "glibc.malloc.perturb=255" in environment


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_server_that_encrypts_from_a_restart_on_overwrites_what_it_frees(
    serve: Callable[..., Server], nursery: trio.Nursery, workers: int
) -> None:
    """By SIGHUP, and where a worker has ended and is started again."""
    server = serve(f"server.secret={SECRET}", f"messages.ttl={TTL}", f"server.workers={workers}")
    assert server.process is not None

    def filled() -> list[bool]:
        assert server.process is not None
        return list(map(fills_memory, server.workers().values() if workers > 1 else [server.process.pid]))

    assert not any(filled())
    (server.folder / "config.toml").write_text("[messages]\nencrypt_at_rest = true")
    server.send_signal(signal.SIGHUP)
    await until(lambda: filled() == [True] * workers, PATIENCE)
    if workers > 1:
        await until(lambda: "all workers were restarted" in server.errors, PATIENCE)
        first = server.workers()[1]
        os.kill(first, signal.SIGKILL)
        await until(lambda: server.workers().get(1) not in (None, first), PATIENCE)
        await until(lambda: filled() == [True] * workers, PATIENCE)
    await until(lambda: server.listeners() == workers, PATIENCE)
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ana.say(room_id, "hello")
    await ana.wait_for_event("message", content="hello")
    assert "Traceback" not in server.errors
