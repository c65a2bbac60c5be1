"""The Quart-Trio application: the WebSocket route, probes, plugins' routes, and what every response has in common."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping

from quart import Response, request, websocket
from quart.typing import ResponseTypes
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Gateway, HttpRequest, HttpRoute
from evanesce_transports.admission import PATH, admit, bearer
from evanesce_transports.quart.api import PREFIX, api_blueprint
from evanesce_transports.quart.headers import complete
from evanesce_transports.quart.pages import Page, pages_blueprint
from evanesce_transports.quart.replies import error_of, error_reply, json_reply
from evanesce_transports.quart.scope import CLIENT
from evanesce_transports.request import Refused

log = logging.getLogger(__name__)

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}


def build(gateway: Gateway, pages: Mapping[str, Page], *, metrics_public: bool) -> QuartTrio:
    """Make the application that serves `gateway`."""
    app = QuartTrio(__name__, static_folder=None)
    app.debug = False  # whatever the environment says: a debugging Quart shows its tracebacks
    app.url_map.merge_slashes = False  # a redirect would repeat the Host that a client made up
    app.register_blueprint(api_blueprint(gateway))
    app.register_blueprint(pages_blueprint(pages, gateway.sign_in_pages))
    _add_talk(app, gateway)
    _add_probes(app, gateway, metrics_public=metrics_public)
    for route in gateway.routes:
        view = functools.partial(_plugin_view, gateway, route)
        app.add_url_rule(route.path, f"plugin {route.method} {route.path}", view, methods=[route.method])
    _add_errors(app)
    _add_headers(app, gateway)
    return app


def _add_talk(app: QuartTrio, gateway: Gateway) -> None:
    @app.websocket(PATH)
    async def talk() -> Response | None:
        """Let a client in; the transport gives it to the server when this has returned."""
        try:
            subprotocol = admit(
                gateway, origins=websocket.headers.getlist("Origin"), offered=websocket.requested_subprotocols
            )
        except Refused as refused:
            return error_reply(refused.error, refused.status)
        await websocket.accept(subprotocol=subprotocol)  # pyright: ignore[reportUnknownMemberType] (Quart's bare `dict`)
        return None


def _add_probes(app: QuartTrio, gateway: Gateway, *, metrics_public: bool) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        return json_reply({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        readiness = await gateway.readiness()
        return json_reply(
            {"status": readiness.status, "parts": dict(readiness.parts)}, 200 if readiness.serving else 503
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        if not (metrics_public or request.scope["state"][CLIENT].local):
            return error_of(ErrorCode.FORBIDDEN, "Metrics are for this machine alone.")
        return Response(gateway.metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")


async def _plugin_view(gateway: Gateway, route: HttpRoute) -> Response:
    body: bytes = await request.body
    answer = await route.handle(
        HttpRequest(
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            headers=dict(request.headers),
            body=body,
            user=await gateway.identify(bearer(request.headers.get("Authorization"))),
        )
    )
    return Response(answer.body, answer.status, dict(answer.headers), content_type=answer.content_type)


def _add_errors(app: QuartTrio) -> None:
    @app.errorhandler(CommandError)
    async def refused(error: CommandError) -> Response:
        return error_reply(error)

    @app.errorhandler(HTTPException)
    async def not_served(error: HTTPException) -> Response:
        status = error.code or 500
        if status == 404:
            return error_of(ErrorCode.UNKNOWN_TYPE, "There is nothing at this address.", status)
        if isinstance(error, MethodNotAllowed):
            reply = error_of(ErrorCode.UNKNOWN_TYPE, "This method is not for this address.", status)
            reply.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return reply
        return error_of(ErrorCode.BAD_FRAME if status < 500 else ErrorCode.INTERNAL, f"{error.name}.", status)

    @app.errorhandler(Exception)
    async def failed(error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return error_of(ErrorCode.INTERNAL, "Something went wrong here. Try again in a moment.")


def _add_headers(app: QuartTrio, gateway: Gateway) -> None:
    @app.before_request
    async def preflight() -> Response | None:
        """Answer what a browser asks before a request to another origin (the Fetch standard, CORS protocol)."""
        if request.method != "OPTIONS" or not request.path.startswith(f"{PREFIX}/"):
            return None
        admitted = gateway.admits_origin(request.headers.get("Origin", ""))
        return Response(b"", status=204, headers=_PREFLIGHT if admitted else None)

    @app.after_request
    async def finish(response: Response) -> Response:
        complete(response.headers, request.path, request.headers.get("Origin"), gateway)
        if response.status_code == 204:  # nothing is in it, of which there would be a type or a length
            response.headers.remove("Content-Type")
            response.headers.remove("Content-Length")
        return response

    @app.after_websocket
    async def finish_refusal(response: ResponseTypes | None) -> ResponseTypes | None:
        if response is not None:
            complete(response.headers, websocket.path, websocket.headers.get("Origin"), gateway)
        return response
