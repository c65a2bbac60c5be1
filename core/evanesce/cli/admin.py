"""`evanesce admin`: look after the rooms, the people and the servers of a running deployment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from evanesce.cli import admin_output
from evanesce.cli.admin_client import Address, Failed, ask
from evanesce.cli.safe_text import safe

MOST_PAGES = 100_000
"""How many pages a command reads at most."""


def arguments(command: argparse.ArgumentParser, configured: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the actions. `configured` makes a parser with the options that name the configuration."""
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, parents=[configured()], help=text)
        action.add_argument("--json", action="store_true", help="print JSON instead of text")
        address(action)
        action.set_defaults(action=name)
        return action

    for name, text in (("rooms", "list the rooms that somebody is in"), ("users", "list the connected users")):
        action = add(name, text)
        action.add_argument("--all", action="store_true", help=f"list all {name}")
        _pages(action)
    _pages(add("bans", "list the bans"))
    add("room", "show a room and its members").add_argument("room", metavar="ID")
    add("close", "close a room and erase its messages").add_argument("room", metavar="ROOM")
    add("user", "show a user").add_argument("user", metavar="ID")
    add("disconnect", "end all connections of a user").add_argument("user", metavar="USER")
    action = add("ban", "ban a person from all servers")
    action.add_argument("user", metavar="USER", help="a user's id, provider:subject, or the id of a ban")
    action.add_argument("--seconds", type=float, metavar="N", help="how long (default: without an end)")
    action.add_argument("--reason", default="", metavar="TEXT", help="a note for operators; the person does not see it")
    add("unban", "end the ban of a person").add_argument("user", metavar="USER")
    add("announce", "send a message to all rooms that somebody is in").add_argument("text", metavar="TEXT")
    action = add("drain", "close all connections of servers, and refuse new ones until they are restarted")
    which = action.add_mutually_exclusive_group(required=True)
    which.add_argument("--server", metavar="NAME", help="a server, or all workers of a node; see stats")
    which.add_argument("--all", action="store_true", help="all servers")
    add("stats", "show the servers and what they depend on")


def address(command: argparse.ArgumentParser) -> None:
    """Add the option that names a server elsewhere."""
    command.add_argument(
        "--url",
        metavar="URL",
        help="a server elsewhere: http://HOST:PORT, https://HOST:PORT or unix:PATH, with its token in"
        " EVANESCE_ADMIN_TOKEN (default: the server of the configuration)",
    )


def _pages(action: argparse.ArgumentParser) -> None:
    action.add_argument("--after", default="", metavar="NEXT", help="begin after this entry")
    action.add_argument("--limit", type=int, metavar="N", help="print at most N entries (default: all)")


def run(server: Address, options: argparse.Namespace) -> int:
    """Carry out an action, and return the exit code: 1 where the server refused it or could not be asked."""
    try:
        answer, failed = _act(server, options)
    except Failed as error:
        if options.json:
            print(msgspec.json.encode(error.answer).decode())
        sys.stderr.write(f"evanesce admin {options.action}: {safe(str(error))}\n")
        return 1
    if options.json:
        print(msgspec.json.encode(answer).decode())
    else:
        for line in admin_output.lines(options.action, answer):
            print(line)
    return failed


def _act(server: Address, options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Return the answer to an action, and the exit code."""

    def once(method: str, *path: str, **fields: Any) -> tuple[dict[str, Any], int]:
        return ask(server, method, path, fields), 0

    match options.action:
        case "rooms" | "users":
            return _listed(server, options, options.action, {"all": "true"} if options.all else {}), 0
        case "bans":
            return _listed(server, options, "bans", {}), 0
        case "room":
            return once("GET", "rooms", options.room)
        case "close":
            return once("DELETE", "rooms", options.room)
        case "user":
            return once("GET", "users", options.user)
        case "disconnect":
            return once("POST", "users", options.user, "disconnect")
        case "ban":
            fields: dict[str, Any] = {"reason": options.reason} if options.reason else {}
            if options.seconds is not None:
                fields["seconds"] = options.seconds
            return once("PUT", "users", options.user, "ban", **fields)
        case "unban":
            return once("DELETE", "users", options.user, "ban")
        case "announce":
            return _announced(server, options.text)
        case "drain":
            fields = {"all": True} if options.all else {"server": options.server}
            return once("POST", "drain", **fields)
        case _:
            return once("GET", "stats")


def _listed(server: Address, options: argparse.Namespace, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of all pages, or as many as `--limit` says, with `next` where there are more."""
    found: list[Any] = []
    after: str = options.after
    for _ in range(MOST_PAGES):
        wanted = 200 if options.limit is None else min(200, options.limit - len(found))
        if wanted <= 0:
            break
        page = ask(server, "GET", (name,), {**fields, "after": after, "limit": wanted})
        found += page.get(name, [])
        after = page.get("next", "")
        if not after:
            return {name: found}
    return {name: found, "next": after}


def _announced(server: Address, text: str) -> tuple[dict[str, Any], int]:
    """Send an announcement to all pages of rooms, and return how many took it: exit code 1 where some were missed."""
    total = {"sent": 0, "refused": 0, "failed": 0}
    after = ""
    for _ in range(MOST_PAGES):
        page = ask(server, "POST", ("announce",), {"text": text, "after": after})
        for name in total:
            total[name] += int(page.get(name, 0))
        after = page.get("next", "")
        if not after:
            break
    return {**total}, 1 if total["failed"] else 0
