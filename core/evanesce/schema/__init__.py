"""The protocol as data: machine-readable descriptions of it, made from the types of the code.

They contain the limits of a server and the paths of its plugins' routes, and nothing else of its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from evanesce.protocol.events import Limits
from evanesce.schema.asyncapi import asyncapi
from evanesce.schema.json_schema import json_schema
from evanesce.schema.openapi import Route, openapi


@lru_cache(maxsize=8)
def documents(limits: Limits, routes: tuple[Route, ...] = ()) -> Mapping[str, bytes]:
    """Return each description as a JSON document, by the name of its file, for a server with these limits.

    `routes` are those of plugins. The first call for some limits takes about 50 ms.
    """
    found = {
        "schema.json": json_schema(limits),
        "openapi.json": openapi(limits, routes),
        "asyncapi.json": asyncapi(limits),
    }
    return {name: msgspec.json.encode(document) for name, document in found.items()}
