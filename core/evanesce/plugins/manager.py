"""The enabled plugins of a server: what they provide before it starts, their filters and observers while it runs."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import msgspec.inspect
import trio
from outcome import acapture

from evanesce.config.model import Config
from evanesce.errors import CommandError, ErrorCode, PluginError
from evanesce.hookspecs import HOOK_CONTRACTS
from evanesce.interfaces import CliCommand, Finding, Handover, Repository, Server, Settings
from evanesce.model import Draft, Timestamp
from evanesce.plugins import components, discovery
from evanesce.plugins.calls import CallNursery, PluginCalls
from evanesce.plugins.components import Components
from evanesce.plugins.contracts import check_filtered, check_join_allowed, command_problem, is_async_hook
from evanesce.plugins.declarations import Declarations
from evanesce.plugins.deprecations import deprecation_findings
from evanesce.plugins.discovery import PluginRegistry
from evanesce.plugins.faults import PluginFailed, call_sync, is_logged
from evanesce.plugins.repeats import LetThrough
from evanesce.plugins.tasks import PluginTask

log = logging.getLogger(__name__)

MOST_WAITING = 1_000
"""How many events may wait for one plugin; further ones are dropped and counted."""

NO_HOOK = Finding(
    "it implements no hook: nothing of it is ever called",
    "Its author has to mark the hooks with evanesce.hookspecs.hookimpl,"
    " and to name the object that has them in the entry point.",
)
"""What is found about a plugin without hooks."""

T = TypeVar("T")

HookCaller = Callable[..., list[Awaitable[Any]]]
"""Calls a hook of one plugin: returns a list of one awaitable."""

_FILTER = "evanesce_filter_message"
_MAY_JOIN = "evanesce_may_join"
_RUN = "evanesce_run"
_MESSAGE_SENT = "evanesce_message_sent"


@dataclass(frozen=True, slots=True)
class PluginStatistics:
    """Counts of one plugin's calls and events while the server runs.

    `calls` have ended, and took `seconds` together. `failed` ones raised, took too long or broke the contract;
    `blocked` ones blocked the event loop; `hanging` ones were abandoned and still run. `waiting` events have yet to be
    delivered; `dropped` ones never will be.
    """

    calls: int
    seconds: float
    failed: int
    blocked: int
    hanging: int
    waiting: int
    dropped: int


class RunTimeHooks:
    """The hooks of one plugin that are called while the server runs, and the queue of its events.

    `hooks` has for each hook its name in the log, with its place in the plugin's code, and the function that calls it.
    `dropped` counts the events for which the queue had no room.
    """

    def __init__(self, calls: PluginCalls, hooks: Mapping[str, tuple[str, HookCaller]]) -> None:
        self.dropped = 0
        self._calls = calls
        self._hooks = hooks
        self._send, self._receive = trio.open_memory_channel[tuple[str, Mapping[str, Any]]](MOST_WAITING)

    @property
    def waiting(self) -> int:
        """How many events wait in the queue."""
        return self._send.statistics().current_buffer_used

    def has(self, hook: str) -> bool:
        """Return whether the plugin implements `hook`."""
        return hook in self._hooks

    async def call(self, hook: str, arguments: Mapping[str, Any], accept: Callable[[Any], T]) -> T:
        """Call `hook`, and return what `accept` returns for its result; see `PluginCalls.call`.

        It has the deadline of its contract, and raises what that allows.
        """
        name, called = self._called(hook, arguments)
        contract = HOOK_CONTRACTS[hook]
        if contract.seconds is None:
            raise AssertionError(f"{hook} has no deadline: it runs as a task")
        return await self._calls.call(name, called, accept, seconds=contract.seconds, passing=contract.raises)

    def task(self, hook: str, arguments: Mapping[str, Any]) -> PluginTask:
        """Return the task that calls `hook`."""
        name, called = self._called(hook, arguments)
        return PluginTask(self._calls, name, called)

    def _called(self, hook: str, arguments: Mapping[str, Any]) -> tuple[str, Callable[[], Awaitable[Any]]]:
        """Return the name of `hook` in the log, and what calls it."""
        name, caller = self._hooks[hook]

        async def called() -> Any:
            [awaitable] = caller(**arguments)
            return await awaitable

        return name, called

    def enqueue(self, hook: str, arguments: Mapping[str, Any]) -> None:
        """Queue an event for `run`; drop it where the queue is full or closed."""
        try:
            self._send.send_nowait((hook, arguments))
        except trio.ClosedResourceError:
            self.dropped += 1  # the server is about to end
        except trio.WouldBlock:
            self.dropped += 1
            if is_logged(self.dropped):
                log.warning("plugin %s: %d events dropped: it is too slow", self._calls.plugin, self.dropped)

    def close(self) -> None:
        """Take no more events. `run` ends after those that wait."""
        self._send.close()

    async def run(self) -> None:
        """Call the plugin's hook for each event, one after the other, until `close`."""
        async for hook, arguments in self._receive:
            try:
                await self.call(hook, arguments, accept=lambda result: None)
            except PluginFailed:
                continue  # it has been logged: an observer that fails misses this one event


class Plugins:
    """The enabled plugins. Made by `Plugins.load`; used by one server."""

    def __init__(self, plugins: Mapping[str, object]) -> None:
        self._registry = PluginRegistry(plugins)
        self._content_bytes = math.inf
        self._nursery = CallNursery()
        self._calls = {name: PluginCalls(name, self._nursery) for name in self._registry.names}
        self._hooks = {name: RunTimeHooks(self._calls[name], self._callers(name)) for name in self._registry.names}
        self._delivered = trio.Event()
        self._filters = {name: hooks for name, hooks in self._hooks.items() if hooks.has(_FILTER)}
        self._observers = {
            hook: [hooks for hooks in self._hooks.values() if hooks.has(hook)] for hook in HOOK_CONTRACTS
        }
        self._let_through = LetThrough()
        self._join_checks = [hooks for hooks in self._hooks.values() if hooks.has(_MAY_JOIN)]

    @classmethod
    def load(cls, names: Sequence[str], extra: Mapping[str, object] | None = None) -> Plugins:
        """Import the plugins `names`, in order. An object in `extra` replaces the entry point of its name.

        Raises `ConfigurationError` for a name that is not installed, `PluginError` for what cannot be loaded.
        """
        given = extra or {}
        return cls({name: given[name] if name in given else discovery.load(name) for name in names})

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins' names, in order."""
        return self._registry.names

    def hooks(self, name: str) -> tuple[str, ...]:
        """Return the names of the hooks that a plugin implements."""
        return self._registry.hooks(name)

    def declarations(self, name: str) -> Declarations:
        """Return what a plugin declares of itself."""
        return self._registry.declarations(name)

    # Before the server starts

    def settings(self) -> dict[str, Settings | None]:
        """Return the model of each plugin's table; None where the plugin takes no settings."""
        models: dict[str, Settings | None] = {}
        for name in self._registry.names:
            models[name] = None
            if "evanesce_settings" in self.hooks(name):
                model = self._registry.call(name, "evanesce_settings")
                if not (isinstance(model, type) and issubclass(model, msgspec.Struct)):
                    raise PluginError(name, "evanesce_settings must return a subclass of msgspec.Struct")
                _check_model(name, model)
                models[name] = model
        return models

    def cli_commands(self, name: str) -> Sequence[CliCommand]:
        """Return the subcommands that a plugin adds."""
        commands = self._registry.call_for_sequence(name, "evanesce_cli_commands", CliCommand)
        for command in commands:
            problem = command_problem(command)
            if problem is not None:
                raise PluginError(name, problem)
        return commands

    def build(
        self,
        config: Config,
        folder: Path,
        handover: Handover | None = None,
        sockets: Mapping[str, int] | None = None,
    ) -> Components:
        """Return the components of all plugins; see `evanesce.plugins.components.build`."""
        self._content_bytes = config.messages.content_bytes
        return components.build(self._registry, self._calls, config, folder, handover, sockets)

    def findings(self, config: Config, folder: Path, exposed: Sequence[str]) -> list[tuple[str, Finding]]:
        """Return what every plugin finds about its settings, and what is wrong with its hooks, each with its name.

        Called after `build`.
        """
        deprecated = [
            (name, finding)
            for name in self._registry.names
            for finding in deprecation_findings(self._registry.arguments(name))
        ]
        without_hooks = [(name, NO_HOOK) for name in self._registry.names if not self._registry.hooks(name)]
        return [*without_hooks, *deprecated, *components.findings(self._registry, config, folder, exposed)]

    def repository(self, config: Config, folder: Path, name: str | None = None) -> Repository:
        """Return the repository alone: that of plugin `name`, or (None) that of the one plugin that provides one.

        Raises as `build` does.
        """
        owner = name or components.repository_plugin(self._registry)
        return components.repository(self._registry, owner, config, folder)

    # While the server runs

    @property
    def has_filters(self) -> bool:
        """Whether any plugin filters messages."""
        return bool(self._filters)

    @property
    def follows_messages(self) -> bool:
        """Whether any plugin filters or observes messages, so that `message_stored` has to be called."""
        return self.has_filters or bool(self._observers[_MESSAGE_SENT])

    def message_stored(self, draft: Draft, created_at: Timestamp, expires_at: Timestamp, *, duplicate: bool) -> None:
        """Tell the observers of messages that one was stored. `duplicate`: it had been before."""
        self._let_through.stored(draft)
        if not duplicate:
            self.observe(
                _MESSAGE_SENT,
                room_id=draft.room_id,
                sender_id=draft.sender_id,
                message_id=draft.message_id,
                size=len(draft.content.encode()),
                created_at=created_at,
                expires_at=expires_at,
            )

    async def filter_message(self, draft: Draft, *, repeatable: bool = False) -> Draft:
        """Call every filter for a message, in order, and return it with the content that they leave.

        `repeatable`: its sender has chosen its id, and may send it again. Raises `Rejected` where a plugin refuses it,
        and `CommandError` `internal` where one fails.
        """
        accept = functools.partial(check_filtered, most_bytes=self._content_bytes)
        passed = self._let_through.plugins(draft) if repeatable and self._filters else set[str]()
        for name, hooks in self._filters.items():
            given = msgspec.structs.replace(draft, retry=True) if name in passed else draft
            try:
                changed = await hooks.call(_FILTER, {"draft": given}, accept=accept)
            except PluginFailed:
                raise CommandError(
                    ErrorCode.INTERNAL, "A plugin could not check the message. Try again in a moment."
                ) from None
            if changed is not None:
                draft = msgspec.structs.replace(draft, content=changed)
            passed.add(name)
        return draft

    async def may_join(self, room_id: str, user_id: str, display_name: str) -> None:
        """Ask every plugin that checks joins, in order.

        Raises `Rejected` where a plugin refuses the join, and `CommandError` `internal` where one fails.
        """
        arguments = {"room_id": room_id, "user_id": user_id, "display_name": display_name}
        for hooks in self._join_checks:
            try:
                await hooks.call(_MAY_JOIN, arguments, accept=check_join_allowed)
            except PluginFailed:
                raise CommandError(
                    ErrorCode.INTERNAL, "A plugin could not check the join. Try again in a moment."
                ) from None

    def observe(self, hook: str, **arguments: object) -> None:
        """Queue an event for every observer, and return at once. `hook` is the name of an observer's hook."""
        for hooks in self._observers[hook]:
            hooks.enqueue(hook, arguments)

    def count_dropped(self, name: str, events: int) -> None:
        """Count events that a plugin has received and dropped, beside those that it had no room for."""
        self._hooks[name].dropped += events

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the calls of all plugins, and deliver events to the observers, until cancelled.

        Every other coroutine of this class, and every component, needs it.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._nursery.run)
            nursery.start_soon(self._deliver_events)
            task_status.started()

    async def run_tasks(
        self, server_of: Callable[[str], Server], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the tasks of all plugins that have one, until they have returned. `server_of` makes each one's server.

        `task_status.started` is called when all of them have run up to their first wait.
        """
        async with trio.open_nursery() as nursery:
            for name, hooks in self._hooks.items():
                if hooks.has(_RUN):
                    await nursery.start(hooks.task(_RUN, {"server": server_of(name)}).run)
            task_status.started()

    async def around(self, work: Callable[[], Awaitable[T]], leave: Callable[[Callable[[], T]], NoReturn]) -> T:
        """Run `work` while `run` runs, and return its result.

        Where a plugin's code does not end, because it shields itself, the event loop cannot end either. Then `leave`
        ends the process; its argument is a function that returns or raises the result.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run)
            result = await acapture(work)
            if hanging := await self._nursery.stop():
                log.error("the process ends though these calls do not: %s", ", ".join(hanging))
                leave(result.unwrap)
            nursery.cancel_scope.cancel()
        return result.unwrap()

    async def _deliver_events(self) -> None:
        async with trio.open_nursery() as nursery:
            for hooks in self._hooks.values():
                nursery.start_soon(hooks.run)
        self._delivered.set()

    async def finish_events(self, seconds: float) -> None:
        """Take no more events, and wait at most `seconds` until those that wait have been delivered."""
        for hooks in self._hooks.values():
            hooks.close()
        with trio.move_on_after(seconds):
            await self._delivered.wait()

    def calls(self, name: str) -> PluginCalls:
        """Return the object that calls a plugin's code, for its transport."""
        return self._calls[name]

    def statistics(self) -> dict[str, PluginStatistics]:
        """Return the counts of each plugin's calls and events."""
        return {
            name: PluginStatistics(
                calls=self._calls[name].made,
                seconds=self._calls[name].seconds,
                failed=self._calls[name].faults.failed,
                blocked=self._calls[name].faults.blocked,
                hanging=self._calls[name].faults.hanging,
                waiting=hooks.waiting,
                dropped=hooks.dropped,
            )
            for name, hooks in self._hooks.items()
        }

    def _callers(self, name: str) -> dict[str, tuple[str, Any]]:
        """Return the plugin's hooks for `RunTimeHooks`."""
        return {
            hook: (f"{hook} ({self._registry.place(name, hook)})", self._registry.caller(name, hook))
            for hook in self._registry.hooks(name)
            if is_async_hook(hook)
        }


def _check_model(name: str, model: type[msgspec.Struct]) -> None:
    """Raise `PluginError` for a model with a type that msgspec does not know, or with an undefined name."""

    def look() -> None:
        try:
            msgspec.inspect.type_info(model)
        except (TypeError, NameError) as error:
            raise PluginError(name, f"evanesce_settings returned a model that cannot be used: {error}") from error

    call_sync(name, "evanesce_settings returned a model that cannot be used", look)
