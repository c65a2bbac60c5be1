"""Count the copies of expired messages in the memory of a real server and of its Redis.

`python -m tests.chaos.traces [--short]` prints one line and ends with 1 if a copy is where none may be. The copies in
memory have no bound: neither Redis nor CPython wipes what it frees.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import uuid
from pathlib import Path

import trio

from tests.chaos.report import Judgement, conclude
from tests.e2e.clients import ChatClient, seconds
from tests.e2e.running import Server
from tests.process_memory import memory

TTL = 2
MESSAGES, SHORT_MESSAGES = 2000, 100
LATER, SHORT_LATER = (1.0, 5.0, 15.0), (1.0,)
"""How many seconds after the last message has expired the copies are counted."""


def copies(pid: int, canary: bytes) -> int:
    """Return how many messages with a canary are in the memory of a process, each counted once."""
    return len({number for data in memory(pid) for number in re.findall(canary + rb"-(\d+)-", data)})


def in_a_file(folder: Path, canary: bytes) -> bool:
    """Return whether a file in a folder has a canary."""
    return any(canary in file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def measure(messages: int, later: tuple[float, ...]) -> tuple[list[str], Judgement]:
    """Send messages with a canary, and count the copies before and after they have expired."""
    canary = uuid.uuid4().hex
    judgement = Judgement()
    with tempfile.TemporaryDirectory(prefix="traces-") as folder:
        settings = (f"messages.ttl={TTL}", "limits.messages_per_second=100000", "limits.burst=100000")
        server = Server(Path(folder), *settings)
        await trio.to_thread.run_sync(server.start)
        try:
            assert server.process is not None
            processes = {"Redis": server.valkey()[0], "the server": server.process.pid}
            async with trio.open_nursery() as nursery:
                ana = await ChatClient.open(server, nursery, "Ana")
                room_id = str((await ana.ask("create_room"))["roomId"])
                await ana.join(room_id)
                async with trio.open_nursery() as sending:
                    for number in range(messages):
                        sending.start_soon(ana.say, room_id, f"{canary}-{number}-")
                last = max(seconds(message["expiresAt"]) for message in ana.messages())
                await trio.sleep(max(0.0, last - seconds((await ana.ask("ping"))["serverTime"])))
                counted: dict[str, list[str]] = {name: [] for name in processes}
                waited = 0.0
                for moment in later:
                    await trio.sleep(moment - waited)
                    waited = moment
                    for name, pid in processes.items():
                        found = await trio.to_thread.run_sync(copies, pid, canary.encode())
                        counted[name].append(f"{found:,} after {moment:g} s")
                with server.redis() as redis:
                    left = list(redis.scan_iter("*:message:*"))
                nursery.cancel_scope.cancel()
            if left:
                judgement.problems.append(f"{len(left)} messages are still in Redis")
            if await trio.to_thread.run_sync(in_a_file, Path(folder), canary.encode()):
                judgement.problems.append("content is in a file")
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.kill)
    figures = [
        f"of {messages:,} expired messages in the memory of {name}: {', '.join(at)}" for name, at in counted.items()
    ]
    return figures, judgement


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.traces", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"with {SHORT_MESSAGES} messages")
    short = parser.parse_args().short
    figures, judgement = trio.run(measure, SHORT_MESSAGES if short else MESSAGES, SHORT_LATER if short else LATER)
    return conclude(figures, judgement)


if __name__ == "__main__":
    sys.exit(main())
