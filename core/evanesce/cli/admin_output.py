"""The answers of the interface for operators as lines of text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evanesce.cli.safe_text import safe

Answer = Mapping[str, Any]


def lines(action: str, answer: Answer) -> Iterator[str]:
    """Yield the lines of the answer to an action."""
    match action:
        case "rooms":
            yield from _listed(answer, "rooms", ("room", "members", "created", "state"), _room_cells)
        case "users":
            yield from _listed(answer, "users", ("user", "name", "provider", "last active", "state"), _user_cells)
        case "bans":
            yield from _listed(answer, "bans", ("ban", "user", "since", "until", "reason"), _ban_cells)
        case "room":
            yield from _room(answer)
        case "user":
            yield from _user(answer)
        case "ban":
            until = answer.get("until")
            yield f"banned {'without an end' if until is None else 'until ' + safe(str(until))}, ban {answer['banId']}"
        case "announce":
            yield f"sent to {answer['sent']} rooms"
            if answer["refused"]:
                yield f"refused by {answer['refused']} rooms: encrypted ones, and those of which a filter refused it"
            if answer["failed"]:
                yield f"not sent to {answer['failed']} rooms: Redis or the database did not answer. Announce it again"
        case "drain":
            for server in answer["servers"]:
                yield f"leaves service: {safe(str(server))}"
        case "stats":
            yield from stats(answer)
        case _:
            yield _done(action, changed=bool(answer.get("changed", True)))


def _done(action: str, *, changed: bool) -> str:
    match action, changed:
        case "close", _:
            return "the room is closed, and its messages are erased"
        case "disconnect", True:
            return "all connections of the user are ended"
        case "disconnect", False:
            return "the user had no connection"
        case "unban", True:
            return "the ban has ended"
        case _:
            return "there was no ban"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines whose cells are below one another."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _listed(
    answer: Answer, name: str, head: Sequence[str], cells: Callable[[Answer], Sequence[object]]
) -> Iterator[str]:
    entries: list[Answer] = answer[name]
    if entries:
        yield from table([head, *([safe(str(cell)) for cell in cells(entry)] for entry in entries)])
    else:
        yield f"no {name}"
    if "next" in answer:
        yield f"there are more: --after {safe(str(answer['next']))}"


def _room_cells(room: Answer) -> tuple[object, ...]:
    state = [str(room["access"])]
    state += [name for name in ("locked", "encrypted") if room.get(name)]
    return room["roomId"], room["memberCount"], room["createdAt"], ", ".join(state)


def _user_cells(user: Answer) -> tuple[object, ...]:
    state = "connected" if user["connected"] else "away"
    if "bannedUntil" in user:
        state += f", ban until {user['bannedUntil']}"
    return user["userId"], user["displayName"], user.get("provider", "-"), user["lastActive"], state


def _ban_cells(ban: Answer) -> tuple[object, ...]:
    return ban["banId"], ban.get("userId", "-"), ban["since"], ban.get("until", "without an end"), ban["reason"] or "-"


def _room(answer: Answer) -> Iterator[str]:
    room = answer["room"]
    yield from _pairs(room)
    members: list[Answer] | None = answer.get("members")
    if members is None:
        yield "members: more than are listed"
        return
    for member in members:
        yield f"member: {safe(str(member['userId']))}  {safe(str(member['displayName']))}"


def _user(answer: Answer) -> Iterator[str]:
    if "user" in answer:
        yield from _pairs(answer["user"])
    else:
        yield "no account"
    if "ban" in answer:
        yield "banned:"
        for line in _pairs(answer["ban"]):
            yield f"  {line}"
    else:
        yield "not banned"


def _pairs(fields: Answer) -> Iterator[str]:
    for name, value in fields.items():
        shown = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
        yield f"{name}: {safe(str(shown))}"


SERVER_HEAD = ("server", "version", "state", "connections", "users", "rooms", "redis ms", "loop ms", "p99 ms")
TIMES = ("redisSeconds", "loopSeconds", "messageSeconds")


def server_cells(name: str, server: Answer) -> list[str]:
    """Return what is shown of a server, below `SERVER_HEAD`."""
    return [
        safe(name),
        safe(str(server["version"])),
        "draining" if server["draining"] else "serving",
        *(str(server[count]) for count in ("connections", "users", "rooms")),
        *(f"{1000 * float(server.get(seconds, 0)):.1f}" for seconds in TIMES),
    ]


def stats(answer: Answer) -> Iterator[str]:
    """Yield the lines about all servers and what they depend on."""
    yield from table([SERVER_HEAD, *(server_cells(name, server) for name, server in answer["servers"].items())])
    yield from parts(answer)


def parts(answer: Answer) -> Iterator[str]:
    """Yield the lines about what the servers depend on."""
    for part, state in answer["parts"].items():
        time = answer.get("databaseSeconds") if part == "database" else None
        yield f"{safe(str(part))}: {safe(str(state))}" + ("" if time is None else f", answers in {1000 * time:.1f} ms")
    expiry = answer.get("expiry")
    if expiry is None:
        yield "expiry: nothing was erased in the last minute"
    else:
        yield (
            f"expiry: {expiry['keys']} keys in the last minute, 99 % within {1000 * expiry['p99']:.0f} ms, all within"
            f" {1000 * expiry['worst']:.0f} ms"
        )
