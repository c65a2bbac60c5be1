"""`evanesce chat LINK`: talk in a room from a terminal."""

from __future__ import annotations

import argparse
import os
import signal
import sys

import trio

from evanesce.cli.client import BadLink, DeepLink
from evanesce.cli.console import Console, line
from evanesce.cli.conversation import Conversation


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("link", metavar="LINK", help="the room's link: http://HOST:PORT/r/ROOMID")
    parser.add_argument("--name", default="Guest", help="what the others call you (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Talk until the input ends, `/quit`, Ctrl-C, or the room is closed: 0. No way to go on: 1. A bad link: 2."""
    try:
        link = DeepLink.parse(args.link)
    except BadLink as error:
        return _fail(str(error), 2)
    # What the shell gave need not be UTF-8.
    failure = trio.run(_talk, link, os.fsencode(args.name).decode(errors="replace"))
    return 0 if failure is None else _fail(failure, 1)


def _fail(problem: str, code: int) -> int:
    print(f"evanesce chat: {line(problem)}", file=sys.stderr)
    return code


async def _talk(link: DeepLink, name: str) -> str | None:
    """Give why there was no way to go on, if so it ended."""
    failure: str | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_leave_on_signal, nursery.cancel_scope)
            failure = await Conversation(link, name, Console(), nursery).hold()
            nursery.cancel_scope.cancel()
    except* BrokenPipeError:
        pass  # nobody reads what is printed: the conversation is over
    return failure


async def _leave_on_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
