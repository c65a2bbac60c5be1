"""The interface for operators as OpenAPI 3.1, made from the types of its requests and answers."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from evanesce.admin import model
from evanesce.admin.operations import OPERATIONS, Operation

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"


@cache
def document() -> bytes:
    """Return the description as JSON."""
    return msgspec.json.encode(_document())


def _document() -> Schema:
    kinds = [kind for operation in OPERATIONS for kind in (operation.request, operation.answer)] + [model.Failure]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    # JSON Schema has the regular expressions of ECMA 262, without `\Z`.
    schemas = msgspec.json.decode(msgspec.json.encode(schemas).replace(rb'\\Z"', b'$"'), type=dict[str, Schema])
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        described = _operation(operation, schemas[operation.request.__name__])
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    requests = {operation.request.__name__ for operation in OPERATIONS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Evanesce, interface for operators", "version": "1"},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in requests},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, schema: Schema) -> Schema:
    properties: Schema = schema["properties"]
    in_path = operation.path_fields
    in_query = () if operation.has_body else tuple(name for name in properties if name not in in_path)
    described: Schema = {
        "operationId": operation.name,
        "summary": schema["description"],
        "parameters": [
            {"name": name, "in": place, "required": place == "path", "schema": properties[name]}
            for place, names in (("path", in_path), ("query", in_query))
            for name in names
        ],
        "responses": {
            "200": {"description": "Done.", "content": _json(_reference(operation.answer))},
            "default": {"description": "The request was refused.", "content": _json(_reference(model.Failure))},
        },
    }
    if operation.has_body:
        body: Schema = {
            "type": "object",
            "properties": {name: value for name, value in properties.items() if name not in in_path},
            "required": [name for name in schema["required"] if name not in in_path],
            "additionalProperties": False,
        }
        described["requestBody"] = {"required": bool(body["required"]), "content": _json(body)}
    return described


def _reference(kind: type[msgspec.Struct]) -> Schema:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
