"""The people in a room as a terminal knows them, and the person whom a typed name means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evanesce.confidential import Confidential
from evanesce.errors import EvanesceError

KNOWN_SENDERS = 1_000
"""How many people are remembered because they have written: the only ones whose names are known in a large room."""

SHORTEST_ID = 8
"""How many characters of an id are shown at least. The number of hexadecimal digits before the first dash."""

SOMEBODY = "someone"


class NotOnePerson(EvanesceError):
    """A name means nobody, or more than one person. The message says what to type."""


class People(Confidential):
    """The members of the room, and the people who wrote last. `own_id` is the user of this terminal."""

    def __init__(self) -> None:
        self.own_id = ""
        self._members: dict[str, str] = {}
        self._senders: dict[str, str] = {}

    def set_members(self, members: Iterable[Mapping[str, str]]) -> None:
        """Replace the members by those of `joined` or `members`."""
        self._members = {member["userId"]: member["displayName"] for member in members}

    def add(self, user_id: str, name: str) -> None:
        """Note that a person joined, or has a new name."""
        self._members[user_id] = name
        if user_id in self._senders:
            self._senders[user_id] = name

    def remove(self, user_id: str) -> str:
        """Note that a person has left, and return the name."""
        name = self.name(user_id)
        self._members.pop(user_id, None)
        return name

    def note_sender(self, user_id: str, name: str) -> None:
        """Remember who wrote a message."""
        self._senders.pop(user_id, None)
        self._senders[user_id] = name
        if len(self._senders) > KNOWN_SENDERS:
            del self._senders[next(iter(self._senders))]

    def name(self, user_id: str) -> str:
        """Return the name of a person; "someone" where it is not known."""
        return self._members.get(user_id) or self._senders.get(user_id) or SOMEBODY

    @property
    def others(self) -> dict[str, str]:
        """The names of all people who are known, by their ids, without the user of this terminal."""
        known = self._senders | self._members
        known.pop(self.own_id, None)
        return known


def find_person(typed: str, people: Mapping[str, str]) -> str:
    """Return the id of the person whom `typed` means: a name, or `#` and the beginning of an id.

    `people` are the names by their ids. A name that is written exactly comes before one in other letter case.
    Raises `NotOnePerson`.
    """
    if typed.startswith("#"):
        start = typed[1:].lower()
        found = [user_id for user_id in people if start and user_id.startswith(start)]
    else:
        found = [user_id for user_id, name in people.items() if name == typed]
        folded = typed.casefold()
        found = found or [user_id for user_id, name in people.items() if name.casefold() == folded]
    if not found:
        raise NotOnePerson(f"nobody here is called {typed}: /who lists the people")
    if len(found) > 1:
        choices = " or ".join(f"#{short}" for short in short_ids(found).values())
        raise NotOnePerson(f"{len(found)} people are meant by {typed}: write {choices} in place of the name")
    return found[0]


def split_person(typed: str, people: Mapping[str, str]) -> tuple[str, str]:
    """Split `NAME TEXT`, and return the id of the person and the text. Of several names the longest one is meant.

    Raises `NotOnePerson`.
    """
    names = [name for name in people.values() if typed.startswith(f"{name} ")]
    name = max(names, key=len) if names and not typed.startswith("#") else typed.partition(" ")[0]
    return find_person(name, people), typed[len(name) :].strip()


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return the beginnings of `ids` that are different, by the whole ids."""
    whole = list(ids)
    length = SHORTEST_ID
    while len({one[:length] for one in whole}) < len(whole) and length < max(map(len, whole)):
        length += 1
    return {one: one[:length] for one in whole}


def list_people(people: Mapping[str, str]) -> str:
    """Return the names, sorted, each with the beginning of the id where a name is there more than once."""
    names = list(people.values())
    short = short_ids(people) if len(set(names)) < len(names) else {}
    labels = (name if names.count(name) == 1 else f"{name} (#{short[user_id]})" for user_id, name in people.items())
    return ", ".join(sorted(labels))
