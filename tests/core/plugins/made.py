"""Plugins that are objects, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
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
from evanesce.hookspecs import hookimpl
from evanesce.model import ChatRoom, Draft, timestamp
from evanesce.plugins import Parts, Plugins

DRAFT = Draft(message_id="m", room_id="r", sender_id="s", sender_name="n", content="hello")
ROOM = ChatRoom(room_id="r", created_by="s", created_at=timestamp(0), deep_link="http://h/r/r")


def plugin(**hooks: Callable[..., Any]) -> object:
    """Make a plugin: a module whose hook implementations are `hooks`."""
    module = ModuleType("plugin")
    for name, hook in hooks.items():
        hook.__name__ = name
        setattr(module, name, hookimpl(hook))
    return module


def loaded(**objects: object) -> Plugins:
    """Load plugins, in order."""
    return Plugins.load(list(objects), objects)


class Part:
    """Has all that any contract names."""

    def __init__(self, provider: str = "part") -> None:
        self.provider = provider

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return name

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...


def full(provider: str = "part") -> object:
    """Make a plugin that is all a server needs."""
    return plugin(
        evanesce_authenticator=lambda setup: Part(provider),
        evanesce_repository=lambda setup: Part(),
        evanesce_transport=lambda setup: Part(),
    )


def built(plugins: Plugins, **settings: object) -> Parts:
    """Let `plugins` give their parts, under the default configuration."""
    config = Config(
        plugins={name: settings.get(name) for name in plugins.names},
        server=ServerTable(public_url="http://h/"),
        redis=RedisTable(),
        messages=MessagesTable(),
        rooms=RoomsTable(),
        limits=LimitsTable(),
        retention=RetentionTable(),
    )
    return plugins.build(config, Path("/folder"))


class Model(msgspec.Struct, forbid_unknown_fields=True):
    """A plugin's model."""

    key: str = ""
