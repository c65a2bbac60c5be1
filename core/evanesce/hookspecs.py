"""The hooks that a plugin may implement, in the order in which a server calls them.

A plugin is a module or an object with `@hookimpl` functions, found by its entry point in the group `evanesce.plugins`
and enabled by that name in the configuration. A hook may leave out any of its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pluggy

from evanesce.interfaces import (
    Authenticator,
    CliCommand,
    HttpRoute,
    Repository,
    Settings,
    Setup,
    SignInPage,
    Transport,
)
from evanesce.model import ChatRoom, Draft

hookspec = pluggy.HookspecMarker("evanesce")
hookimpl = pluggy.HookimplMarker("evanesce")
"""Marks a function as the implementation of the hook of its name."""


class Hooks(Protocol):
    """The hooks, each with when it is called."""

    # --- before anything runs -------------------------------------------------------------------------------------

    @hookspec
    def evanesce_settings(self) -> Settings:
        """Give the model of the table `[plugins.NAME]`: a `msgspec.Struct` with `forbid_unknown_fields`.

        Called when the configuration is read. A plugin without it takes no settings.
        """
        ...

    @hookspec
    def evanesce_cli_commands(self) -> Sequence[CliCommand]:
        """Add subcommands to `evanesce`. Called for every installed plugin, enabled or not, when a command starts."""
        ...

    # --- building the server --------------------------------------------------------------------------------------

    @hookspec
    def evanesce_configure(self, setup: Setup) -> None:
        """Take the settings: for a plugin that needs them in the hooks below. Called once, before the other hooks here.

        What cannot be used is told by `ConfigurationError`.
        """
        ...

    @hookspec
    def evanesce_authenticator(self, setup: Setup) -> Authenticator:
        """Give a way to sign in. Called once, before the event loop starts. Several plugins may have one."""
        ...

    @hookspec
    def evanesce_repository(self, setup: Setup) -> Repository:
        """Give the repository. Called once, before the event loop starts. Exactly one enabled plugin must have one."""
        ...

    @hookspec
    def evanesce_transport(self, setup: Setup) -> Transport:
        """Give a transport. Called once, before the event loop starts. At least one enabled plugin must have one."""
        ...

    @hookspec
    def evanesce_http_routes(self, setup: Setup) -> Sequence[HttpRoute]:
        """Add HTTP routes. Called once, before the event loop starts."""
        ...

    @hookspec
    def evanesce_sign_in_page(self, setup: Setup) -> SignInPage:
        """Let the web page sign in with a provider. Called once, before the event loop starts."""
        ...

    # --- while it runs: on the Trio thread, so never blocking; awaited, each for at most 2 s ------------------------

    @hookspec
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        """Look at a message before it is stored: give it back changed (`content` alone counts), or None to let it be.

        Raise `Rejected` with a text for the sender to refuse it. Called once for each `send`, in the order in which
        the plugins are enabled, each with what the one before it gave. What fails or takes too long refuses the
        message as `internal`: a filter that is broken lets nothing through.
        """
        ...

    @hookspec
    async def evanesce_member_joined(self, room_id: str, user_id: str, display_name: str) -> None:
        """Watch a user's first connection come into a room on this server. Called after it happened."""
        ...

    @hookspec
    async def evanesce_member_left(self, room_id: str, user_id: str) -> None:
        """Watch a user's last connection leave a room on this server. Called after it happened."""
        ...

    @hookspec
    async def evanesce_room_opened(self, room: ChatRoom) -> None:
        """Watch a room being created on this server. Called after it happened."""
        ...

    @hookspec
    async def evanesce_room_closed(self, room_id: str) -> None:
        """Watch a room being closed on this server. Called after it happened."""
        ...
