"""Plugins for the parts of a server that the plugins under test do not have: sign-in, a database and a transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Gateway
from evanesce.plugins import Plugins
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import NameAuthenticator

GUESTS = "testing_guests"
"""The provider of the guests of a test."""


class GuestAuthenticator(NameAuthenticator):
    """Accepts every name. The same name is the same person."""

    provider = GUESTS


class GuestsPlugin:
    """The plugin of the guests of a test."""

    @hookimpl
    def evanesce_authenticator(self) -> GuestAuthenticator:
        """Return what accepts every name."""
        return GuestAuthenticator()


class RepositoryPlugin:
    """A plugin with a database in memory."""

    def __init__(self, repository: MemoryRepository) -> None:
        self._repository = repository

    @hookimpl
    def evanesce_repository(self) -> MemoryRepository:
        """Return the database."""
        return self._repository


class SilentTransport:
    """A transport that no client can reach: clients in memory call the gateway themselves."""

    binds = ()

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Wait for the end."""
        task_status.started([])
        await trio.sleep_forever()


class TransportPlugin:
    """A plugin with a transport that no client can reach."""

    evanesce_sees_content = True

    @hookimpl
    def evanesce_transport(self) -> SilentTransport:
        """Return the transport."""
        return SilentTransport()


def stand_ins(plugins: Plugins, repository: MemoryRepository) -> dict[str, object]:
    """Return the plugins that these need beside them, by name. The guests are always among them."""
    hooks = {hook for name in plugins.names for hook in plugins.hooks(name)}
    optional: dict[str, Callable[[], object]] = {
        "evanesce_repository": lambda: RepositoryPlugin(repository),
        "evanesce_transport": TransportPlugin,
    }
    needed = {
        f"testing_{hook.removeprefix('evanesce_')}": make() for hook, make in optional.items() if hook not in hooks
    }
    return {GUESTS: GuestsPlugin(), **needed}
