"""Plays several transcripts at once, each with a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from evanesce.conformance.outcome import Outcome
from evanesce.conformance.player import play
from evanesce.conformance.transcript import Transcript


async def play_all(
    transcripts: Sequence[Transcript], command: Sequence[str], jobs: int, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Play `transcripts`, at most `jobs` at a time, and return the outcomes in their order.

    `tell` is called with each as soon as it is there. Raises `ConfigurationError` if `command` cannot be started.
    """
    outcomes: dict[str, Outcome] = {}
    limiter = trio.CapacityLimiter(jobs)

    async def one(transcript: Transcript) -> None:
        async with limiter:
            outcome = await play(transcript, command)
        outcomes[transcript.name] = outcome
        tell(outcome)

    async with trio.open_nursery() as nursery:
        for transcript in transcripts:
            nursery.start_soon(one, transcript)
    return [outcomes[transcript.name] for transcript in transcripts]
