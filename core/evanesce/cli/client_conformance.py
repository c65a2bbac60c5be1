"""The command `evanesce client-conformance`: play transcripts with a client, and say where it differs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import trio

from evanesce import logs
from evanesce.errors import ConfigurationError

if TYPE_CHECKING:
    from evanesce.conformance.outcome import Outcome
    from evanesce.conformance.transcript import Transcript

JOBS = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--command", metavar="COMMAND", help="the program of the client; it gets the URL as an argument")
    what.add_argument("--list", action="store_true", help="list the transcripts")
    parser.add_argument("--only", action="append", metavar="NAME", help="play this transcript; may be repeated")
    parser.add_argument("--jobs", type=int, default=JOBS, metavar="N", help=f"so many at a time (default: {JOBS})")
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of lines")


def run(options: argparse.Namespace) -> int:
    """Play the transcripts, print the outcomes, and return the exit code: 1 if the client failed one.

    Raises `ConfigurationError` if an argument is wrong.
    """
    # Imported here, because the other commands start faster without these modules.
    from evanesce.conformance import outcome
    from evanesce.conformance.driver import split
    from evanesce.conformance.player import play_all

    chosen = _chosen(options.only)
    if options.list:
        for transcript in chosen:
            print(f"{transcript.name}: {transcript.about}")
        return 0
    if options.jobs < 1:
        raise ConfigurationError("--jobs", "it must be at least 1", f"Leave it out for {JOBS}.")
    words = split(options.command)
    try:
        outcomes = trio.run(play_all, chosen, words, options.jobs, _ignore if options.json else _tell)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        raise KeyboardInterrupt from None
    failed = sum(one.failure is not None for one in outcomes)
    if options.json:
        print(outcome.as_json(outcomes))
    else:
        print(f"{len(outcomes) - failed} of {len(outcomes)} transcripts succeeded")
    return int(failed > 0)


def _chosen(names: list[str] | None) -> list[Transcript]:
    from evanesce.conformance.transcript import shipped

    known = shipped()
    for name in names or ():
        if name not in known:
            raise ConfigurationError("--only", f"there is no transcript {name}", "--list lists them.")
    return [known[name] for name in dict.fromkeys(names or known)]


def _tell(result: Outcome) -> None:
    from evanesce.conformance.outcome import lines

    for line in lines(result):
        print(logs.escaped(line), flush=True)


def _ignore(result: Outcome) -> None:
    pass
