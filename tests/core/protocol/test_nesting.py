"""How deep text nests: the same answer as a reader that goes character by character, whatever the text is."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.protocol.codec import MAX_DEPTH, nests_deeper

PIECES = st.sampled_from(['"', "\\", '\\"', "\\\\", "[", "]", "{", "}", "a", "é", "\ud800", ",", '"k":', "[[[", "]]]"])


def deepest(text: str) -> int:
    """Return how deep `text` nests before it stops being JSON, read character by character."""
    depth = found = 0
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif inside:
            escaped = character == "\\"
            inside = character != '"'
        elif character == "\\":
            return found  # no JSON has a backslash outside a string
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            found = max(found, depth)
        elif character in "]}":
            depth -= 1
    return found


@given(st.lists(PIECES, max_size=60).map("".join), st.integers(min_value=0, max_value=6))
def test_it_agrees_with_a_reader_of_characters(text: str, limit: int) -> None:
    if deepest(text) > limit:
        assert nests_deeper(text, limit)


json_values = st.recursive(
    st.none() | st.text(alphabet='"\\[]{}aé\n') | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='"\\[]{}'), inner, max_size=3),
)


@given(json_values, st.integers(min_value=0, max_value=6))
def test_it_is_exact_for_json(value: Any, limit: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert nests_deeper(text, limit) == (deepest(text) > limit)


@pytest.mark.parametrize("text", ["[" * 33 + "]" * 33, '{"a":' * 33 + "1" + "}" * 33, "[]" * 33 + "[" * 33])
def test_one_level_more_is_too_deep(text: str) -> None:
    assert nests_deeper(text, MAX_DEPTH)
    assert not nests_deeper(text, MAX_DEPTH + 1)


def test_brackets_in_strings_are_text() -> None:
    text = msgspec.json.encode({"content": '[{"\\' * 1000, "more": ["[" * 100] * 50}).decode()
    assert not nests_deeper(text, 2)
