"""The command `evanesce chat LINK`: chat in a room from a terminal."""

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
    parser.add_argument("link", metavar="LINK", help="the link of the room: http://HOST:PORT/r/ROOMID")
    parser.add_argument("--name", default="Guest", help="your display name (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Chat until the input ends, `/quit`, Ctrl-C, or the room is closed, and return 0. A failure is 1, a bad link 2."""
    try:
        link = DeepLink.parse(args.link)
    except BadLink as error:
        return _fail(str(error), 2)
    # The argument need not be valid UTF-8.
    failure = trio.run(_chat, link, os.fsencode(args.name).decode(errors="replace"))
    return 0 if failure is None else _fail(failure, 1)


def _fail(problem: str, code: int) -> int:
    print(f"evanesce chat: {line(problem)}", file=sys.stderr)
    return code


async def _chat(link: DeepLink, name: str) -> str | None:
    """Chat, and return the reason of a failure, or None."""
    failure: str | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_cancel_on_signal, nursery.cancel_scope)
            failure = await Conversation(link, name, Console(), nursery).run()
            nursery.cancel_scope.cancel()
    except* BrokenPipeError:
        pass  # the reader of the output has ended, so the chat ends
    return failure


async def _cancel_on_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
