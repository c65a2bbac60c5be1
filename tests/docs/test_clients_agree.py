"""Both client libraries have the same states, events and errors, and the protocol's are as the JSON Schema has them.

The types of the JavaScript client are declared in index.d.ts and protocol.d.ts by hand; those of Python are in
evanesce.client.events. The names of Python are in snake case, and on the wire in camel case.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from evanesce import client
from evanesce.client import aio, errors, events
from evanesce.client.membership import MembershipState
from tests.docs.test_javascript import PAGE, PROTOCOL
from tests.schemas import DEFAULT_LIMITS, Json, members, schema_of

INDEX = (PAGE / "client/index.d.ts").read_text()
DOCUMENT = schema_of(DEFAULT_LIMITS)

Declared = dict[str, tuple[bool, str]]
"""The fields of an interface: whether each may be left out, and its type."""

OWN = {"JoinedEvent": events.Joined, "MissedEvent": events.Missed, "ExpiredEvent": events.Expired}
"""The events that the libraries add to those of the protocol, but `left`: its error has another form."""

TYPES = {"string": {"string"}, "Timestamp": {"string"}, "number": {"number", "integer"}, "boolean": {"boolean"}}
"""The types of JSON Schema that a type of TypeScript stands for."""


def interfaces(text: str) -> dict[str, Declared]:
    """Return the interfaces that a file declares, with the fields of those that they extend in the same file."""
    found: dict[str, Declared] = {}
    pattern = r"^ *(?:export )?interface (\w+)(?: extends (\w+))?[^{]*\{\n(.*?)^ *\}"
    for name, base, body in re.findall(pattern, text, re.M | re.S):
        own = {field: (bool(mark), kind) for field, mark, kind in re.findall(r"^ +(\w+)(\??): (.+);$", body, re.M)}
        found[name] = found.get(base, {}) | own
    return found


def tags(text: str) -> dict[str, str]:
    """Return the names of interfaces by the `type` that they have: of an event, where a reply has the same one."""
    found = interfaces(text).items()
    kinds = {name: fields["type"][1] for name, fields in found if "type" in fields and not name.endswith("Reply")}
    return {kind.strip('"'): name for name, kind in kinds.items() if kind.startswith('"')}


def choices(text: str) -> set[str]:
    """Return the texts that a type of TypeScript allows."""
    return set(re.findall(r'"(\w+)"', text))


def literals(hint: Any) -> set[str]:
    assert get_origin(hint) is Literal
    return set(get_args(hint))


def of_python(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Return the fields of a type as on the wire, and whether each may be left out."""
    return {field.encode_name: not field.required for field in msgspec.structs.fields(kind)}


def definition(tag: str) -> dict[str, Json]:
    names = [*members(DOCUMENT, "Event"), *members(DOCUMENT, "Reply")]
    found = [DOCUMENT["$defs"][name] for name in names]
    return next(one for one in found if one["properties"]["type"]["enum"] == [tag])


EVENTS = sorted(DOCUMENT["$defs"][name]["properties"]["type"]["enum"][0] for name in members(DOCUMENT, "Event"))


@pytest.mark.parametrize("tag", EVENTS)
def test_an_event_is_declared_in_javascript_as_the_schema_has_it(tag: str) -> None:
    declared = interfaces(PROTOCOL)[tags(PROTOCOL)[tag]]
    schema = definition(tag)
    assert set(declared) == set(schema["properties"])
    for name, (optional, kind) in declared.items():
        assert optional is (name not in schema["required"]), name
        if kind in TYPES:
            assert types_of(schema["properties"][name]) & TYPES[kind], f"{name} is no {kind}"


def types_of(schema: dict[str, Json]) -> set[str]:
    if "$ref" in schema:
        return types_of(DOCUMENT["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return set[str]().union(*map(types_of, schema["anyOf"]))
    return {schema.get("type", "string")}  # a choice of texts has no type


def test_the_events_of_the_schema_are_those_of_both_clients() -> None:
    union = re.search(r"type Event =([^;]*);", PROTOCOL)
    assert union is not None
    names = tags(PROTOCOL)
    assert {names[tag] for tag in EVENTS} == set(re.findall(r"\w+", union[1]))
    to_the_application = set(EVENTS) - {"skipped", "gap", "goodbye"}  # which the libraries act upon themselves
    assert set(events.PROTOCOL_EVENTS) == to_the_application


@pytest.mark.parametrize("tag", sorted(events.PROTOCOL_EVENTS))
def test_an_event_is_typed_in_python_as_the_schema_has_it(tag: str) -> None:
    kind = events.PROTOCOL_EVENTS[tag]
    schema = definition(tag)
    added = {"encrypted", "unreadable"} if kind is events.Message else set[str]()
    fields = of_python(kind)
    assert set(fields) - added == set(schema["properties"]) - {"type", "ref"}
    for name in set(fields) - added:
        optional = name not in schema["required"]
        assert fields[name] is optional, name


def test_the_rooms_of_both_clients_give_the_same_events() -> None:
    union = re.search(r"type RoomEvent =([^;]*);", INDEX)
    assert union is not None
    names = {name.removeprefix("Protocol.") for name in re.findall(r"[\w.]+", union[1])}
    by_name = {name: tag for text in (PROTOCOL, INDEX) for tag, name in tags(text).items()}
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.RoomEvent)]
    of_python_alone = {str(kind.__struct_config__.tag) for kind in kinds if kind is not events.RoomEvent}
    assert {by_name[name] for name in names} == of_python_alone


@pytest.mark.parametrize("name", sorted(OWN))
def test_an_event_of_the_libraries_has_the_same_fields(name: str) -> None:
    declared = {field: optional for field, (optional, _) in interfaces(INDEX)[name].items() if field != "type"}
    assert of_python(OWN[name]) == declared
    assert OWN[name].__struct_config__.tag == next(tag for tag, other in tags(INDEX).items() if other == name)


def test_the_reasons_and_states_are_the_same() -> None:
    own = interfaces(INDEX)
    assert literals(get_type_hints(events.Missed)["reason"]) == choices(own["MissedEvent"]["reason"][1])
    assert literals(get_type_hints(events.Left)["reason"]) == choices(own["LeftEvent"]["reason"][1])
    rooms = re.search(r"type RoomState = ([^;]*);", INDEX)
    states = re.search(r"type ConnectionState =(.*?)\n\n", INDEX, re.S)
    assert rooms is not None
    assert states is not None
    assert literals(MembershipState) == choices(rooms[1])
    assert literals(get_type_hints(events.State)["state"]) == set(re.findall(r'state: "(\w+)"', states[1]))
    fields = {name for body in re.findall(r"\{([^}]*)\}", states[1]) for name in re.findall(r"(\w+)\??:", body)}
    assert of_python(events.State).keys() == fields


def test_the_errors_are_the_same() -> None:
    classes = dict(re.findall(r"export class (\w+) extends Error \{\n(.*?)^\}", INDEX, re.M | re.S))
    assert classes.keys() == {"Refused", "NotSent", "OutcomeUnknown", "KeyMissing"}
    for name in classes:
        assert issubclass(getattr(client, name), Exception)
    refused = errors.Refused({"type": "error", "code": "conflict", "message": "No.", "retry": False})
    declared = set(re.findall(r"readonly (\w+):", classes["Refused"]))
    assert {camel(name) for name in vars(refused)} - {"message"} == declared


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def test_a_message_is_sent_with_the_same_options() -> None:
    options = interfaces(INDEX)["SendOptions"]
    for room in (client.Room, aio.Room):
        given = {
            camel(name) for name, one in inspect.signature(room.send).parameters.items() if one.kind is one.KEYWORD_ONLY
        }
        assert given == options.keys()


def public(kind: type) -> set[str]:
    return {camel(name) for name in vars(kind) if not name.startswith("_")}


def test_a_room_can_do_the_same() -> None:
    body = re.search(r"interface Room extends[^{]*\{\n(.*?)^\}", INDEX, re.M | re.S)
    assert body is not None
    methods = set(re.findall(r"^  (?:readonly )?(\w+)[<(:]", body[1], re.M)) - {"roomId"}  # an attribute in Python
    assert methods <= public(client.Room)
    assert methods | {"typing", "members", "refused"} >= public(aio.Room) - {"roomId"}


def test_the_face_for_asyncio_has_what_the_library_on_trio_has() -> None:
    of_the_client_itself = {"joined", "join", "take", "hasSpace", "lose", "stop", "checkTime"}
    assert public(client.Room) - of_the_client_itself == public(aio.Room) - {"roomId"}
    of_another_form = {"run", "enter", "signInAnew"}  # what an application on asyncio has no use for
    assert public(client.Client) - of_another_form == public(aio.Client) - {"state"}
