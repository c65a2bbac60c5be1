"""The testing kit for authors of plugins, and what keeps the contracts of Evanesce in memory.

The names in `__all__` are the public ones: they follow semantic versioning. They are imported when they are used, so
that a test needs only what it names; the contracts need pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evanesce.testing.client import ChatClient, CommandRefused, MemoryClient
    from evanesce.testing.connection import MemoryConnection
    from evanesce.testing.contracts.transport.parts import WireClient
    from evanesce.testing.conversation import ClientTalker, Talker, converse
    from evanesce.testing.memory_repository import MemoryRepository
    from evanesce.testing.plugin_log import PluginFault, PluginLog
    from evanesce.testing.plugins import PluginServer, plugin_server
    from evanesce.testing.pytest_plugin import ServerFactory

_HOMES = {
    "ChatClient": "client",
    "ClientTalker": "conversation",
    "CommandRefused": "client",
    "MemoryClient": "client",
    "MemoryConnection": "connection",
    "MemoryRepository": "memory_repository",
    "PluginFault": "plugin_log",
    "PluginLog": "plugin_log",
    "PluginServer": "plugins",
    "ServerFactory": "pytest_plugin",
    "Talker": "conversation",
    "WireClient": "contracts.transport.parts",
    "converse": "conversation",
    "plugin_server": "plugins",
}

__all__ = [
    "ChatClient",
    "ClientTalker",
    "CommandRefused",
    "MemoryClient",
    "MemoryConnection",
    "MemoryRepository",
    "PluginFault",
    "PluginLog",
    "PluginServer",
    "ServerFactory",
    "Talker",
    "WireClient",
    "converse",
    "plugin_server",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
