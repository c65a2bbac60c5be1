"""The HTTP API as OpenAPI 3.1, whose schemas are JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from evanesce.errors import ErrorCode
from evanesce.protocol import commands, events
from evanesce.protocol.answers import ERRORS, HTTP_ERRORS, REPLIES
from evanesce.schema.definitions import Schema, definitions
from evanesce.schema.json_schema import DIALECT
from evanesce.schema.operations import OPERATIONS, PREFIX, Operation

_REFERENCE = "#/components/schemas/{name}"
_SIGNED_IN = [{"token": list[str]()}]
_ANYBODY: list[dict[str, list[str]]] = [{}, *_SIGNED_IN]

_STATUSES_OF_HTTP = {
    "400": "The request is not valid HTTP.",
    "408": "The body took too long.",
    "411": "The body has no Content-Length.",
    "413": "The body is too large.",
    "421": "The request is for another host.",
    "429": "There are too many requests or connections of this address.",
    "431": "The head of the request is too large.",
    "500": "A fault of the server.",
    "501": "The transfer coding is not known.",
    "503": "The server is busy, or shuts down.",
    "505": "The version of HTTP is not known.",
}
"""The statuses with which any request may be refused, before its address is looked at."""

Route = tuple[str, str]
"""The method and the path of a plugin's route."""


def openapi(limits: events.Limits, routes: Sequence[Route] = ()) -> dict[str, Any]:
    """Return the description of the HTTP API of a server with these limits and these routes of plugins."""
    schemas = {name: _bare(schema) for name, schema in definitions(limits, _REFERENCE).items()}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    paths[f"{PREFIX}/session"]["post"] = _sign_in(schemas)
    paths |= {path: {"get": described} for path, described in _others().items()}
    for method, path in routes:
        answer = {"default": {"description": "What the plugin answers."}}
        paths.setdefault(path, {})[method.lower()] = {"summary": "A route of a plugin.", "responses": answer}
    kept = {reply.__name__ for reply in REPLIES.values()} - {"Welcome", "Joined"} | {"Error", "Access"}
    kept |= {"Member", "InviteInfo", "BanInfo"}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {"title": "Evanesce, HTTP API", "version": "1", "x-limits": msgspec.to_builtins(limits)},
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name in kept},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _bare(schema: Schema) -> Schema:
    """Return the schema of an object as it is over HTTP: without `type` and `ref`."""
    if "properties" not in schema:
        return schema
    examples = [_without(example, ("type", "ref")) for example in schema.get("examples", ())]
    required = [name for name in schema.get("required", ()) if name != "type"]
    bare = schema | {"properties": _without(schema["properties"], ("type", "ref")), "required": required}
    return bare | {"examples": examples} if examples else bare


def _without(fields: Schema, names: Iterable[str]) -> Schema:
    return {name: value for name, value in fields.items() if name not in names}


def _operation(operation: Operation, schemas: dict[str, Schema]) -> dict[str, Any]:
    kind = operation.command
    schema = schemas[kind.__name__]
    codes = ERRORS[kind] | HTTP_ERRORS
    if operation.has_body:
        codes |= {ErrorCode.BAD_FRAME}
    described: dict[str, Any] = {
        "operationId": kind.__struct_config__.tag,
        "summary": schema["description"],
        "security": _ANYBODY if kind is commands.Challenge else _SIGNED_IN,
        "responses": {str(operation.status): _answer(operation), **_errors(codes)},
    }
    placed = {**dict.fromkeys(operation.path_fields, "path"), **dict.fromkeys(operation.query, "query")}
    if placed:
        described["parameters"] = [
            {"name": name, "in": place, "required": place == "path", "schema": schema["properties"][name]}
            for name, place in placed.items()
        ]
    if operation.has_body:
        described["requestBody"] = _body(schema, tuple(placed))
    return described


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.status == 204:
        return {"description": "Done."}
    reply = REPLIES[operation.command]
    return {"description": "Done.", "content": _json({"$ref": _REFERENCE.format(name=reply.__name__)})}


def _sign_in(schemas: dict[str, Schema]) -> dict[str, Any]:
    welcome = schemas["Welcome"]["properties"]
    names = ("token", "tokenExpiresAt", "userId", "displayName")
    account = {"type": "object", "properties": {name: welcome[name] for name in names}, "required": list(names)}
    body = _body(schemas["Challenge"], ())
    body["content"]["application/json"]["schema"]["examples"] = [{"provider": "guest", "displayName": "Ada"}]
    return {
        "operationId": "sign_in",
        "summary": "Sign in with a credential of an identity provider. All other fields are the provider's.",
        "security": _ANYBODY,
        "requestBody": body,
        "responses": {
            "200": {"description": "The account existed.", "content": _json(account)},
            "201": {"description": "The account is new.", "content": _json(account)},
            **_errors(ERRORS[commands.Hello] | HTTP_ERRORS | {ErrorCode.BAD_FRAME}),
        },
    }


def _others() -> dict[str, Schema]:
    """Return what is at the other addresses: probes, metrics, the page, and the descriptions of the protocol."""
    parts = {"type": "object", "additionalProperties": {"enum": ["up", "down"]}}
    states = {"enum": ["ready", "degraded", "unavailable", "draining"]}
    readiness = _json(_object({"status": states, "parts": parts}))
    text = {"schema": {"type": "string"}}
    json = _json({"type": "object"})
    room = {"name": "roomId", "in": "path", "required": True, "schema": {"type": "string"}}
    known = {"description": "It is the one in If-None-Match."}
    return {
        "/healthz": {"responses": {"200": _lives(_json(_object({"status": {"const": "ok"}}))), **_errors(())}},
        "/readyz": {
            "responses": {
                **_errors(()),
                "200": {"description": "It serves clients.", "content": readiness},
                "503": {"description": "It should get no clients.", "content": readiness},
            }
        },
        "/metrics": {
            "responses": {
                "200": {"description": "Metrics.", "content": {"text/plain": text}},
                **_errors([ErrorCode.FORBIDDEN]),
            }
        },
        "/r/{roomId}": {
            "parameters": [room],
            "responses": {
                "200": {"description": "The page.", "content": {"text/html": text}},
                "301": {"description": "The canonical address."},
            },
        },
        **{
            f"{PREFIX}/{name}": {
                "responses": {
                    "200": {"description": "A description of the protocol.", "content": json},
                    "304": known,
                    **_errors(()),
                }
            }
            for name in ("schema.json", "openapi.json", "asyncapi.json")
        },
    }


def _lives(content: Schema) -> Schema:
    return {"description": "The process lives.", "content": content}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _body(schema: Schema, elsewhere: Sequence[str]) -> dict[str, Any]:
    """Return the body of a request with the fields of a command that are not `elsewhere`."""
    required = [name for name in schema["required"] if name not in elsewhere]
    body: Schema = {
        "type": "object",
        "properties": _without(schema["properties"], elsewhere),
        "required": required,
        "examples": [_without(example, elsewhere) for example in schema["examples"]],
    }
    return {"required": bool(required), "content": _json(body)}


def _errors(codes: Iterable[ErrorCode]) -> dict[str, Any]:
    """Return the answers to refused requests, by status: there are no others."""
    status = attrgetter("http_status")
    error = _json({"$ref": _REFERENCE.format(name=events.Error.__name__)})
    own = {
        str(number): ", ".join(sorted(code.value for code in same))
        for number, same in groupby(sorted(codes, key=status), key=status)
    }
    described = {**_STATUSES_OF_HTTP, **own}
    return {number: {"description": described[number], "content": error} for number in sorted(described)}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
