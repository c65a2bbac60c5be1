"""Send a real server what has no end or is far too large, and see how soon it is cut off and what memory it takes.

`python -m tests.chaos.sizes [--short]` prints one line and ends with 1 if a bound was not met.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.benchmarks.processes import resident_bytes
from tests.chaos.client import REFERENCE_ADDRESS, dial
from tests.chaos.report import Judgement, conclude
from tests.e2e.running import TRANSPORTS, Server
from tests.patience import PATIENCE, Taken
from tests.transports.serving import masked, upgrade_request

CLOSED_SECONDS, ENDLESS_SECONDS = 1.0, 6.0
"""How soon what is too large, and what never ends, is cut off."""

GROWTH_BYTES = 2 * 2**20
CHUNK = b"x" * 65_536
MESSAGE_BYTES, SHORT_MESSAGE_BYTES = 200_000_000, 20_000_000
DRIP_SECONDS = 0.05
ROUNDS = 3
"""How often everything is sent: memory is compared from the end of the first round on, which loads code."""


@dataclass(frozen=True)
class Input:
    """What is sent: `begin`, and then `chunk` again and again, with a pause of `pause` seconds, up to `most` bytes."""

    name: str
    begin: bytes
    chunk: bytes = b""
    pause: float = 0.0
    most: int = 0
    seconds: float = CLOSED_SECONDS
    answered: bool = True
    """Whether it is told why it is cut off."""
    http: bool = False
    """Whether it needs a transport that serves HTTP."""


def inputs(message_bytes: int) -> Sequence[Input]:
    """Return all inputs."""
    huge = bytes([0x81, 0xFF]) + message_bytes.to_bytes(8, "big") + b"\0\0\0\0"
    bomb = zlib.compressobj(9, wbits=-15)
    squeezed = (bomb.compress(b"\0" * 64 * 2**20) + bomb.flush())[:60_000]
    offer = upgrade_request(sec_websocket_extensions="permessage-deflate; client_max_window_bits")
    post = b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    endless: dict[str, Any] = {"pause": DRIP_SECONDS, "most": 60_000, "seconds": ENDLESS_SECONDS}
    return (
        Input("a message of 200 MB", upgrade_request() + huge, CHUNK, most=message_bytes),
        Input(
            "fragments of 200 MB",
            upgrade_request() + masked(1, b"x", fin=False),
            masked(0, CHUNK, fin=False),
            most=message_bytes,
        ),
        Input("compressed data", offer + masked(1, squeezed, rsv=4)),
        Input("headers of 20 kB", upgrade_request(x="x" * 20_000)),
        Input("endless headers", b"GET /ws HTTP/1.1\r\nX: ", b"x", **endless, answered=False),
        Input("an endless body", post + b"Content-Length: 60000\r\n\r\n", b" ", **endless, http=True),
        Input("endless chunks", post + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", **endless, http=True),
    )


async def send(server: Server, transport: str, sent: Input) -> tuple[float, bool]:
    """Send an input; return after how many seconds the server has ended the connection, and whether it has answered."""
    stream = await dial(server.ports[transport], REFERENCE_ADDRESS)
    received = b""
    async with stream, trio.open_nursery() as nursery:
        began = time.monotonic()

        async def drip() -> None:
            left = sent.most
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(sent.begin)
                while left > 0:
                    await stream.send_all(sent.chunk)
                    left -= len(sent.chunk)
                    if sent.pause:
                        await trio.sleep(sent.pause)

        nursery.start_soon(drip)
        with trio.fail_after(PATIENCE), contextlib.suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(65_536):
                received += data
        took = time.monotonic() - began
        nursery.cancel_scope.cancel()
    return took, bool(received)


async def measure(transport: str, message_bytes: int, judgement: Judgement) -> str:
    """Send all inputs to a transport; return the figures."""
    wanted = [sent for sent in inputs(message_bytes) if transport == "quart" or not sent.http]
    slowest = dict.fromkeys((sent.name for sent in wanted), 0.0)
    with tempfile.TemporaryDirectory(prefix="sizes-") as folder:
        server = Server(Path(folder), transports=list(dict.fromkeys(("quart", transport))))
        await trio.to_thread.run_sync(server.start)
        assert server.process is not None
        before = 0
        try:
            for number in range(ROUNDS):
                for sent in wanted:
                    taken = Taken()
                    took, answered = await send(server, transport, sent)
                    slowest[sent.name] = max(slowest[sent.name], took)
                    if sent.answered and not answered:
                        judgement.problems.append(f"{transport}: {sent.name}: no answer")
                    judgement.bound(f"{transport}: {sent.name}", took, sent.seconds, taken.seconds())
                if number == 0:
                    before = resident_bytes([server.process.pid])
            grown = resident_bytes([server.process.pid]) - before
            if grown > GROWTH_BYTES:
                judgement.problems.append(f"{transport}: too much memory")
            if "Traceback" in server.errors:
                judgement.problems.append(f"{transport}: a traceback in the log")
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.kill)
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in slowest.items())
    return f"{transport}: {times}, {grown / 2**20:+.1f} MiB"


def main() -> int:
    """Send everything to both transports."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.sizes", description=__doc__)
    parser.add_argument("--short", action="store_true", help="send messages of 20 MB")
    message_bytes = SHORT_MESSAGE_BYTES if parser.parse_args().short else MESSAGE_BYTES
    judgement = Judgement()
    return conclude([trio.run(measure, transport, message_bytes, judgement) for transport in TRANSPORTS], judgement)


if __name__ == "__main__":
    sys.exit(main())
