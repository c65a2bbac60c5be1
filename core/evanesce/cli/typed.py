"""What a typed line means: a message, or a command such as `/invite 3`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evanesce.client.connection import Fields
from evanesce.confidential import Confidential

Number = int | float

LONGEST_NUMBER = 12
"""In characters. No range of the protocol is as long."""

COMMANDS: Mapping[str, str] = {
    "/who": "list the people in the room; /members does the same",
    "/reply TEXT": "answer the last message; /reply @NAME TEXT answers the last one of a person",
    "/for SECONDS TEXT": "send a message that lives for so long, if that is shorter than usual",
    "/unsend": "take your last message back: it is gone for everybody",
    "/vote NAME": "vote for the removal of a person, while the creator of the room is not present",
    "/invite [PEOPLE] [SECONDS]": "make a link with an invite, for 1 person and for a day unless told otherwise",
    "/invites": "list the invites",
    "/revoke ID": "revoke an invite",
    "/access link|invite": "let in whoever has the link, or only whom an invite has admitted",
    "/lock": "let nobody else join; /unlock ends it",
    "/ttl SECONDS": "set for how long the next messages live",
    "/remove NAME [SECONDS]": "remove a person, and ban them for so long",
    "/ban NAME SECONDS": "the same, with a ban in any case",
    "/bans": "list the bans",
    "/unban NAME": "end a ban",
    "/mute NAME SECONDS": "let a person write nothing for so long; /unmute NAME ends it",
    "/help": "list these commands",
    "/quit": "leave",
}
"""What `/help` shows. From `/invite` to `/unmute` they are for the creator of the room."""


@dataclass(frozen=True, slots=True, repr=False)
class Say(Confidential):
    """Send `text`. `ttl`: for how many seconds it lives; None: as long as all messages of the room."""

    text: str
    ttl: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Answer(Confidential):
    """Answer the last message with `text`; where that begins with `@`, the last one of the person who follows."""

    text: str


@dataclass(frozen=True, slots=True)
class RoomCommand:
    """Send a command of the protocol: `fields` lack the id of the room."""

    fields: Fields


@dataclass(frozen=True, slots=True, repr=False)
class PersonCommand(Confidential):
    """Send a command about a person: `fields` lack their id too. `banned`: the person is one of those who are banned.

    `named_like_this` is a name that ends in the number, and what the line means if somebody has it.
    """

    person: str
    fields: Fields
    banned: bool = False
    named_like_this: tuple[str, PersonCommand | Wrong] | None = None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revoke the invite whose id begins with `start`."""

    start: str


@dataclass(frozen=True, slots=True)
class Local:
    """Do something that needs no command of the protocol, or one that only the terminal knows."""

    name: Literal["help", "quit", "unsend"]


@dataclass(frozen=True, slots=True, repr=False)
class Wrong(Confidential):
    """The line is a command that is not complete, or that does not exist."""

    problem: str


Typed = Say | Answer | RoomCommand | PersonCommand | Revoke | Local | Wrong


def parse(typed: str) -> Typed:
    """Return what a line means. A line with two slashes in front is a message with one.

    A slash that no word of letters follows, as in `/usr/bin`, begins a message too.
    """
    if typed.startswith("//"):
        return Say(typed[1:])
    word, _, rest = typed[1:].partition(" ")
    if not typed.startswith("/") or not word.isascii() or not word.isalpha():
        return Say(typed)
    return _parse_command(word, rest.strip()) or Wrong(_usage(word))


def _parse_command(word: str, rest: str) -> Typed | None:
    """Return the meaning of `/word rest`; None where there is no such command, or something is missing or too much."""
    words = rest.split()
    numbers = [_number(one) for one in words]
    match word, numbers:
        case ("help" | "quit" | "unsend") as name, []:
            return Local(name)
        case "who" | "members", []:
            return RoomCommand({"type": "members"})
        case ("invites" | "bans") as name, []:
            return RoomCommand({"type": name})
        case ("lock" | "unlock") as name, []:
            return RoomCommand({"type": "update_room", "locked": name == "lock"})
        case "access", [None] if rest in ("link", "invite"):
            return RoomCommand({"type": "update_room", "access": rest})
        case "ttl", [int() | float() as seconds]:
            return RoomCommand({"type": "update_room", "messageTtl": seconds})
        case "invite", [*given] if len(given) <= 2 and None not in given:
            return RoomCommand({"type": "invite"} | dict(zip(("people", "seconds"), given, strict=False)))
        case "revoke", [_]:
            return Revoke(rest.removeprefix("#").lower())
        case "reply", [_, *_]:
            return Answer(rest)
        case "for", [int() | float() as seconds, _, *_]:
            return Say(rest.split(maxsplit=1)[1], seconds)
        case _:
            return _parse_person_command(word, rest, numbers)


def _parse_person_command(word: str, rest: str, numbers: Sequence[Number | None]) -> Typed | None:
    """Return the meaning of a command about a person. Names may have spaces: only the last word can be seconds."""
    match word:
        case _ if not rest:
            return None
        case "unmute":
            return PersonCommand(rest, {"type": "mute", "seconds": 0})
        case "unban":
            return PersonCommand(rest, {"type": "unban"}, banned=True)
        case "vote":
            return PersonCommand(rest, {"type": "vote_remove"})
        case "remove" | "ban" | "mute":
            return _parse_timed_command(word, rest, numbers)
        case _:
            return None


def _parse_timed_command(word: str, rest: str, numbers: Sequence[Number | None]) -> PersonCommand | Wrong:
    whole = PersonCommand(rest, {"type": "remove_member"}) if word == "remove" else Wrong(_usage(word))
    seconds = numbers[-1]
    if len(numbers) == 1 or seconds is None:
        return whole
    fields = (
        {"type": "mute", "seconds": seconds} if word == "mute" else {"type": "remove_member", "banSeconds": seconds}
    )
    return PersonCommand(rest.rpartition(" ")[0].strip(), fields, named_like_this=(rest, whole))


def _number(word: str) -> Number | None:
    """Return a number of people or seconds in plain digits; None where `word` is something else."""
    if not word.isascii() or len(word) > LONGEST_NUMBER or not word.replace(".", "", 1).isdecimal():
        return None
    return float(word) if "." in word else int(word)


def _usage(word: str) -> str:
    for usage in COMMANDS:
        if usage.split()[0] == f"/{word}":
            return f"this command is written {usage}"
    for usage, meaning in COMMANDS.items():  # the counterparts, which are described beside another command
        if f"/{word} " in f"{meaning} ":
            return f"see {usage} in /help"
    return f"there is no command /{word}: /help lists them. A message that begins with a slash is written with two"
