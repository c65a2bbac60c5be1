"""Shapes of input that are known to be slow for parsers. Each returns a text of a given size."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from evanesce.protocol.commands import AnyCommand

TextShape = Callable[[int], str]
BytesShape = Callable[[int], bytes]


def repeated(part: str, before: str = "", after: str = "") -> TextShape:
    """Return the shape `before`, as many of `part` as fit into the size, `after`."""

    def shape(size: int) -> str:
        return before + part * max(1, (size - len(before) - len(after)) // len(part)) + after

    return shape


def numbered(part: str, before: str = "", after: str = "") -> TextShape:
    """Return a shape as `repeated` does, with a number for each `%d` of the part."""

    def shape(size: int) -> str:
        length = len(part) + 3
        return before + "".join(part % number for number in range(size // length)) + after

    return shape


def encoded(shape: TextShape) -> BytesShape:
    """Return the shape as Latin-1, as it is in headers."""
    return lambda size: shape(size).encode("latin-1")


TEXTS: dict[str, TextShape] = {
    "letters": repeated("a"),
    "digits": repeated("9"),
    "zeros": repeated("0"),
    "hexadecimal": repeated("f", "0x"),
    "hexadecimal that ends wrong": repeated("f", "0x", "g"),
    "spaces": repeated(" "),
    "spaces around a letter": lambda size: repeated(" ")(size // 2) + "a" + repeated(" ")(size // 2),
    "spaces of other scripts": repeated("\u3000", "a", "a"),
    "dots": repeated("."),
    "labels": repeated("a."),
    "labels before an @": repeated("a.", "", "@"),
    "labels behind an @": repeated("a.", "a@"),
    "@": repeated("@"),
    "dashes": repeated("-"),
    "digits and dashes": repeated("1-"),
    "digits and dashes behind an epoch": repeated("1-", "e-"),
    "base64": repeated("QUJD"),
    "base64 padding": repeated("="),
    "commas": repeated(","),
    "control characters": repeated("\x1b"),
    "control characters between letters": repeated("a\x1b"),
    "combining marks": repeated("\u0301", "a"),
    "directional marks": repeated("\u202e"),
    "emoji": repeated("\U0001f469\u200d"),
    "lone surrogates": repeated("\ud800"),
}
"""Shapes for parsers of any text."""

VALUES: dict[str, TextShape] = {
    "letters": repeated("a", '"', '"'),
    "escaped quotes": repeated('\\"', '"', '"'),
    "escaped letters": repeated("\\u00e9", '"', '"'),
    "escaped surrogates": repeated("\\ud800", '"', '"'),
    "surrogate pairs": repeated("\\ud83d\\ude00", '"', '"'),
    "escapes that are none": repeated("\\x", '"', '"'),
    "a UUID again and again": repeated("5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1", '"', '"'),
    "digits": repeated("9"),
    "digits behind a point": repeated("3", "0."),
    "digits on both sides of a point": lambda size: repeated("1")(size // 2) + "." + repeated("1")(size // 2),
    "digits of an exponent": repeated("9", "1e"),
    "numbers of 25 digits": repeated("9" * 25 + ",", "[", "1]"),
    "numbers of 4,300 digits": repeated("9" * 4300 + ",", "[", "1]"),
    "numbers": repeated("1,", "[", "1]"),
    "arrays": repeated("[],", "[", "1]"),
    "objects": repeated("{},", "[", "1]"),
    "texts": repeated('"",', "[", "1]"),
    "keys": numbered('"%d":1,', "{", '"k":1}'),
    "one key": repeated('"k":1,', "{", '"k":1}'),
    "arrays that nest": repeated("[" * 20 + "]" * 20 + ",", "[", "1]"),
    "objects that nest": repeated('{"a":' * 20 + "1" + "}" * 20 + ",", "[", "1]"),
    "arrays that never close": repeated("["),
    "objects that never close": repeated('{"a":'),
}
"""JSON values, most of them valid."""

BROKEN: dict[str, TextShape] = {
    "escaped quotes without an end, and brackets": repeated('\\"', '"', "[" * 33),
    "quotes": repeated('"', "", "[" * 33),
    "quotes and brackets": repeated('"['),
    "quotes, brackets and escapes": repeated('"[\\"'),
    "backslashes": repeated("\\", '"', '"' + "[" * 33),
    "backslashes outside": repeated("\\", "", "[" * 33),
    "brackets": repeated("["),
    "closed brackets": repeated("]", "", "[" * 33),
    "pairs of brackets": repeated("[]"),
    "braces": repeated("{"),
    "spaces": repeated(" "),
    "spaces before a frame": repeated(" ", "", '{"type":"ping"}'),
    "spaces behind a frame": repeated(" ", '{"type":"ping"}', "x"),
    "commas": repeated(",", "["),
    "colons": repeated(":", '{"a"'),
    "minus signs": repeated("-"),
    "control characters": repeated("\0", '"'),
    "lone surrogates": repeated("\ud800"),
    "beyond ASCII": repeated("é["),
}
"""Invalid JSON, or JSON with an error after a while."""


def commands() -> dict[str, TextShape]:
    """Return shapes for every field of every command, and for the type and a field that no command has."""
    shapes: dict[str, TextShape] = {
        f"type: {name}": _framed('{"type":', value, "}") for name, value in VALUES.items() if value(64)[0] != "["
    }
    for kind in get_args(AnyCommand):
        tag = str(kind.__struct_config__.tag)
        for field in (*filter(None, kind.__struct_encode_fields__), "unknown"):
            for name, value in VALUES.items():
                shapes[f"{tag}.{field}: {name}"] = _framed(f'{{"type":"{tag}","{field}":', value, "}")
        shapes[f"{tag}: its type again and again"] = repeated(f',"type":"{tag}"', f'{{"type":"{tag}"', "}")
    return shapes


def _framed(before: str, value: TextShape, after: str) -> TextShape:
    return lambda size: before + value(size - len(before) - len(after)) + after
