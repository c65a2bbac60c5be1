"""The rules for what people say about themselves: a display name, an address."""

from __future__ import annotations

import re
import unicodedata

from evanesce.errors import BadRequest

NAME_CHARACTERS = 64
"""The longest display name, in code points."""

# Line and paragraph separators end a line as a control character does; a lone surrogate has no UTF-8.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

# Embeddings, overrides and isolates (Unicode Standard Annex 9, section 2): one that is not closed turns round all that
# a client shows behind the name. Right-to-left names need none; the marks U+200E, U+200F and U+061C stay lawful.
_DIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# RFC 5321 section 4.1.2 without quoted strings and address literals, which nobody's mailbox needs; with the letters of
# every script, as RFC 6531 has it. At least two labels: a domain of one is not fully qualified (RFC 5321, 2.3.5).
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LABEL = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\u0080-\U0010ffff-]{0,61}[A-Za-z0-9\u0080-\U0010ffff])?"
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@{_LABEL}(?:\.{_LABEL})+")
_ADDRESS_BYTES = 254
_LOCAL_BYTES = 64


def display_name(text: str, field: str = "displayName") -> str:
    """Give `text` as a name: trimmed of white space, then 1 to 64 characters (code points), without control characters.

    Refused as control characters are also what would break out of a name's place on the screen: line and paragraph
    separators, and characters that embed, override or isolate a direction; and lone surrogates, which are no text.
    Joiners and variation selectors, which scripts and emoji need, are let in. Raises `BadRequest` about `field`.
    """
    name = text.strip()
    if not 1 <= len(name) <= NAME_CHARACTERS:
        raise BadRequest(field, f"A name has 1 to {NAME_CHARACTERS} characters.")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES or character in _DIRECTIONAL for character in name):
        raise BadRequest(field, "A name has no control characters.")
    return name


def email_address(text: str, field: str = "email") -> str:
    """Give `text` where it is a mail address that could exist, in any script, as it is; at most 254 bytes of UTF-8.

    Raises `BadRequest` about `field`.
    """
    # What is not printable goes first: it holds the lone surrogates, which cannot be encoded and so have no length.
    if text.isprintable() and len(text.encode()) <= _ADDRESS_BYTES:
        match = _ADDRESS.fullmatch(text)
        if match is not None and len(match.group(1).encode()) <= _LOCAL_BYTES:
            return text
    raise BadRequest(field, "This is not a mail address, such as ada@example.org.")
