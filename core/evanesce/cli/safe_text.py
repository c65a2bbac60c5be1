"""Text of others, made safe for a terminal: nothing in it moves the cursor, hides text or changes its direction."""

from __future__ import annotations

import unicodedata

_KEPT = frozenset("\u200c\u200d\ufe0f")
"""What scripts and emoji need between their characters."""


def safe(text: str) -> str:
    """Return `text` on one line, with control characters, bidirectional controls and other invisible ones escaped."""
    return "".join(character if _is_shown(character) else _escaped(character) for character in text)


def _is_shown(character: str) -> bool:
    return character in _KEPT or not unicodedata.category(character).startswith(("C", "Zl", "Zp"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
