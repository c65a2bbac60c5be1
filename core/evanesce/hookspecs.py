"""The hooks that a plugin may implement, in the order in which a server calls them.

A plugin is a module or an object with functions marked by `@hookimpl`. The server finds it by its entry point in the
group `evanesce.plugins`; the configuration enables it by the name of the entry point. An implementation may omit any
argument of its hook. docs/reference/hooks.md is generated from the docstrings.

A plugin may declare two things, as attributes of the module or object beside its hooks:

- `evanesce_api = "1.0"`: the version of the plugin API that it is made for. The server refuses a plugin that is made
  for another major version, or for a newer minor one. Without this attribute a plugin is made for `FIRST_API`.
- `evanesce_sees_content = True`: it has hooks that are handed the content of messages, those of `CONTENT_HOOKS`. The
  server refuses a plugin that has such a hook without this attribute. `evanesce plugins` shows who sees content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pluggy

from evanesce.errors import ConfigurationError, Rejected
from evanesce.interfaces import (
    Authenticator,
    CliCommand,
    Finding,
    HttpRoute,
    Repository,
    Server,
    Settings,
    Setup,
    SignInPage,
    Transport,
)
from evanesce.model import ChatRoom, Draft, Timestamp

API = "1.0"
"""The version of the plugin API, `major.minor`.

The major number grows when plugins have to be changed, the minor one when something is added that plugins may use.
"""

FIRST_API = "1.0"
"""The version of the plugin API that a plugin without `evanesce_api` is made for."""

CONTENT_HOOKS = frozenset({"evanesce_transport", "evanesce_filter_message"})
"""The hooks that are handed the content of messages."""

hookspec = pluggy.HookspecMarker("evanesce")
hookimpl = pluggy.HookimplMarker("evanesce")
"""The decorator that marks a function as the implementation of the hook of the same name."""


class Hooks(Protocol):
    """The hooks. Each docstring says when the hook is called."""

    # --- before anything runs -------------------------------------------------------------------------------------

    @hookspec
    def evanesce_settings(self) -> Settings:
        """Return the model of the table `[plugins.NAME]`: a subclass of `msgspec.Struct`.

        Declare it with `forbid_unknown_fields`, so that an unknown key is an error. Types, ranges and defaults are
        checked when the configuration is read. A plugin without this hook takes no settings.

        Called when the configuration is read.
        """
        ...

    @hookspec
    def evanesce_cli_commands(self) -> Sequence[CliCommand]:
        """Add subcommands to `evanesce`.

        Called for every installed plugin, enabled or not, when a command starts. So keep the import of a plugin fast.
        """
        ...

    # --- building the server --------------------------------------------------------------------------------------

    @hookspec
    def evanesce_configure(self, setup: Setup) -> None:
        """Take the settings, for a plugin that needs them in other hooks, such as an observer or a filter.

        Raise `ConfigurationError` for a setting that cannot be used.

        Called once, before the other hooks that take a `setup`.
        """
        ...

    @hookspec
    def evanesce_authenticator(self, setup: Setup) -> Authenticator:
        """Return a way to sign in. Several plugins may return one, each with another `provider`.

        Called once, before the event loop starts.
        """
        ...

    @hookspec
    def evanesce_repository(self, setup: Setup) -> Repository:
        """Return the database. Exactly one enabled plugin must have this hook.

        Called once, before the event loop starts.
        """
        ...

    @hookspec
    def evanesce_transport(self, setup: Setup) -> Transport:
        """Return a transport. At least one enabled plugin must have this hook.

        Called once, before the event loop starts.
        """
        ...

    @hookspec
    def evanesce_http_routes(self, setup: Setup) -> Sequence[HttpRoute]:
        """Add HTTP routes to every transport that has HTTP. No two routes may share a method and a path.

        Called once, before the event loop starts.
        """
        ...

    @hookspec
    def evanesce_sign_in_page(self, setup: Setup) -> SignInPage:
        """Let people sign in on the web page with a provider of this server.

        The page offers the providers in the order of `plugins.enabled`.

        Called once, before the event loop starts.
        """
        ...

    @hookspec
    def evanesce_findings(self, setup: Setup, exposed: Sequence[str]) -> Sequence[Finding]:
        """Return what a deployer should correct in the settings, or in files that they name, such as certificates.

        `exposed` are the addresses by which other machines may reach the server: the public address and those where it
        listens. It is empty if no other machine can reach the server. A setting that can never work is not a finding:
        raise `ConfigurationError` in an earlier hook.

        Called once, after the hooks above: by `evanesce check`, which shows each finding and fails for those that say
        so, and by a server, which logs each finding as a warning and starts.
        """
        ...

    # --- while the server runs: on the Trio thread, so never blocking. But for the task of a plugin, each call is
    # awaited for at most 2 s.
    # An exception, even SystemExit, affects nothing else: it is logged with its place and counted.

    @hookspec
    async def evanesce_run(self, server: Server) -> None:
        """Run a task of the plugin beside the server, such as a timer or a connection to another service.

        `server` may be kept, and used by the plugin's other hooks. Return when there is nothing left to do. If the task
        raises anything, that is logged and counted, and the task is started again after 1 s; each time that it fails
        within a minute, the pause is twice as long, up to 60 s.

        Called when the server is ready, before clients can connect: its code up to the first wait has run by then. It
        is cancelled when the server stops, after the last client has left, and then has 5 s to end. It has no other
        deadline, but must not block. With workers, each of them runs the task.
        """
        ...

    @hookspec
    async def evanesce_may_join(self, room_id: str, user_id: str, display_name: str) -> None:
        """Decide whether a user may join a room. Return None to leave that to the other plugins and the room's rules.

        Raise `Rejected` with a text for the user to refuse the join, and with `retry_after` if the user may try again
        later. A plugin that fails, takes too long or returns anything else refuses the join as `internal`, so that a
        broken check lets nobody in.

        Called for each `join` of a connection that is not in the room, also when a client comes back, in the order of
        `plugins.enabled`. It is called before the room's own rules are checked, and before it is known whether the room
        exists.
        """
        ...

    @hookspec
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        """Filter a message before it is stored. Return it changed, or None to leave it as it is.

        Of a changed draft only `content` counts, and the limits of content apply to it. Raise `Rejected` with a text
        for the sender to refuse the message, and with `retry_after` if it may be sent again later. A filter that fails
        or takes too long refuses the message as `internal`, so that a broken filter lets nothing through.

        Called once for each `send`, and for each message of a service, in the order of `plugins.enabled`; each filter
        receives the result of the previous one. Not called for a `send` that repeats the `messageId` of a stored
        message, whichever server stored it. A message that this plugin let through, but that was not stored, has
        `Draft.retry` when it is sent again: a filter that counts messages must not count it twice.
        """
        ...

    @hookspec
    async def evanesce_message_sent(
        self,
        room_id: str,
        sender_id: str,
        message_id: str,
        size: int,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> None:
        """Observe that a message was stored that was sent on this server. Its content is not passed to observers.

        `size` is the size of the content in bytes of UTF-8. `sender_id` is the id of a user, or begins with `service:`.

        Called afterwards, once for each message.
        """
        ...

    @hookspec
    async def evanesce_member_joined(self, room_id: str, user_id: str, display_name: str) -> None:
        """Observe that a user joined a room: with the user's first connection in it on this server.

        Called afterwards.
        """
        ...

    @hookspec
    async def evanesce_member_left(self, room_id: str, user_id: str) -> None:
        """Observe that a user left a room: with the user's last connection in it on this server.

        Called afterwards.
        """
        ...

    @hookspec
    async def evanesce_presence_changed(self, room_id: str, joined: Sequence[str], left: Sequence[str]) -> None:
        """Observe who came into a room, and who left it, over all servers, by their user ids.

        A user has `joined` with the first connection in the room on any server, and has `left` after the last one. Of
        all servers one calls this for each change. It is not called for members who were removed, or who were in a room
        that was closed. When Redis loses its data, or its answer is lost, leaves of that moment may be missed. After it
        has lost data, a join may be observed again.

        Called afterwards.
        """
        ...

    @hookspec
    async def evanesce_room_opened(self, room: ChatRoom) -> None:
        """Observe that a room was created on this server.

        Called afterwards.
        """
        ...

    @hookspec
    async def evanesce_room_closed(self, room_id: str) -> None:
        """Observe that a room was closed on this server.

        Called afterwards.
        """
        ...

    @hookspec
    async def evanesce_invite_created(self, room_id: str, invite_id: str, people: int, expires_at: Timestamp) -> None:
        """Observe that an invite for some people was created on this server. Its secret is not passed to plugins.

        Called afterwards.
        """
        ...

    @hookspec
    async def evanesce_member_removed(self, room_id: str, user_id: str, reason: str) -> None:
        """Observe that a user was removed from a room by a command on this server.

        `reason` is `creator` or `vote`. The user need not have been in the room.

        Called afterwards.
        """
        ...

    @hookspec
    async def evanesce_member_banned(self, room_id: str, user_id: str, reason: str, until: Timestamp) -> None:
        """Observe that a user was banned from a room, until a time, by a command on this server.

        `reason` is `creator` or `vote`. Called after `evanesce_member_removed`.
        """
        ...

    @hookspec
    async def evanesce_user_erased(self, user_id: str) -> None:
        """Observe that an account was erased on this server, with all that the database had about its user.

        Called afterwards, after `evanesce_room_closed` for each of the user's rooms.
        """
        ...


HOOK_SECONDS = 2.0
"""How long a call of a hook may take while the server runs."""


@dataclass(frozen=True, slots=True)
class HookContract:
    """What a call of a hook may do.

    `seconds` is its deadline; None: it has none. The exceptions `raises` say something to a client or a deployer; any
    other one is a fault of the plugin.
    """

    seconds: float | None
    raises: tuple[type[Exception], ...] = ()


_BUILDS = HookContract(None, (ConfigurationError,))
_DECIDES = HookContract(HOOK_SECONDS, (Rejected,))
_OBSERVES = HookContract(HOOK_SECONDS)

HOOK_CONTRACTS: Mapping[str, HookContract] = {
    "evanesce_settings": HookContract(None),
    "evanesce_cli_commands": HookContract(None),
    "evanesce_configure": _BUILDS,
    "evanesce_authenticator": _BUILDS,
    "evanesce_repository": _BUILDS,
    "evanesce_transport": _BUILDS,
    "evanesce_http_routes": _BUILDS,
    "evanesce_sign_in_page": _BUILDS,
    "evanesce_findings": HookContract(None),
    "evanesce_run": HookContract(None),
    "evanesce_may_join": _DECIDES,
    "evanesce_filter_message": _DECIDES,
    "evanesce_message_sent": _OBSERVES,
    "evanesce_member_joined": _OBSERVES,
    "evanesce_member_left": _OBSERVES,
    "evanesce_presence_changed": _OBSERVES,
    "evanesce_room_opened": _OBSERVES,
    "evanesce_room_closed": _OBSERVES,
    "evanesce_invite_created": _OBSERVES,
    "evanesce_member_removed": _OBSERVES,
    "evanesce_member_banned": _OBSERVES,
    "evanesce_user_erased": _OBSERVES,
}
"""What a call of each hook may do. The server holds the plugins to it, and docs/reference/hooks.md shows it."""


@dataclass(frozen=True, slots=True)
class Deprecation:
    """A hook, or one argument of it, that a coming version of the plugin API will not have.

    `since` is the version of the API that deprecates it, and `until` the one that will not have it. `instead` names
    what to use.
    """

    hook: str
    argument: str | None
    since: str
    until: str
    instead: str


DEPRECATIONS: Sequence[Deprecation] = ()
"""What is deprecated. `evanesce check`, and a server at its start, warn of each plugin that uses any of it."""
