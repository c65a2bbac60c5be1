"""The simulator's server: all routes on one port, by Quart-Trio and Hypercorn."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
from email.utils import formatdate
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from evanesce.errors import ConfigurationError
from evanesce_plugins.worldid.simulator import responses
from evanesce_plugins.worldid.simulator.bridge import Bridge, bridge_blueprint
from evanesce_plugins.worldid.simulator.control import control_blueprint
from evanesce_plugins.worldid.simulator.page import page_blueprint
from evanesce_plugins.worldid.simulator.phone import Phone
from evanesce_plugins.worldid.simulator.portal import HANG_UP, Faults, portal_blueprint
from evanesce_plugins.worldid.simulator.world import World

log = logging.getLogger(__name__)

BODY_BYTES = 64 * 1024
"""The longest body of a request."""


class Simulator:
    """A simulated World and its server. `faults` may be set, and RPs registered with `world`, while it runs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.faults = Faults()

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; reports its URL as started. Raises `ConfigurationError` where it cannot listen."""
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            problem = f"cannot listen on {host}:{port} ({error.strerror or error})"
            raise ConfigurationError("--bind", problem, "Choose another address or port") from None
        async with contextlib.AsyncExitStack() as stack:
            for listener in listeners:
                await stack.enter_async_context(listener)
            serve_client = functools.partial(self._serve_client, ASGIWrapper(self._application()))
            async with trio.open_nursery() as nursery:
                await nursery.start(trio.serve_listeners, serve_client, listeners)
                task_status.started(_url(listeners[0].socket))

    async def _serve_client(self, application: ASGIWrapper, stream: trio.SocketStream) -> None:
        state = {HANG_UP: functools.partial(_hang_up, stream)}
        client: Any = stream  # Hypercorn's annotation is the class of a TLS stream; this one has the same methods
        server = TCPServer(application, _config(), WorkerContext(None), state, client)
        try:
            await server.run()
        except Exception:  # the boundary of one client: its fault must not end others
            log.exception("a connection failed")

    def _application(self) -> QuartTrio:
        app = QuartTrio(__name__, static_folder=None)
        app.debug = False
        app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
        bridge = Bridge(self.world.clock)
        phone = Phone(self.world, bridge)
        app.register_blueprint(portal_blueprint(self.world, self.faults))
        app.register_blueprint(bridge_blueprint(bridge))
        app.register_blueprint(page_blueprint(phone))
        app.register_blueprint(control_blueprint(self.world, self.faults, phone))

        @app.errorhandler(HTTPException)
        async def not_served(error: HTTPException) -> Response:
            return responses.refusal(error.code or 500, "not_served", error.name)

        @app.after_request
        async def date(response: Response) -> Response:
            response.headers["Date"] = formatdate(self.world.clock() + self.faults.skew, usegmt=True)
            return response

        return app


@functools.cache
def _config() -> Config:
    config = Config()
    config.errorlog = log
    config.include_server_header = False
    config.include_date_header = False  # the portal has a clock of its own
    return config


def _hang_up(stream: trio.SocketStream) -> None:
    with contextlib.suppress(OSError):  # the client has closed it already
        stream.socket.shutdown(socket.SHUT_RDWR)


def _url(listener: trio.socket.SocketType) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
