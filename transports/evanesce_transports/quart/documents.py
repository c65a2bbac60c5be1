"""The descriptions of the protocol as data, below the prefix of the API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import sha256

from quart import Blueprint, Response, request

from evanesce_transports.quart.responses import API_PREFIX


def documents_blueprint(documents: Mapping[str, bytes]) -> Blueprint:
    """Return the routes of `documents`, JSON by the names of the files. A client that has one already gets 304."""
    blueprint = Blueprint("documents", __name__, url_prefix=API_PREFIX)

    async def serve(body: bytes, etag: str) -> Response:
        known = request.if_none_match.contains_weak(etag)
        response = Response(b"" if known else body, 304 if known else 200, content_type="application/json")
        response.set_etag(etag)
        response.headers["Cache-Control"] = "no-cache"
        return response

    for name, body in documents.items():
        view = partial(serve, body, sha256(body).hexdigest()[:32])
        blueprint.add_url_rule(f"/{name}", name.replace(".", "_"), view, methods=["GET"])
    return blueprint
