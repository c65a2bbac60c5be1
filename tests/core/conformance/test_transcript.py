"""Reading transcripts: whoever writes one learns where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

from evanesce.conformance.defaults import complete
from evanesce.conformance.transcript import (
    AnyOrder,
    ClientSends,
    Freeze,
    Quiet,
    ServerSends,
    Step,
    Transcript,
    TranscriptError,
    nested,
    read,
    shipped,
)
from evanesce.protocol import commands, events

SHIPPED = shipped()


def text(*steps: dict[str, Any], **fields: Any) -> bytes:
    head = {"name": "one", "about": "It is about this.", "protocol": "It says so."}
    return json.dumps(head | fields | {"steps": steps}).encode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"[]", r"one\.json: Expected `object`, got `array`"),
        (b"\xff", r"one\.json: "),
        (text({"kill": True}, title="no"), r"one\.json: Object contains unknown field `title`"),
        (text(), r"one\.json: .*steps"),
        (text({"kill": True}, name="two"), r"one\.json: `name` must be that of the file, and is two"),
        (text({"kill": True}, {"knil": True}), r"one\.json: steps\[1\]: a step has exactly one of the keys .*none"),
        (text({"kill": True, "close": 1000}), r"one\.json: steps\[0\]: .*\['kill', 'close'\]"),
        (text({"kill": False}), r"one\.json: steps\[0\]: Invalid .*at `\$\.kill`"),
        (text({"accept": {"before": 1}}), r"one\.json: steps\[0\]: .*unknown field `before` - at `\$\.accept`"),
        (text({"client": {}, "present": []}), r"one\.json: steps\[0\]: .*unknown field `present`"),
        (text({"any_order": [{"event": {}}, {"kill": True}]}), r"steps\[0\]\.any_order\[1\]: only client, event"),
        (text({"freeze": 1, "during": [{"quiet": 1}]}), r"steps\[0\]\.during\[0\]: only server, close and kill"),
        (text({"event": {}, "not_before": "soon"}), r"steps\[0\]: Expected `.*` matching regex"),
    ],
)
def test_a_wrong_transcript_is_refused_with_its_place(data: bytes, problem: str) -> None:
    with pytest.raises(TranscriptError, match=problem):
        read(data, "one.json")


def every_step(transcript: Transcript) -> Iterator[Step]:
    for step in transcript.steps:
        yield step
        if isinstance(step, AnyOrder | Freeze):
            yield from nested(step)


def fields_of(kinds: Iterable[type[msgspec.Struct]]) -> dict[str, dict[str, bool]]:
    """Return the fields of each type of the protocol by its tag, and whether they are required."""
    found: dict[str, dict[str, bool]] = {}
    for kind in kinds:
        tag = str(kind.__struct_config__.tag)
        fields = msgspec.inspect.type_info(kind).fields
        found.setdefault(tag, {}).update({field.encode_name: field.required for field in fields})
    return found


def structs(module: ModuleType, base: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    return [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, base)]


EVENTS = fields_of(structs(events, events.Event))
COMMANDS = fields_of(structs(commands, commands.Command))


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_both_sides_of_a_transcript_speak_the_protocol(name: str) -> None:
    for step in every_step(SHIPPED[name]):
        if isinstance(step, ServerSends):
            for template in step.server:
                fields = complete(template)
                if not name.startswith("unknown_"):
                    assert set(fields) <= set(EVENTS[fields["type"]]) | {"type"}
                required = {field for field, needed in EVENTS.get(fields["type"], {}).items() if needed}
                assert required <= set(fields)
        elif isinstance(step, ClientSends):
            assert set(step.client) <= set(COMMANDS[step.client["type"]]) | {"type"}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_transcript_ends_with_a_check_that_nothing_else_comes(name: str) -> None:
    assert isinstance(SHIPPED[name].steps[-1], Quiet)
