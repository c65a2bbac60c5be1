"""Plugins made of functions, and the components that they provide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from evanesce.config.model import (
    Config,
    LimitsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
)
from evanesce.hookspecs import CONTENT_HOOKS, hookimpl
from evanesce.interfaces import Finding
from evanesce.model import ChatRoom, Draft, timestamp
from evanesce.plugins import Components, Plugins
from evanesce.plugins.declarations import CONTENT_ATTRIBUTE

DRAFT = Draft(message_id="m", room_id="r", sender_id="s", sender_name="n", content="hello")
ROOM = ChatRoom(room_id="r", created_by="s", created_at=timestamp(0), deep_link="http://h/r/r")


def plugin(**hooks: Callable[..., Any]) -> object:
    """Return a plugin: a module whose hook implementations are `hooks`. It sees content where a hook needs it."""
    module = ModuleType("plugin")
    if CONTENT_HOOKS & hooks.keys():
        setattr(module, CONTENT_ATTRIBUTE, True)
    for name, hook in hooks.items():
        hook.__name__ = name
        setattr(module, name, hookimpl(hook))
    return module


def loaded(**objects: object) -> Plugins:
    """Load plugins, in order."""
    return Plugins.load(list(objects), objects)


class Component:
    """A component with all members of every contract."""

    binds = ("127.0.0.1:0",)
    loopback_only = False

    def __init__(self, provider: str = "part") -> None:
        self.provider = provider
        self.found: object = None

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name in ("timeout", "reserved_paths", "database"):
            raise AttributeError(name)
        return self._method

    async def _method(self, *arguments: object, **named: object) -> object:
        return self.found

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...


def full(provider: str = "part") -> object:
    """Return a plugin that provides all components that a server needs."""
    return plugin(
        evanesce_authenticator=lambda setup: Component(provider),
        evanesce_repository=lambda setup: Component(),
        evanesce_transport=lambda setup: Component(),
    )


def configured(plugins: Plugins, **settings: object) -> Config:
    """Return the default configuration for plugins."""
    return Config(
        plugins={name: settings.get(name) for name in plugins.names},
        server=ServerTable(public_url="http://h/"),
        redis=RedisTable(),
        messages=MessagesTable(),
        rooms=RoomsTable(),
        limits=LimitsTable(),
        retention=RetentionTable(),
    )


def built(plugins: Plugins, **settings: object) -> Components:
    """Return the components of `plugins` with the default configuration."""
    return plugins.build(configured(plugins, **settings), Path("/folder"))


def found(plugins: Plugins, exposed: Sequence[str] = (), **settings: object) -> list[tuple[str, Finding]]:
    """Return the findings of `plugins` about the default configuration."""
    return plugins.findings(configured(plugins, **settings), Path("/folder"), exposed)


class Model(msgspec.Struct, forbid_unknown_fields=True):
    """A plugin's model."""

    key: str = ""
