"""The message store: messages that expire, presence, and what the servers share with each other.

Each module of this package has one interface, and the values that it takes and returns. `redis` implements them all on
Redis or Valkey, `memory` in the memory of a process, for tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from evanesce.store.clock import Clock
from evanesce.store.control_bus import ControlBus
from evanesce.store.events import RoomEvents
from evanesce.store.health import Health
from evanesce.store.message_log import MessageLog
from evanesce.store.one_time_values import OneTimeValues
from evanesce.store.presence import Presence
from evanesce.store.rate_limits import RateLimits
from evanesce.store.rules import Rules
from evanesce.store.server_registry import ServerRegistry


@dataclass(frozen=True)
class Store:
    """A message store. A class takes those of its parts that it uses.

    Unless its docstring says otherwise, a coroutine method of any part ends within 2.5 s, and raises `StoreUnavailable`
    if the store does not answer or refuses the request. The request may then have been carried out or not; it is safe
    to repeat it.
    """

    messages: MessageLog
    events: RoomEvents
    presence: Presence
    rules: Rules
    rate_limits: RateLimits
    servers: ServerRegistry
    control: ControlBus
    one_time_values: OneTimeValues
    clock: Clock
    health: Health
