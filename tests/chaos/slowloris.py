"""Open thousands of handshakes that are never finished or were refused, and see when a real server lets go of them.

`python -m tests.chaos.slowloris [--short]` prints one line and ends with 1 if a bound was not met.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

import trio

from tests.chaos.client import REFERENCE_ADDRESS, ConnectionEnded, dial
from tests.chaos.report import Judgement, conclude
from tests.e2e.running import TRANSPORTS, Server
from tests.patience import PATIENCE, Taken
from tests.transports.serving import upgrade_request

CLIENTS, SHORT_CLIENTS = 2000, 60
CLOSED_SECONDS = 6.0
PARTIAL = (b"", b"GET /ws HTT", upgrade_request()[:-2], upgrade_request(origin="https://evil.example"), b"\x16\x03\x01")
"""What the clients send, one after the other: most of these have no end, and the fourth is refused."""


def tasks(server: Server) -> int:
    """Return how many tasks a server has."""
    _, text = server.ask("GET", "/metrics")
    return next(
        int(float(line.split()[1])) for line in text.decode().splitlines() if line.startswith("evanesce_tasks ")
    )


def descriptors(server: Server) -> int:
    """Return how many descriptors a server has open."""
    assert server.process is not None
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


async def stay(port: int, number: int, lasted: list[float]) -> None:
    """Send something unfinished, stay, and note after how many seconds the server has closed the connection."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionEnded):
        async with await dial(port, REFERENCE_ADDRESS) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(PARTIAL[number % len(PARTIAL)])
                while await stream.receive_some(65_536):
                    pass
    lasted.append(time.monotonic() - began)


async def measure(transport: str, clients: int, judgement: Judgement) -> str:
    """Open the handshakes to a transport; return the figures."""
    with tempfile.TemporaryDirectory(prefix="slowloris-") as folder:
        server = Server(Path(folder), transports=list(dict.fromkeys(("quart", transport))))
        await trio.to_thread.run_sync(server.start)
        try:
            await trio.to_thread.run_sync(server.ready)
            before = tasks(server), descriptors(server)
            lasted: list[float] = []
            taken = Taken()
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for number in range(clients):
                        nursery.start_soon(stay, server.ports[transport], number, lasted)
            late = taken.seconds()
            with trio.move_on_after(PATIENCE):
                while (after := (tasks(server), descriptors(server))) > before:  # noqa: ASYNC110 - nothing tells
                    await trio.sleep(0.1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.kill)
    judgement.bound(f"{transport}: one stayed", max(lasted), CLOSED_SECONDS, late)
    if after[0] > before[0] or after[1] > before[1]:
        judgement.problems.append(f"{transport}: something is left")
    change = f"{after[0] - before[0]:+} tasks, {after[1] - before[1]:+} descriptors afterwards"
    return f"{transport}: {clients:,} clients, the last closed after {max(lasted):.1f} s, {change}"


def main() -> int:
    """Open the handshakes to both transports."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.slowloris", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"with {SHORT_CLIENTS} clients")
    clients = SHORT_CLIENTS if parser.parse_args().short else CLIENTS
    judgement = Judgement()
    return conclude([trio.run(measure, transport, clients, judgement) for transport in TRANSPORTS], judgement)


if __name__ == "__main__":
    sys.exit(main())
