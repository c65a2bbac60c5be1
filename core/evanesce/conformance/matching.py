"""How a value of a transcript matches what the client sent, and becomes what the server sends.

`$name` is a variable: bound when it is first met, equal to that value from then on. `*` matches anything. `+1.5` in a
field of a time is the server's clock and so many seconds; `$name+1.5` also keeps this time as a variable.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, cast

import msgspec
import trio

from evanesce.conformance.transcript import Json
from evanesce.model import Timestamp, milliseconds, new_id, timestamp

_VARIABLE = re.compile(r"^\$(\w+)\Z")
_TIME = re.compile(r"^(?:\$(\w+))?([+-]\d+(?:\.\d+)?)\Z")
_TIME_FIELDS = frozenset({"createdAt", "expiresAt", "serverTime", "tokenExpiresAt", "until"})
_SHOWN_CHARACTERS = 200


class _Missing:
    """What an object has in place of a field that it does not have."""


_MISSING: Final = _Missing()


class ServerClock:
    """The clock of the scripted server: the computer's at the start, and an offset; it goes on monotonically."""

    def __init__(self, offset: float) -> None:
        """`offset` is in seconds."""
        self._zero = time.time() + offset - trio.current_time()

    def text(self, after: float = 0) -> str:
        """Return the time in so many seconds, as the protocol writes it."""
        return timestamp(round((trio.current_time() + self._zero + after) * 1000))

    def at(self, text: str) -> float:
        """Return a time of this clock as a time of Trio's."""
        return milliseconds(Timestamp(text)) / 1000 - self._zero


@dataclass(frozen=True)
class Difference:
    """A place where what came differs from what was expected, both as text for a person."""

    path: str
    expected: str
    came: str


class Variables:
    """The variables of one run of a transcript."""

    def __init__(self, clock: ServerClock) -> None:
        """Bind nothing yet."""
        self.clock = clock
        self._values: dict[str, Json] = {}

    def value(self, name: str) -> Json:
        """Return the value of `$name`. Raises `KeyError` if nothing has bound it."""
        return self._values[name.removeprefix("$")]

    def fill(self, template: Json, key: str = "") -> Json:
        """Return what a template stands for. An unbound variable becomes a new id.

        A `ref` that is an unbound variable is left out: the client gave its command none.
        """
        if isinstance(template, dict):
            fields = cast("dict[str, object]", template)
            return {
                name: self.fill(value, name) for name, value in fields.items() if not self._unbound_ref(name, value)
            }
        if isinstance(template, list):
            return [self.fill(value) for value in cast("list[object]", template)]
        if not isinstance(template, str):
            return template
        if variable := _VARIABLE.match(template):
            return self._values.setdefault(variable[1], new_id())
        offset = _TIME.match(template)
        if offset and (offset[1] or key in _TIME_FIELDS):
            text = self.clock.text(float(offset[2]))
            if offset[1]:
                self._values[offset[1]] = text
            return text
        return template

    def _unbound_ref(self, key: str, value: Json) -> bool:
        variable = _VARIABLE.match(value) if key == "ref" and isinstance(value, str) else None
        return variable is not None and variable[1] not in self._values

    def differences(self, template: Json, came: Json, absent: Collection[str] = ()) -> list[Difference]:
        """Return where `came` differs from a template; none: it matches, and its variables are bound.

        Fields that the template does not name are allowed, except those in `absent`.
        """
        bound: dict[str, Json] = {}
        found = list(self._compare("", template, came, bound))
        if isinstance(came, dict):
            fields = cast("dict[str, object]", came)
            found += [Difference(name, "no such field", shown(fields[name])) for name in absent if name in fields]
        if not found:
            self._values |= bound
        return found

    def _compare(self, path: str, template: Json, came: Json, bound: dict[str, Json]) -> list[Difference]:
        if isinstance(template, dict):
            if not isinstance(came, dict):
                return [Difference(path, "an object", shown(came))]
            found: list[Difference] = []
            values = cast("dict[str, object]", came)
            for name, value in cast("dict[str, object]", template).items():
                inner = f"{path}.{name}" if path else name
                found += self._compare(inner, value, values.get(name, _MISSING), bound)
            return found
        if isinstance(template, list):
            items = cast("list[object]", template)
            if not isinstance(came, list) or len(cast("list[object]", came)) != len(items):
                return [Difference(path, f"an array of {len(items)}", shown(came))]
            pairs = zip(items, cast("list[object]", came), strict=True)
            return [one for place, pair in enumerate(pairs) for one in self._compare(f"{path}[{place}]", *pair, bound)]
        variable = _VARIABLE.match(template) if isinstance(template, str) else None
        if variable:
            return self._compare_variable(path, variable[1], came, bound)
        if (template == "*" and came is not _MISSING) or (same_kind(template, came) and template == came):
            return []
        return [Difference(path, "any value" if template == "*" else shown(template), shown(came))]

    def _compare_variable(self, path: str, name: str, came: Json, bound: dict[str, Json]) -> list[Difference]:
        known = self._values.get(name, bound.get(name, _MISSING))
        if known is _MISSING:
            if came is _MISSING:
                return (
                    [] if path == "ref" else [Difference(path, f"a value, which is ${name} from then on", shown(came))]
                )
            bound[name] = came
            return []
        return [] if known == came else [Difference(path, f"{shown(known)}, which is ${name}", shown(came))]


def same_kind(one: Json, other: Json) -> bool:
    """Return whether two values are both booleans, or both none: 1 is not true in JSON."""
    return isinstance(one, bool) == isinstance(other, bool)


def shown(value: Json) -> str:
    """Return a value as JSON, shortened."""
    if value is _MISSING:
        return "nothing: the field is missing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
