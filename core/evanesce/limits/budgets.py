"""The rate limits of commands, for connections and for users: above them a command is refused as `rate_limited`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil
from typing import Protocol

from evanesce.addresses import network_check, parse_networks
from evanesce.config.model import Config, LimitsTable
from evanesce.errors import RateLimited
from evanesce.limits.distributed import DistributedRateLimit
from evanesce.limits.token_bucket import RetryTimes, TokenBucket
from evanesce.protocol import commands, events
from evanesce.store.rate_limits import RateLimits

FAR_ABOVE = 10
"""How many refusals a user may cause, as a multiple of the rate of messages, before the connection is ended."""

FAR_ABOVE_BEFORE_SIGN_IN = 3
"""How many refusals a client may cause before it signs in, as a multiple of `commands_before_hello` in a second."""

JOINS_SECONDS = 10
"""The burst of joins of a user, in seconds of their rate; it is at least `rooms_per_connection`."""

MEMBERS_SECONDS = 5
"""The burst of `members` commands of a user, in seconds of their rate."""

TOO_FAST = "Too fast. Wait a moment."
"""The message of `rate_limited` for commands."""


def public_limits(config: Config) -> events.Limits:
    """Return the limits for `welcome`: those of `[messages]`, and those of `[limits]` by the same names."""
    limits = config.limits
    return events.Limits(
        content_bytes=config.messages.content_bytes,
        frame_bytes=limits.frame_bytes,
        history=config.messages.history,
        rooms_per_connection=limits.rooms_per_connection,
        shortest_ttl=config.messages.shortest_ttl,
        longest_ttl=config.messages.longest_ttl,
        messages_per_second=limits.messages_per_second,
        burst=limits.burst,
        commands_per_second=limits.commands_per_second,
        joins_per_second=limits.joins_per_second,
        members_per_second=limits.members_per_second,
        renames_per_minute=limits.renames_per_minute,
        rooms_per_hour=limits.rooms_per_hour,
        rooms_per_user=limits.rooms_per_user,
        connections_per_user=limits.connections_per_user,
        connections_per_address=limits.connections_per_address,
        handshakes_per_second=limits.handshakes_per_second,
        commands_before_hello=limits.commands_before_hello,
        sign_ins_per_minute=limits.sign_ins_per_minute,
    )


class Budget(Protocol):
    """The limits of the commands of one connection."""

    def take(self, command: commands.Command | None) -> Awaitable[None]:
        """Count a command, or with None a frame that is no command. Raises `RateLimited`."""
        ...

    def take_message(self) -> bool:
        """Count a message, and return True; where that would mean to wait, count nothing, and return False."""
        ...

    def is_far_above(self) -> bool:
        """Count a refusal; return whether there were too many, so that the connection has to be ended."""
        ...


class Budgets:
    """The limits of `[limits]` that are rates of commands. `clock` returns seconds that never go back.

    Messages, renames and new rooms are stored, or reach many users: they are counted on all servers together. Other
    commands cost only the server that executes them, and `connections_per_user` bounds the number of servers that a
    user can reach. So each server counts them alone, without a round trip to Redis.
    """

    def __init__(self, limits: LimitsTable, shared: RateLimits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before_hello = limits.commands_before_hello
        self._is_exempt = network_check(parse_networks(limits.exempt_addresses, "limits.exempt_addresses"))
        rooms = limits.rooms_per_connection
        # Bursts: a client that reconnects joins all its rooms at once, and sends some further commands.
        joins = max(rooms, ceil(JOINS_SECONDS * limits.joins_per_second))
        self._commands = TokenBucket(limits.commands_per_second, ceil(limits.commands_per_second) + joins, clock)
        refusals = max(FAR_ABOVE * limits.messages_per_second, limits.commands_per_second)
        # All connections of a user may reconnect at once, each into all its rooms.
        refusals_burst = max((FAR_ABOVE - 1) * limits.burst, 3 * joins, limits.connections_per_user * rooms)
        self._refusals = TokenBucket(refusals, refusals_burst, clock)
        members_burst = ceil(MEMBERS_SECONDS * limits.members_per_second)
        self._local: dict[type[commands.Command], TokenBucket] = {
            commands.Join: TokenBucket(limits.joins_per_second, joins, clock),
            commands.Members: TokenBucket(limits.members_per_second, members_burst, clock),
        }
        self._messages = DistributedRateLimit("messages", limits.messages_per_second, limits.burst, shared, clock)
        self._shared: dict[type[commands.Command], DistributedRateLimit] = {
            commands.Send: self._messages,
            commands.UpdateProfile: DistributedRateLimit(
                "renames", limits.renames_per_minute / 60, limits.renames_per_minute, shared, clock
            ),
            commands.CreateRoom: DistributedRateLimit(
                "rooms", limits.rooms_per_hour / 3600, limits.rooms_per_hour, shared, clock
            ),
        }
        rates: dict[type[commands.Command] | None, float] = {
            None: limits.commands_per_second,
            commands.Join: limits.joins_per_second,
            commands.Members: limits.members_per_second,
            commands.Send: limits.messages_per_second,
            commands.UpdateProfile: limits.renames_per_minute / 60,
            commands.CreateRoom: limits.rooms_per_hour / 3600,
        }
        # Clients that wait as long as they are told never retry faster than refusals are allowed.
        most_seconds = refusals_burst / refusals
        self._retries = {kind: RetryTimes(rate, most_seconds, clock) for kind, rate in rates.items()}

    def before_sign_in(self, address: str) -> Budget:
        """Return the budget of a connection from `address` until a user signs in on it."""
        return _UNBOUNDED if self._is_exempt(address) else _ConnectionBudget(self._before_hello, self._clock)

    def of_user(self, user_id: str) -> Budget:
        """Return the budget of a user, which all connections of the user share."""
        return _UserBudget(self, user_id)

    async def take(self, user_id: str, command: commands.Command | None) -> None:
        """Count a command of a user. Raises `RateLimited`."""
        if not isinstance(command, commands.Send):
            self._check(None, user_id, self._commands.take(user_id))
        if command is None:
            return
        kind = type(command)
        if (local := self._local.get(kind)) is not None:
            self._check(kind, user_id, local.take(user_id))
        shared = self._shared.get(kind)
        if shared is not None and not shared.take_leased(user_id):  # the usual case needs no further coroutine
            self._check(kind, user_id, await shared.take(user_id))

    def take_message(self, user_id: str) -> bool:
        """See `Budget.take_message`."""
        return self._messages.take_leased(user_id)

    def _check(self, kind: type[commands.Command] | None, user_id: str, wait: float) -> None:
        if wait:
            _refuse(self._retries[kind].after(user_id, wait))

    def is_far_above(self, user_id: str) -> bool:
        """Count a refusal of a user; return whether there were too many."""
        return self._refusals.take(user_id) > 0


class _UserBudget:
    """The budget of a user who has signed in."""

    __slots__ = ("_budgets", "_user_id")

    def __init__(self, budgets: Budgets, user_id: str) -> None:
        self._budgets = budgets
        self._user_id = user_id

    def take(self, command: commands.Command | None) -> Awaitable[None]:
        return self._budgets.take(self._user_id, command)

    def take_message(self) -> bool:
        return self._budgets.take_message(self._user_id)

    def is_far_above(self) -> bool:
        return self._budgets.is_far_above(self._user_id)


class _ConnectionBudget:
    """The budget of one connection before a sign-in: `rate` commands a second, and as many at once."""

    __slots__ = ("_commands", "_refusals")

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._commands = TokenBucket(rate, max(1, rate), clock)
        self._refusals = TokenBucket(FAR_ABOVE_BEFORE_SIGN_IN * rate, max(1, FAR_ABOVE_BEFORE_SIGN_IN * rate), clock)

    async def take(self, command: commands.Command | None) -> None:
        _refuse(self._commands.take(None))

    def take_message(self) -> bool:
        return False

    def is_far_above(self) -> bool:
        return self._refusals.take(None) > 0


class _Unbounded:
    """The budget of a connection from an exempt address before a sign-in."""

    async def take(self, command: commands.Command | None) -> None:
        return

    def take_message(self) -> bool:
        return False

    def is_far_above(self) -> bool:
        return False


_UNBOUNDED = _Unbounded()


def _refuse(wait: float) -> None:
    if wait:
        raise RateLimited(TOO_FAST, wait)
