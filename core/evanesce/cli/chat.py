"""The command `evanesce chat LINK`: chat in a room from a terminal."""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import sys

import trio

from evanesce.cli.connection_notices import ConnectionNotices
from evanesce.cli.console import LONGEST_LINE, Console, line
from evanesce.cli.conversation import Conversation
from evanesce.cli.new_room import NewRoom, NotCreated, create
from evanesce.client.client import Client
from evanesce.client.links import BadLink, DeepLink, ServerLink
from evanesce.room_encryption import EncryptionMissing, RoomKey, is_available

FROM_INPUT = "-"
"""In place of a link: read it from the input, so that its secrets are not in the list of processes."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "link",
        metavar="LINK",
        help="the link of the room: http://HOST:PORT/r/ROOMID with all that follows, in quotes; with --new the address"
        " of the server; - reads the first line of the input, and keeps the link out of the list of processes",
    )
    parser.add_argument("--name", default="Guest", help="your display name (default: %(default)s)")
    new = parser.add_argument_group("a new room", "You are its creator for as long as this chat lasts.")
    new.add_argument("--new", action="store_true", help="create a room, and print its link")
    new.add_argument("--encrypted", action="store_true", help="encrypt its messages from end to end")
    new.add_argument("--ttl", type=_seconds, metavar="SECONDS", help="for how long its messages live")
    new.add_argument("--invite-only", action="store_true", help="let only invited people join")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("expected a number of seconds above 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Chat until the input ends, `/quit`, Ctrl-C, or the room is closed, and return 0. A failure is 1, a bad link 2."""
    for option in ("encrypted", "ttl", "invite_only"):
        if getattr(args, option) and not args.new:
            return _fail(f"--{option.replace('_', '-')} is for a new room: it needs --new", 2)
    try:
        link = _read_link() if args.link == FROM_INPUT else args.link
        room: DeepLink | NewRoom
        if args.new:
            key = RoomKey.generate() if args.encrypted else None
            room = NewRoom(ServerLink.parse(link), key, args.ttl, args.invite_only)
        else:
            room = DeepLink.parse(link)
    except BadLink as error:
        return _fail(str(error), 2)
    if room.key is not None and not is_available():
        return _fail(str(EncryptionMissing()), 1)
    # The argument need not be valid UTF-8.
    failure = trio.run(_chat, room, os.fsencode(args.name).decode(errors="replace"))
    return 0 if failure is None else _fail(failure, 1)


def _read_link() -> str:
    """Read the first line of the input, byte by byte: what follows is for the chat."""
    read = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n") and len(read) < LONGEST_LINE:
        read += byte
    return read.decode(errors="replace")


def _fail(problem: str, code: int) -> int:
    print(f"evanesce chat: {line(problem)}", file=sys.stderr)
    return code


async def _chat(room: DeepLink | NewRoom, name: str) -> str | None:
    """Chat, and return the reason of a failure, or None."""
    failure: str | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_cancel_on_signal, nursery.cancel_scope)
            failure = await converse(room, name, Console(), nursery)
            nursery.cancel_scope.cancel()
    except* BrokenPipeError:
        pass  # the reader of the output has ended, so the chat ends
    return failure


async def converse(
    room: DeepLink | NewRoom, name: str, console: Console, nursery: trio.Nursery, dice: random.Random | None = None
) -> str | None:
    """Chat in a room as a guest; tasks in `nursery` run the connection. Return the reason of a failure, or None."""
    server = room.server if isinstance(room, NewRoom) else room
    notices = ConnectionNotices(server.host, console)
    client = Client(
        server,
        credential={"provider": "guest", "displayName": name},
        on_state=notices.on_state,
        dice=dice,
    )
    nursery.start_soon(client.run)
    failure = await notices.signed_in()
    if failure is not None:
        return failure
    if isinstance(room, NewRoom):
        try:
            room, link = await create(room, client)
        except NotCreated as error:
            return str(error)
        await console.print(line(f"* the link of your room: {link}"))
    return await Conversation(room, client, console, notices).run()


async def _cancel_on_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
