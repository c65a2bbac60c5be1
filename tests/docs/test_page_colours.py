"""The colours of the page have the contrast that docs/explanation/the-page.md states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STYLE = (ROOT / "transports/evanesce_transports/quart/static/base.css").read_text("utf-8")
PAGE = (ROOT / "docs/explanation/the-page.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
GRAPHICS = {"edge", "wick"}
"""Colours of borders and lines, for which 3 : 1 is enough. All others are those of text: 4.5 : 1."""


def colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", style))


LIGHT = colours(STYLE.partition("@media")[0])
DARK = LIGHT | colours(STYLE.partition("@media")[2].partition("@media")[0])


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} on {row[1]}")
def test_a_colour_has_the_contrast_that_is_stated(row: tuple[str, str, str, str], scheme: str) -> None:
    colour, ground, *stated = row
    values = DARK if scheme == "dark" else LIGHT
    measured = contrast(values[colour], values[ground])
    assert f"{measured:.1f}" == stated[scheme == "dark"]
    assert measured >= (3 if colour in GRAPHICS else 4.5)


def test_every_colour_of_text_and_of_borders_is_stated() -> None:
    grounds = {"ground", "surface", "own", "notice", "line"}  # `line` divides what space divides as well
    assert {row[0] for row in ROWS} == set(LIGHT) - grounds
    assert {row[1] for row in ROWS} >= grounds - {"line"}
