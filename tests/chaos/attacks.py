"""Attacks on a server, each in a process of its own: `python -m tests.chaos.attacks JOB`.

The process prints `started` when the attack has begun, attacks until the end of its standard input, and then prints
its counts as one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from tests.benchmarks.load.wire import text, upgrade
from tests.chaos.client import ATTACK_ADDRESS, Client, ConnectionEnded, connected, dial, signed_in

RECONNECT_SECONDS = 0.05
"""How long an attacker waits before it connects again."""

CONNECT_SECONDS = 5.0
"""How long all connections of an attack may take."""

LEFT_AFTER_SECONDS = 12.0
"""How long after the last connection the open connections without `hello` are counted."""

_MASK = b"\x12\x34\x56\x78"
_JSON_PING = text('{"type":"ping"}')
_PING = b"\x89\x80" + _MASK
_FIRST_FRAGMENT = b"\x01\x81" + _MASK + b"a"
_FRAGMENT = b"\x00\x81" + _MASK + b"a"
_SMALL_BUFFER = 4096

FREEZING_FRAME = text('"' + '\\"' * 32_750 + "[" * 33)
"""64 KiB: an unclosed JSON string of escaped quotes, and brackets."""


@dataclass
class Job:
    """An attack on the server at `port` by a number of `attackers`. Some attacks need `rooms` or a `body`."""

    name: str
    port: int
    attackers: int
    rooms: list[str] = field(default_factory=list[str])
    body: str = ""
    tally: Counter[str] = field(default_factory=Counter[str], init=False)

    def described(self) -> dict[str, Any]:
        """Return the fields that another process makes the same job from."""
        return {name: value for name, value in vars(self).items() if name != "tally"}


async def flood(job: Job, act: Callable[[Client], Awaitable[None]]) -> None:
    """Connect and call `act` repeatedly, and read and discard everything meanwhile."""
    while True:
        try:
            async with connected(job.port, ATTACK_ADDRESS) as client, trio.open_nursery() as nursery:
                job.tally["connections"] += 1
                nursery.start_soon(discard, client)
                with suppress(ConnectionEnded):
                    await act(client)
                nursery.cancel_scope.cancel()
        except ConnectionEnded:
            job.tally["refused"] += 1
        await trio.sleep(RECONNECT_SECONDS)


async def discard(client: Client) -> None:
    """Read and discard everything until the connection ends."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await client.stream.receive_some(65_536):
            pass


async def repeat(job: Job, frames: bytes, count: int, client: Client, first: bytes = b"") -> None:
    """Send the same `count` frames repeatedly, as fast as the server reads them."""
    if first:
        await client.send_raw(first)
    while True:
        await client.send_raw(frames)
        job.tally["frames"] += count


async def freeze(job: Job, client: Client) -> None:
    """Send an expensive frame every second."""
    while True:
        await client.send_raw(FREEZING_FRAME)
        job.tally["frames"] += 1
        await trio.sleep(1)


async def never_read(job: Job) -> None:
    """Send JSON pings, and never read the replies."""
    while True:
        try:
            stream = await dial(job.port, ATTACK_ADDRESS, receive_buffer=_SMALL_BUFFER)
            async with stream:
                await stream.send_all(upgrade(job.port, "/ws"))
                job.tally["connections"] += 1
                while True:
                    await stream.send_all(_JSON_PING * 20)
                    job.tally["frames"] += 20
        except (ConnectionEnded, trio.BrokenResourceError):
            await trio.sleep(RECONNECT_SECONDS)


async def ask_over_http(job: Job, requests: list[bytes]) -> None:
    """Send the requests in turn, each over a new connection."""
    while True:
        for request in requests:
            try:
                async with await dial(job.port, ATTACK_ADDRESS) as stream:
                    await stream.send_all(request)
                    answer = await stream.receive_some(65_536)
                    job.tally[f"HTTP {answer[9:12].decode()}" if answer else "refused"] += 1
                    while answer:
                        answer = await stream.receive_some(65_536)
            except (ConnectionEnded, trio.BrokenResourceError):
                job.tally["refused"] += 1
                await trio.sleep(RECONNECT_SECONDS)


def post_request(job: Job, path: str, body: bytes) -> bytes:
    """Return a POST request."""
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def http_requests(job: Job) -> list[bytes]:
    """Return requests of different kinds that cost the server work."""
    heads = [
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\nAuthorization: Bearer x\r\n\r\n".encode()
        for path in ("/", "/readyz", "/api/v1/me", "/nothing")
    ]
    return [*heads, post_request(job, "/api/v1/session", b'{"provider":"guest","displayName":""}')]


async def open_connections(job: Job, request: bytes) -> list[trio.SocketStream]:
    """Open many connections, send `request` on each, and return those that could be opened."""
    streams: list[trio.SocketStream] = []
    limit = trio.CapacityLimiter(200)

    async def one() -> None:
        async with limit:
            try:
                stream = await dial(job.port, ATTACK_ADDRESS)
                await stream.send_all(request)
                streams.append(stream)
            except (ConnectionEnded, trio.BrokenResourceError):
                job.tally["refused"] += 1

    with trio.move_on_after(CONNECT_SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(job.attackers):
                nursery.start_soon(one)
    job.tally["opened"] = len(streams)
    return streams


async def open_bodies(job: Job, started: Callable[[], None]) -> None:
    """Send a large body without its last byte on every connection."""
    streams = await open_connections(job, post_request(job, "/api/v1/session", b"x" * 65_000)[:-1])
    started()
    job.tally["left"] = len(streams)
    await trio.sleep_forever()


async def silent_sockets(job: Job, started: Callable[[], None]) -> None:
    """Connect without sending `hello`, and count the connections that the server has not closed after a while."""
    streams = await open_connections(job, upgrade(job.port, "/ws"))
    started()
    left = 0

    async def watch(stream: trio.SocketStream) -> None:
        nonlocal left
        left += 1
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some(4096):
                pass
        left -= 1

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(watch, stream)
        await trio.sleep(LEFT_AFTER_SECONDS)
        job.tally["left"] = left
        await trio.sleep_forever()


async def as_user(
    job: Job, act: Callable[[Job, Client], Awaitable[None]], started: Callable[[], None], *, rooms: bool
) -> None:
    """Sign in, join the rooms if `rooms` is set, and call `act`. Start again when the connection has ended."""
    while True:
        try:
            async with signed_in(job.port, ATTACK_ADDRESS, "Attacker") as client:
                job.tally["connections"] += 1
                if rooms:
                    for room_id in job.rooms:
                        await join_room(client, room_id)
                started()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(count_errors, job, client)
                    with suppress(ConnectionEnded):
                        await act(job, client)
                    nursery.cancel_scope.cancel()
        except ConnectionEnded:
            job.tally["refused"] += 1
        await trio.sleep(RECONNECT_SECONDS)


async def join_room(client: Client, room_id: str) -> None:
    """Join a room, and retry while the server refuses."""
    while True:
        reply = await client.ask(type="join", roomId=room_id)
        if reply["type"] != "error":
            return
        await trio.sleep(reply.get("retryAfter", 0.1))


async def count_errors(job: Job, client: Client) -> None:
    """Count the replies to the commands of a user, and close rooms that it has created."""
    with suppress(ConnectionEnded):
        while True:
            for event in await client.receive():
                if event.get("ref") is not None:
                    job.tally[event["code"] if event["type"] == "error" else "done"] += 1
                    if event["type"] == "room":
                        await client.send(ref="r", type="close_room", roomId=event["roomId"])


async def rename(job: Job, client: Client) -> None:
    """Change the display name up to 100 times a second."""
    for number in range(1_000_000):
        await client.send(ref="r", type="update_profile", displayName=f"Attacker {number}")
        await trio.sleep(0.01)


async def join(job: Job, client: Client) -> None:
    """Join rooms up to 200 times a second."""
    while True:
        for room_id in job.rooms:
            await client.send(ref="r", type="join", roomId=room_id)
            await trio.sleep(0.005)


async def send(job: Job, client: Client) -> None:
    """Send messages to a room at ten times the default rate."""
    for number in range(1_000_000):
        await client.send(ref="r", type="send", roomId=job.rooms[0], messageId=str(uuid.uuid4()), content=f"{number}")
        await trio.sleep(0.02)


async def members(job: Job, client: Client) -> None:
    """Request the members of rooms up to 200 times a second."""
    while True:
        for room_id in job.rooms:
            await client.send(ref="r", type="members", roomId=room_id)
            await trio.sleep(0.005)


async def create(job: Job, client: Client) -> None:
    """Create up to 200 rooms a second, which are closed again at once."""
    while True:
        await client.send(ref="r", type="create_room")
        await trio.sleep(0.005)


Attack = Callable[[Job], Callable[[], Awaitable[None]]]

ATTACKS: dict[str, Attack] = {
    "JSON pings": lambda job: partial(flood, job, partial(repeat, job, _JSON_PING * 20, 20)),
    "WebSocket pings": lambda job: partial(flood, job, partial(repeat, job, _PING * 50, 50)),
    "fragments": lambda job: partial(flood, job, partial(repeat, job, _FRAGMENT * 50, 50, first=_FIRST_FRAGMENT)),
    "a frame that freezes": lambda job: partial(flood, job, partial(freeze, job)),
    "never read": lambda job: partial(never_read, job),
    "QR codes": lambda job: partial(ask_over_http, job, [post_request(job, "/worldid/qr", job.body.encode())]),
    "HTTP": lambda job: partial(ask_over_http, job, http_requests(job)),
}
"""The function of one attacker, by the name of the attack."""

PREPARED: dict[str, Callable[[Job, Callable[[], None]], Awaitable[None]]] = {
    "open bodies": open_bodies,
    "silent sockets": silent_sockets,
    "renames": lambda job, started: as_user(job, rename, started, rooms=True),
    "joins": lambda job, started: as_user(job, join, started, rooms=False),
    "messages": lambda job, started: as_user(job, send, started, rooms=True),
    "members": lambda job, started: as_user(job, members, started, rooms=True),
    "rooms": lambda job, started: as_user(job, create, started, rooms=False),
}
"""Attacks that need preparation, and that report when they have started."""


async def run(job: Job) -> None:
    """Attack until standard input ends."""

    is_reported = False

    def started() -> None:
        nonlocal is_reported
        if not is_reported:
            print("started", flush=True)
        is_reported = True

    async with trio.open_nursery() as nursery:
        if job.name in PREPARED:
            nursery.start_soon(PREPARED[job.name], job, started)
        else:
            for _ in range(job.attackers):
                nursery.start_soon(ATTACKS[job.name](job))
            started()
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
            while await stream.receive_some(1):
                pass
        nursery.cancel_scope.cancel()


def main() -> None:
    """Run the attack that the argument describes as JSON."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard if hard != resource.RLIM_INFINITY else 65_536), hard))
    os.nice(10)  # real attackers run on other machines: they must not take CPU time from the server
    fields: dict[str, Any] = json.loads(sys.argv[1])
    job = Job(**fields)
    trio.run(run, job)
    print(json.dumps(job.tally), flush=True)


if __name__ == "__main__":
    main()
