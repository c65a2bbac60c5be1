"""The server as the tasks of plugins see it: what a plugin may do is bounded, and takes a limited time."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar, cast

import msgspec
import trio

from evanesce.accounts.room_rules import RuleService
from evanesce.accounts.service import AccountService
from evanesce.context import ServerContext
from evanesce.errors import BadRequest, CommandError, ErrorCode, EvanesceError, StoreUnavailable
from evanesce.interfaces import Caller, HttpRequest
from evanesce.limits.budgets import Budgets
from evanesce.limits.distributed import DistributedRateLimit
from evanesce.model import Draft, new_id
from evanesce.plugins.faults import PluginFailed
from evanesce.protocol import commands
from evanesce.protocol.fields import NAME_CHARACTERS, SERVICE_SUFFIX, display_name
from evanesce.rooms.content import content_flaw, fits
from evanesce.rooms.hub import Hub
from evanesce.rooms.requests import room_not_found
from evanesce.store.message_log import RoomClosed, Stored
from evanesce.store.one_time_values import OneTimeValues
from evanesce.store.rate_limits import RateLimits
from evanesce.store.rules import RoomRules

CALL_SECONDS = 10.0
"""How long a call may take, including its wait for earlier calls of the same plugin."""

MOST_CALLS = 10
"""How many calls of one plugin run at the same time."""

KEY_CHARACTERS = 256
"""The longest key of a plugin's rate limit, or of its mark."""

MOST_RATE = MOST_BURST = 10_000
"""The highest rate (tokens a second) and burst of a plugin's rate limit."""

LEAST_RATE = 1 / 31_536_000
"""The lowest rate: one token a year. For a bucket that is not full again for much longer, Redis has no time to live."""

LEAST_MARK_SECONDS, MOST_MARK_SECONDS = 0.001, 86_400.0
"""How long a mark may be kept."""

MOST_LIMITS = 8
"""For how many pairs of rate and burst a plugin's tokens are taken in advance."""

MOST_KEYS = 10_000
"""For how many keys of each of them."""

SENDER_PREFIX = "service:"
"""The beginning of the `senderId` of a service. No account has such an id: those are UUIDs."""

T = TypeVar("T")


class _Bounded(Protocol):
    async def __call__(self, work: Callable[[], Awaitable[T]]) -> T: ...


_Command = TypeVar("_Command", commands.Send, commands.CloseRoom, commands.RemoveMember)


class Services:
    """Makes the object by which each plugin acts.

    `providers` are the names of the plugins' authenticators by plugin. `clock` returns seconds that never go back.
    """

    def __init__(
        self,
        context: ServerContext,
        *,
        hub: Hub,
        accounts: AccountService,
        rules: RuleService,
        budgets: Budgets,
        providers: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self.context = context
        self.hub = hub
        self.accounts = accounts
        self.rules = rules
        self.budgets = budgets
        self.providers = providers
        self.clock = clock

    async def rules_for(self, command: commands.Send) -> RoomRules:
        """Return the rules of the open room of a message, as they are known here. Raises where they do not allow it."""
        running = self.hub.running(command.room_id)
        if running is None or running.unconfirmed:
            rules = self.hub.rule_sync.rules_of(await self.accounts.room(command.room_id))
        else:
            rules = running.rules
        if (flaw := content_flaw(command.content, command.ttl, rules, self.context.config.messages)) is not None:
            raise flaw
        return rules

    async def send(self, draft: Draft, rules: RoomRules) -> None:
        """Store the message of a service, after the filters. Raises `CommandError`."""
        context = self.context
        draft = await context.plugins.filter_message(draft)
        if not fits(draft.content, rules):
            raise CommandError(ErrorCode.REJECTED, "A filter of this server does not know encrypted messages.")
        stored = await context.store.messages.append(draft.room_id, [draft], rules.message_ttl, rules.version)
        if isinstance(stored, RoomClosed):
            raise room_not_found()
        [outcome] = stored
        if not isinstance(outcome, Stored):
            raise CommandError(ErrorCode.CONFLICT, "The store has not taken the message.")
        context.metrics.accepted.inc()
        context.plugins.message_stored(draft, outcome.created_at, outcome.expires_at, duplicate=False)

    def of(self, plugin: str) -> PluginServer:
        """Return the server for one plugin."""
        return PluginServer(plugin, self)


class PluginServer:
    """The server for one plugin: an `evanesce.interfaces.Server`."""

    def __init__(self, plugin: str, services: Services) -> None:
        self.shared = PluginLimits(plugin, services.context.store.rate_limits, services.clock)
        self.marks = PluginMarks(plugin, services.context.store.one_time_values, self._bounded)
        self._plugin = plugin
        self._provider = services.providers.get(plugin)
        self._services = services
        self._sender_id = f"{SENDER_PREFIX}{plugin}"
        self._budget = services.budgets.of_user(self._sender_id)
        self._calls = trio.CapacityLimiter(MOST_CALLS)

    def count_dropped(self, events: int) -> None:
        """See `Server.count_dropped`."""
        if events < 0:
            raise ValueError("the number of dropped events must be 0 or more")
        self._services.context.plugins.count_dropped(self._plugin, events)

    async def say(self, room_id: str, text: str, *, name: str, ttl: float | None = None) -> str:
        """See `Server.say`."""
        await trio.lowlevel.checkpoint()  # a plugin may repeat a call that is refused
        command = _checked(commands.Send(room_id=room_id, content=text, ttl=ttl))
        if not isinstance(cast(object, name), str):
            raise BadRequest("name", "The name of a service must be text.")
        sender_name = display_name(name, "name") + SERVICE_SUFFIX
        if len(sender_name) > NAME_CHARACTERS:
            most = NAME_CHARACTERS - len(SERVICE_SUFFIX)
            raise BadRequest("name", f"The name of a service must have 1 to {most} characters.")
        return await self._bounded(lambda: self._say(command, sender_name))

    async def _say(self, command: commands.Send, sender_name: str) -> str:
        rules = await self._services.rules_for(command)
        await self._budget.take(command)
        draft = Draft(
            message_id=new_id(),
            room_id=command.room_id,
            sender_id=self._sender_id,
            sender_name=sender_name,
            content=command.content,
            ttl=command.ttl,
        )
        await self._services.send(draft, rules)
        return draft.message_id

    async def close_room(self, room_id: str) -> None:
        """See `Server.close_room`."""
        await trio.lowlevel.checkpoint()
        command = _checked(commands.CloseRoom(room_id=room_id))

        async def close() -> None:
            await self._services.accounts.room(command.room_id)
            await self._services.accounts.close(command.room_id)

        await self._bounded(close)

    async def remove_member(self, room_id: str, user_id: str, *, ban_seconds: float = 0) -> None:
        """See `Server.remove_member`."""
        await trio.lowlevel.checkpoint()
        command = _checked(commands.RemoveMember(room_id=room_id, user_id=user_id, ban_seconds=ban_seconds))

        async def remove() -> None:
            room = await self._services.accounts.room(command.room_id)
            await self._services.rules.remove(room, command.user_id, command.ban_seconds)

        await self._bounded(remove)

    async def caller(self, request: HttpRequest) -> Caller:
        """See `Server.caller`."""
        await trio.lowlevel.checkpoint()
        provider, token = self._provider, request.token
        if provider is None:
            raise RuntimeError("a plugin without an authenticator has no callers")
        if token is None:
            raise CommandError(ErrorCode.UNAUTHENTICATED, "Sign in first.")
        return await self._bounded(lambda: self._services.accounts.caller(provider, token, request.address))

    async def _bounded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Call `work`, with at most `MOST_CALLS` at the same time. Raises `CommandError`."""
        with trio.move_on_after(CALL_SECONDS):
            async with self._calls:
                try:
                    return await work()
                except EvanesceError:
                    raise
                except PluginFailed:  # the repository's plugin: it has been logged
                    message = "A fault in the server. Try again in a moment."
                    raise CommandError(ErrorCode.INTERNAL, message) from None
        raise StoreUnavailable


class PluginLimits:
    """The token buckets of one plugin: an `evanesce.interfaces.SharedLimits`."""

    def __init__(self, plugin: str, shared: RateLimits, clock: Callable[[], float]) -> None:
        self._name = f"plugin:{plugin}"
        self._shared = shared
        self._clock = clock
        self._limits: OrderedDict[tuple[float, int], DistributedRateLimit] = OrderedDict()

    async def take(self, key: str, rate: float, burst: int) -> float:
        """See `SharedLimits.take`."""
        await trio.lowlevel.checkpoint()  # leased tokens need none, and a plugin may ask in a loop
        digest = _digest(key)
        if not isinstance(cast(object, rate), int | float) or not LEAST_RATE <= rate <= MOST_RATE:  # NaN is not either
            raise ValueError(f"a rate is from one token a year to {MOST_RATE} a second")
        if not isinstance(cast(object, burst), int) or not 1 <= burst <= MOST_BURST:
            raise ValueError(f"a burst is a whole number from 1 to {MOST_BURST}")
        return await self._limit(float(rate), burst).take(digest)

    def _limit(self, rate: float, burst: int) -> DistributedRateLimit:
        limit = self._limits.get((rate, burst))
        if limit is None:
            limit = DistributedRateLimit(self._name, rate, burst, self._shared, self._clock, most_keys=MOST_KEYS)
            self._limits[rate, burst] = limit
            if len(self._limits) > MOST_LIMITS:
                self._limits.popitem(last=False)
        self._limits.move_to_end((rate, burst))
        return limit


class PluginMarks:
    """The marks of one plugin: an `evanesce.interfaces.SharedMarks`. `bounded` limits the calls of the plugin."""

    def __init__(self, plugin: str, values: OneTimeValues, bounded: _Bounded) -> None:
        self._prefix = f"plugin:{plugin}:"
        self._values = values
        self._bounded = bounded

    async def put(self, key: str, seconds: float) -> None:
        """See `SharedMarks.put`."""
        await trio.lowlevel.checkpoint()
        name = self._prefix + _digest(key)
        if not isinstance(cast(object, seconds), int | float) or not LEAST_MARK_SECONDS <= seconds <= MOST_MARK_SECONDS:
            raise ValueError(f"a mark is kept for {LEAST_MARK_SECONDS} to {MOST_MARK_SECONDS:g} seconds")
        await self._bounded(lambda: self._values.put(name, b"1", seconds))

    async def take(self, key: str) -> bool:
        """See `SharedMarks.take`."""
        await trio.lowlevel.checkpoint()
        name = self._prefix + _digest(key)
        return await self._bounded(lambda: self._values.take(name)) is not None


def _digest(key: str) -> str:
    """Return a hash of a key, which may be what a user wrote: it must not be readable in Redis."""
    if not isinstance(cast(object, key), str) or not 1 <= len(key) <= KEY_CHARACTERS:
        raise ValueError(f"a key has 1 to {KEY_CHARACTERS} characters")
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _checked(command: _Command) -> _Command:
    """Return a command whose fields are what those of a client may be. Raises `BadRequest`, without their values."""
    try:
        checked = msgspec.json.decode(msgspec.json.encode(command), type=type(command))
    except (msgspec.ValidationError, TypeError, UnicodeEncodeError):
        checked = None
    if checked != command:  # also where a number is none in JSON
        raise BadRequest("command", "An argument is not what this method takes.")
    return command
