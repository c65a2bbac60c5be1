"""The canaries of an audit: random texts that nobody else sends, so that every copy of them comes from the audit."""

from __future__ import annotations

import enum
import secrets
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple


class Kind(enum.StrEnum):
    """What a canary was sent as."""

    SENT = "sent"
    """The content of messages that were stored and delivered."""
    UNSENT = "unsent"
    """The content of a message that its sender took back."""
    REJECTED = "rejected"
    """The content of commands and frames that the server refused."""
    CONFLICTING = "conflicting"
    """Other content under the id of a message that was stored already."""
    OVERSIZED = "oversized"
    """The content of a message, and of a frame, above the limits."""
    NAME = "name"
    """Display names of the accounts that the audit uses."""
    MAIL = "mail address"
    """The mail address of such an account."""
    TYPING = "typing"
    """Fields of `typing` that the protocol does not know, and its `ref`."""

    @property
    def belongs_to_account(self) -> bool:
        """Whether the database keeps it until the account is erased."""
        return self in (Kind.NAME, Kind.MAIL)


_CODES = {kind: chr(ord("a") + number) for number, kind in enumerate(Kind)}
_KINDS = {code: kind for kind, code in _CODES.items()}

ENCODINGS = ("utf-8", "utf-16-le", "utf-32-le")
"""The forms that are searched for: UTF-8 is also that of ASCII, and Python keeps other texts with 2 or 4 bytes each."""

CHUNK = 1 << 20
"""How many bytes are searched at once."""


class _Form(NamedTuple):
    mark: bytes
    encoding: str
    width: int  # bytes of one character


class Canaries:
    """The canaries of one audit. They begin with the same random mark; the letter after it tells the kind."""

    def __init__(self) -> None:
        self._mark = "q" + secrets.token_hex(12)
        self._forms = [_Form(self._mark.encode(name), name, len("a".encode(name))) for name in ENCODINGS]
        self._longest = max(len(form.mark) + form.width for form in self._forms)

    def __repr__(self) -> str:
        return "<Canaries>"  # so that none of them reaches a log

    def text(self, kind: Kind) -> str:
        """Return the canary of a kind: 26 letters and digits of ASCII."""
        return self._mark + _CODES[kind]

    def masked(self, text: str) -> str:
        """Return `text` without the mark, for output: the name of a file or a key may contain a canary."""
        return text.replace(self._mark, "(canary)")

    def search(self, data: bytes) -> Counter[Kind]:
        """Return how many canaries of each kind are in `data`."""
        return self._search(data, len(data))

    def search_stream(self, read: Callable[[int], bytes]) -> Counter[Kind]:
        """Return how many canaries of each kind are in what `read` returns, piece by piece, until it returns nothing.

        `read` is called with the number of bytes to read. A canary may lie across two pieces.
        """
        found: Counter[Kind] = Counter()
        rest = b""
        while piece := read(CHUNK):
            data = rest + piece
            # What begins later is searched for with the next piece, so that each place is searched once.
            keep = max(0, len(data) - self._longest + 1)
            found += self._search(data, keep)
            rest = data[keep:]
        return found + self._search(rest, len(rest))

    def _search(self, data: bytes, end: int) -> Counter[Kind]:
        """Search for canaries that begin before `end`."""
        found: Counter[Kind] = Counter()
        for form in self._forms:
            place = data.find(form.mark)
            while 0 <= place < end:
                after = place + len(form.mark)
                kind = _KINDS.get(data[after : after + form.width].decode(form.encoding, "replace"))
                if kind is not None:
                    found[kind] += 1
                place = data.find(form.mark, after)
        return found
