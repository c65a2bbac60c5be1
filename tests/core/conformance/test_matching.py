"""Templates of transcripts: variables, times, what may be missing, and how a difference is told."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from evanesce.conformance.matching import Difference, ServerClock, Variables, shown


@pytest.fixture
async def variables() -> Variables:
    return Variables(ServerClock(0))


async def test_a_variable_keeps_its_first_value(variables: Variables) -> None:
    assert variables.differences({"messageId": "$m"}, {"messageId": "one"}) == []
    assert variables.fill({"messageId": "$m"}) == {"messageId": "one"}
    [difference] = variables.differences({"messageId": "$m"}, {"messageId": "two"})
    assert difference == Difference("messageId", '"one", which is $m', '"two"')


async def test_a_variable_that_the_server_says_first_becomes_an_id(variables: Variables) -> None:
    first, second = variables.fill(["$a", "$b"])
    assert first != second
    assert variables.fill("$a") == first
    assert variables.differences("$b", second) == []


async def test_a_frame_that_does_not_match_binds_nothing(variables: Variables) -> None:
    assert variables.differences({"messageId": "$m", "type": "send"}, {"messageId": "one", "type": "join"})
    assert variables.differences({"messageId": "$m"}, {"messageId": "two"}) == []


async def test_a_variable_twice_in_one_template_is_one_value(variables: Variables) -> None:
    assert variables.differences(["$x", "$x"], ["one", "two"])
    assert variables.differences(["$x", "$x"], ["one", "one"]) == []


async def test_a_command_without_ref_gets_a_reply_without_ref(variables: Variables) -> None:
    assert variables.differences({"type": "join", "ref": "$j"}, {"type": "join"}) == []
    assert variables.fill({"type": "joined", "ref": "$j"}) == {"type": "joined"}
    assert variables.differences({"type": "join", "ref": "$k"}, {"type": "join", "ref": 7}) == []
    assert variables.fill({"type": "joined", "ref": "$k"}) == {"type": "joined", "ref": 7}


@pytest.mark.parametrize(
    ("template", "came", "found"),
    [
        ({"a": "*"}, {"a": None, "b": 1}, []),
        ({"a": "*"}, {}, [("a", "any value", "nothing: the field is missing")]),
        ({"a": {"b": 1}}, {"a": {"b": 1.0, "c": 2}}, []),
        ({"a": {"b": 1}}, {"a": {"b": True}}, [("a.b", "1", "true")]),
        ({"a": {"b": 1}}, {"a": [1]}, [("a", "an object", "[1]")]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [("a[1].b", "2", "3")]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", "an array of 1", "[1,2]")]),
        ({"a": None}, {}, [("a", "null", "nothing: the field is missing")]),
        ({"a": 1}, "no object", [("", "an object", '"no object"')]),
    ],
)
async def test_what_matches(variables: Variables, template: Any, came: Any, found: list[tuple[str, str, str]]) -> None:
    assert variables.differences(template, came) == [Difference(*one) for one in found]


async def test_a_field_that_must_be_absent(variables: Variables) -> None:
    assert variables.differences({}, {"since": "x"}, ["since"]) == [Difference("since", "no such field", '"x"')]
    assert variables.differences({}, {"other": "x"}, ["since"]) == []


@pytest.mark.parametrize("offset", [0.0, 3600.0, -3600.0])
async def test_times_are_of_the_server(offset: float) -> None:
    variables = Variables(ServerClock(offset))
    other = Variables(ServerClock(0))
    filled = variables.fill({"expiresAt": "$end+90", "createdAt": "-1.5", "content": "+90"})
    assert filled["content"] == "+90"
    now = trio.current_time()
    assert variables.clock.at(filled["expiresAt"]) - now == pytest.approx(90, abs=5)
    assert variables.clock.at(filled["createdAt"]) - now == pytest.approx(-1.5, abs=5)
    assert other.clock.at(filled["expiresAt"]) - now == pytest.approx(90 + offset, abs=5)
    assert variables.value("$end") == filled["expiresAt"]
    assert variables.differences({"expiresAt": "$end"}, {"expiresAt": filled["expiresAt"]}) == []


def test_long_values_are_shortened() -> None:
    assert shown("x" * 1000) == '"' + "x" * 199 + "…"
