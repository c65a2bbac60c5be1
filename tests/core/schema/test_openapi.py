"""The OpenAPI description against the official rules, the examples, and the routes of the transport that serves it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from evanesce.schema import documents
from evanesce.schema.openapi import openapi
from evanesce.schema.operations import OPERATIONS
from evanesce_transports.quart.app import build
from tests.schemas import DEFAULT_LIMITS
from tests.transports.serving import FakeGateway

ROUTES = (("GET", "/plugin"), ("POST", "/plugin"))
DOCUMENT: dict[str, Any] = json.loads(documents(DEFAULT_LIMITS, ROUTES)["openapi.json"])


NOT_THE_API = ("/ws",)
OF_THE_SITE = ("GET", "/r/{roomId}")  # served before the application


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_it_is_an_openapi_document() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []
    without_title = DOCUMENT | {"info": {"version": "1"}}
    assert list(OpenAPIV31SpecValidator(without_title).iter_errors())


async def test_it_has_the_routes_of_the_server_and_those_of_plugins() -> None:
    gateway = FakeGateway()
    gateway.documents = documents(DEFAULT_LIMITS)
    application = build(gateway, metrics_public=False)
    served = {
        (method, re.sub(r"<(\w+)>", lambda found: f"{{{camel(found[1])}}}", rule.rule))
        for rule in application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in NOT_THE_API
    }
    assert {(method, path) for method, path, _ in operations()} == served | {OF_THE_SITE} | set(ROUTES)


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_the_objects_have_neither_type_nor_ref(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    assert not {"type", "ref"} & set(schema.get("properties", ()))
    for example in schema.get("examples", ()):
        check = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        Draft202012Validator(check).validate(example)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_every_field_of_a_command_is_in_the_path_the_query_or_the_body(operation: Any) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    fields = {parameter["name"] for parameter in described.get("parameters", ())}
    if "requestBody" in described:
        body = described["requestBody"]["content"]["application/json"]["schema"]
        assert not fields & set(body["properties"])
        for example in body["examples"]:
            Draft202012Validator(body | {"components": DOCUMENT["components"]}).validate(example)
        fields |= set(body["properties"])
    expected = {name.replace("_", "") for name in operation.command.__struct_fields__} - {"ref", "request"}
    assert {field.lower() for field in fields} == expected
    statuses = set(described["responses"])
    assert {str(operation.status), "400", "401", "429", "500", "503"} <= statuses
    assert "default" not in statuses, "a status that nobody has described would go unnoticed"


def test_a_route_of_a_plugin_is_listed_by_method_and_path_alone() -> None:
    assert DOCUMENT["paths"]["/plugin"].keys() == {"get", "post"}
    assert "/plugin" not in openapi(DEFAULT_LIMITS)["paths"]
