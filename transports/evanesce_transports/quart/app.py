"""The Quart-Trio application: probes, routes of plugins, errors, and headers of all responses."""

from __future__ import annotations

import functools
import logging
from contextlib import ExitStack

from quart import Response, g, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from evanesce import tracing
from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Gateway, HttpRequest, HttpRoute
from evanesce_transports.admission import bearer
from evanesce_transports.quart.api import api_blueprint
from evanesce_transports.quart.asgi import CLIENT
from evanesce_transports.quart.documents import documents_blueprint
from evanesce_transports.quart.responses import (
    API_PREFIX,
    FAULT,
    accept_for_error,
    add_common_headers,
    error_reply,
    json_reply,
)
from evanesce_transports.request import Refused

log = logging.getLogger(__name__)

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}


def build(gateway: Gateway, *, metrics_public: bool, home: str = "/") -> QuartTrio:
    """Return the application that serves `gateway`. `home` is the path of the start page."""
    app = QuartTrio(__name__, static_folder=None)
    app.debug = False  # also where the environment sets it: Quart shows tracebacks in debug mode
    app.url_map.merge_slashes = False  # its redirects would contain the Host header of the request
    app.register_blueprint(api_blueprint(gateway))
    app.register_blueprint(documents_blueprint(gateway.documents))
    _add_probes(app, gateway, metrics_public=metrics_public)
    for route in gateway.routes:
        view = functools.partial(_plugin_view, gateway, route)
        app.add_url_rule(route.path, f"plugin {route.method} {route.path}", view, methods=[route.method])
    _add_errors(app, home)
    _add_headers(app, gateway)
    _add_traces(app)
    return app


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
            raise CommandError(ErrorCode.FORBIDDEN, "Metrics are available only on the server's own machine.")
        return Response(await gateway.scrape(), content_type="text/plain; version=0.0.4; charset=utf-8")


async def _plugin_view(gateway: Gateway, route: HttpRoute) -> Response:
    body: bytes = await request.body
    token = bearer(request.headers.get("Authorization"))
    answer = await route.handle(
        HttpRequest(
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            headers=dict(request.headers),
            body=body,
            user=await gateway.identify(token),
            address=request.scope["state"][CLIENT].address,
            token=token,
        )
    )
    return Response(answer.body, answer.status, dict(answer.headers), content_type=answer.content_type)


def _add_errors(app: QuartTrio, home: str) -> None:
    def reply(error: CommandError, status: int | None = None) -> Response:
        accept = accept_for_error(request.path, request.headers.getlist("Accept"))
        languages = request.headers.getlist("Accept-Language")
        return error_reply(error, status or error.code.http_status, accept, languages, home=home)

    @app.errorhandler(CommandError)
    async def failed_command(error: CommandError) -> Response:
        return reply(error)

    @app.errorhandler(Refused)
    async def refused(error: Refused) -> Response:
        return reply(error.error, error.status)

    @app.errorhandler(HTTPException)
    async def not_served(error: HTTPException) -> Response:
        status = error.code or 500
        if status == 404:
            return reply(CommandError(ErrorCode.UNKNOWN_TYPE, "There is nothing at this address."), status)
        if isinstance(error, MethodNotAllowed):
            answer = reply(CommandError(ErrorCode.UNKNOWN_TYPE, "This address does not support this method."), status)
            answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return answer
        code = ErrorCode.BAD_FRAME if status < 500 else ErrorCode.INTERNAL
        return reply(CommandError(code, f"{error.name}."), status)

    @app.errorhandler(Exception)
    async def failed(error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return reply(CommandError(ErrorCode.INTERNAL, FAULT))


def _add_headers(app: QuartTrio, gateway: Gateway) -> None:
    @app.before_request
    async def preflight() -> Response | None:
        """Answer the preflight request of a browser (the Fetch standard, CORS protocol)."""
        if request.method != "OPTIONS" or not request.path.startswith(f"{API_PREFIX}/"):
            return None
        admitted = gateway.admits_origin(request.headers.get("Origin", ""))
        return Response(b"", status=204, headers=_PREFLIGHT if admitted else None)

    @app.after_request
    async def finish(response: Response) -> Response:
        add_common_headers(response.headers, request.path, request.headers.get("Origin"), gateway)
        if response.status_code == 204:  # no content, so neither a type nor a length
            response.headers.remove("Content-Type")
            response.headers.remove("Content-Length")
        return response


def _add_traces(app: QuartTrio) -> None:
    """Make a span of each request where the server traces. It has the method, the route and the status."""

    @app.before_request
    async def begin() -> None:
        if tracing.active is not None:
            route = "none" if request.url_rule is None else request.url_rule.rule
            g.traced = ExitStack()
            g.span = g.traced.enter_context(tracing.active.request(request.method, route))

    @app.after_request
    async def note(response: Response) -> Response:
        if "span" in g:
            g.span.set_attribute("http.response.status_code", response.status_code)
        return response

    @app.teardown_request
    async def end(error: BaseException | None) -> None:
        if "traced" in g:
            g.traced.close()
