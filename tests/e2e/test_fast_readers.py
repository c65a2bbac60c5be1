"""Bursts that are larger than an outbox: who reads stays and gets all of it; who does not read is sent away in time."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable

import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from evanesce.client.errors import Disconnected, Refused
from tests.e2e.clients import ChatClient, ids, until
from tests.e2e.running import Server
from tests.patience import PATIENCE, undisturbed, within

pytestmark = pytest.mark.slow

GUESTS, EACH, SIZE = 16, 20, 4096


async def burst(server: Server, clients: list[ChatClient], room_id: str) -> None:
    """Pause the store for 1.2 s, have everybody send all messages at once meanwhile, and wait for their replies."""

    failures: list[Exception] = []

    async def say(client: ChatClient, text: str) -> None:
        try:
            await client.say(room_id, text)
        except (Refused, Disconnected) as error:
            failures.append(error)

    async def talk(client: ChatClient) -> None:
        async with trio.open_nursery() as sending:
            for number in range(EACH):
                text = f"{client.name} {number} ".ljust(SIZE, "x")
                sending.start_soon(say, client, text)

    valkey = server.redis()
    valkey.client_pause(1200, all=True)
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(talk, client)
    valkey.close()
    assert not failures


async def all_told(client: ChatClient) -> None:
    """Wait until somebody was told all messages, or was sent away, or for `PATIENCE`."""
    with trio.move_on_after(PATIENCE):
        while len(client.messages()) < GUESTS * EACH and client.connection.close_reason is None:
            await client.wait_for(lambda event: event["type"] == "message", after=len(client.record))


async def test_nobody_who_reads_is_sent_away_by_a_burst(serve: Callable[..., Server], nursery: trio.Nursery) -> None:
    server = serve()
    await undisturbed(lambda: everybody_stays(server, nursery))  # who takes nothing for 3 s does not read


async def everybody_stays(server: Server, nursery: trio.Nursery) -> None:
    """Let a crowd send and receive a burst."""
    clients = [await ChatClient.open(server, nursery, f"Guest {number}") for number in range(GUESTS)]
    room_id = (await clients[0].ask("create_room"))["roomId"]
    for client in clients:
        await client.join(room_id)
    await burst(server, clients, room_id)
    async with trio.open_nursery() as reading:
        for client in clients:
            reading.start_soon(all_told, client)
    assert [client.connection.close_reason for client in clients] == [None] * GUESTS
    first = ids(clients[0].messages())
    assert len(first) == len(set(first)) == GUESTS * EACH
    for client in clients:
        assert ids(client.messages()) == first, "all of them, in one order, each once"
    assert not any(event["type"] in ("skipped", "gap") for client in clients for event in client.record)
    for client in clients:
        await client.close()


def deaf_member(server: Server, token: str, room_id: str) -> socket.socket:
    """Join a room over a connection that is never read again."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.sendall(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    frames = Connection(ConnectionType.CLIENT)
    for command in ({"type": "hello", "token": token}, {"type": "join", "roomId": room_id}):
        client.sendall(frames.send(TextMessage(json.dumps(command))))
    return client


def sent_away_for_being_slow(server: Server) -> int:
    status, text = server.ask("GET", "/metrics")
    assert status == 200
    found = re.search(rb'^evanesce_connections_closed_total\{code="4413"\} (\d+)', text, re.MULTILINE)
    return 0 if found is None else int(found[1])


async def test_who_never_reads_is_sent_away_within_5_s_and_nobody_else(
    serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    server = serve("limits.messages_per_second=100000", "limits.burst=100000")
    ada, ben = [await ChatClient.open(server, nursery, name) for name in ("Ada", "Ben")]
    room_id = (await ada.ask("create_room"))["roomId"]
    for client in (ada, ben):
        await client.join(room_id)
    cyd = server.sign_in("Cyd")
    with deaf_member(server, cyd["token"], room_id):
        await ada.wait_for_event("member_joined", userId=cyd["userId"])
        for _ in range(50):  # 8 MiB: more than the kernel's buffers and the outbox take
            async with trio.open_nursery() as sending:
                for number in range(40):
                    sending.start_soon(ada.say, room_id, f"{number} ".ljust(SIZE, "x"))
        with within(5):
            await until(lambda: sent_away_for_being_slow(server) == 1)
        await ben.wait_for_event("member_left", userId=cyd["userId"])
    await until(lambda: len(ada.messages()) == 2_000)  # on a busy machine Ada reads later than Ben
    assert len(ben.messages()) == 2_000
    assert ids(ada.messages()) == ids(ben.messages())
    assert (ada.connection.close_reason, ben.connection.close_reason) == (None, None)
