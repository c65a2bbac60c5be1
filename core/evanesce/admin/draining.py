"""Taking this server out of service because an operator asks for it: the steps of a shutdown, without its end."""

from __future__ import annotations

import logging

import trio

from evanesce.context import ServerContext
from evanesce.sessions.gateway import Gateway
from evanesce.store.control_bus import DrainRequested, Notice, NoticesLost

logger = logging.getLogger(__name__)


def is_meant(name: str, server: str) -> bool:
    """Return whether an operator who names `name` means `server`: its name, or the node whose worker it is, or all.

    The name of a server ends with the number of its start, which an operator may leave out.
    """
    node = server.rpartition(".")[0]
    return name in ("", server, node, node.rpartition("/")[0])


class Draining:
    """Takes this server out of service when an operator asks for it. `run` must run beside it.

    `/readyz` answers `draining`, for load balancers. After `server.lame_duck_seconds` all connections are closed with
    1001, and new ones are refused, until the process is stopped or restarted.
    """

    def __init__(self, context: ServerContext, gateway: Gateway) -> None:
        self._servers = context.store.servers
        self._server = context.config.server
        self._gateway = gateway
        self._requested = trio.Event()

    def handle_notice(self, notice: Notice | NoticesLost) -> None:
        """Begin where the notice means this server."""
        if isinstance(notice, DrainRequested) and is_meant(notice.server, self._servers.server_name):
            self._requested.set()

    async def run(self) -> None:
        """Wait for the request of an operator, and take this server out of service."""
        await self._requested.wait()
        logger.warning("an operator takes this server out of service; it stays so until it is restarted")
        self._gateway.announce_end()
        await trio.sleep(self._server.lame_duck_seconds)
        with trio.move_on_after(self._server.drain_seconds):
            await self._gateway.drain()
