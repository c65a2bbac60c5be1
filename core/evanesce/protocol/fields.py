"""The rules for the fields of a profile: the display name and the mail address."""

from __future__ import annotations

import re
import unicodedata

from evanesce.errors import BadRequest

NAME_CHARACTERS = 64
"""The longest display name, in code points."""

SERVICE_SUFFIX = " (service)"
"""The end of the name that a service speaks under. No person may have a name that ends so, or seems to."""

_LONGEST_INPUT = 1024
"""The longest text that is normalised, in code points. A valid name with white space around it is shorter."""

# Line and paragraph separators end a line as control characters do. A lone surrogate cannot be written as UTF-8.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

# Bidi_Control=Yes (Unicode Standard Annex 9, section 2): marks, embeddings, overrides and isolates. An unclosed one
# reverses everything that a client shows after the name. Right-to-left names do not need them.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# Characters that are displayed as nothing, or as a blank that `str.strip` does not remove: Unicode's property
# Default_Ignorable_Code_Point, and the blank Braille pattern. With one of them two names can look the same.
_INVISIBLE_RANGES = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200D),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_INVISIBLE = frozenset(chr(code) for first, last in _INVISIBLE_RANGES for code in range(first, last + 1))

# Some of these are needed: joiners in some scripts, variation selectors and the tags of flags in emoji.
_NEEDED = frozenset("\u200c\u200d") | frozenset(
    chr(code)
    for first, last in ((0xFE00, 0xFE0F), (0xE0020, 0xE007F), (0xE0100, 0xE01EF))
    for code in range(first, last + 1)
)

# Letters of other scripts that look like those of "service", and brackets that look like parentheses, of those that the
# Unicode form NFKC does not replace.
_LOOKALIKES = str.maketrans(
    "\u0455\ua731\u0435\u1d07\u0433\u1d26\u0280\u03bd\u0475\u1d20\u0456\u03b9\u0131\u026a\u0441\u03f2\u1d04\u2768\u2769\u27ee\u27ef",
    "sseerrrvvviiiiccc()()",
)

_MARK_CATEGORIES = frozenset({"Mn", "Me"})
MARKS = 2
"""How many combining marks in a row a name may have. More of them would cover the lines above and below."""

# RFC 5321 section 4.1.2 without quoted strings and address literals, which are not in use, and with the letters of all
# scripts (RFC 6531). The domain has at least two labels: one label is not fully qualified (RFC 5321, section 2.3.5).
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LABEL = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\u0080-\U0010ffff-]{0,61}[A-Za-z0-9\u0080-\U0010ffff])?"
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@{_LABEL}(?:\.{_LABEL})+")
_ADDRESS_BYTES = 254
_LOCAL_BYTES = 64


def display_name(text: str, field: str = "displayName") -> str:
    """Return `text` as a name: in the Unicode form NFC, without white space around it, of 1 to 64 code points.

    Raises `BadRequest` about `field` for a name without a visible character, and for one with a control character, a
    line separator, a lone surrogate, a bidirectional control, an invisible character that no script or emoji needs, or
    more than `MARKS` combining marks in a row, and for one that seems to end with `SERVICE_SUFFIX`.
    """
    if len(text) > _LONGEST_INPUT:
        raise BadRequest(field, f"A name must have 1 to {NAME_CHARACTERS} characters.")
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= NAME_CHARACTERS:
        raise BadRequest(field, f"A name must have 1 to {NAME_CHARACTERS} characters.")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES or character in _BIDI_CONTROLS for character in name):
        raise BadRequest(field, "A name may not contain control characters.")
    if any(character in _INVISIBLE and character not in _NEEDED for character in name):
        raise BadRequest(field, "A name may not contain invisible characters.")
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        raise BadRequest(field, "A name must contain a visible character.")
    marks = 0
    for character in name:
        if unicodedata.category(character) in _MARK_CATEGORIES:
            marks += 1
        elif character not in _NEEDED:  # a joiner between marks is invisible: the marks are still in a row
            marks = 0
        if marks > MARKS:
            raise BadRequest(field, f"A name may have at most {MARKS} combining marks in a row.")
    if _as_seen(name).endswith(_as_seen(SERVICE_SUFFIX)):
        raise BadRequest(field, f"A name may not end with {SERVICE_SUFFIX.strip()}: only services have such names.")
    return name


def _as_seen(name: str) -> str:
    """Return a form that is the same for names that a reader would hardly tell apart by their Latin letters."""
    decomposed = unicodedata.normalize("NFKD", name).casefold().translate(_LOOKALIKES)
    return "".join(
        character
        for character in decomposed
        if unicodedata.category(character) not in _MARK_CATEGORIES
        and character not in _INVISIBLE
        and not character.isspace()
    )


def email_address(text: str, field: str = "email") -> str:
    """Return `text` unchanged if it has the form of a mail address, in any script, of at most 254 bytes of UTF-8.

    Raises `BadRequest` about `field`.
    """
    # Unprintable text is refused first, because lone surrogates are unprintable and cannot be encoded.
    if text.isprintable() and len(text.encode()) <= _ADDRESS_BYTES:
        match = _ADDRESS.fullmatch(text)
        if match is not None and len(match.group(1).encode()) <= _LOCAL_BYTES:
            return text
    raise BadRequest(field, "This is not a mail address, such as ada@example.org.")
