"""What all sessions of a server work with, put together from the server's parts."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from evanesce.config.model import Config
from evanesce.metrics import Metrics
from evanesce.plugins import Parts, Plugins
from evanesce.rooms.hub import Hub
from evanesce.rooms.surroundings import Surroundings
from evanesce.sessions.acquaintances import Acquaintances
from evanesce.sessions.announcements import Announcements
from evanesce.sessions.erasure import Erasure
from evanesce.sessions.limits import RateLimit
from evanesce.sessions.operations import Operations
from evanesce.sessions.providers import Providers
from evanesce.sessions.sharedlimit import SharedLimit
from evanesce.sessions.tokens import Tokens
from evanesce.sessions.upkeep import Upkeep
from evanesce.store.base import MessageStore
from evanesce.writebehind import WriteBehind

FAR_ABOVE = 10
"""How many times the rate of messages a person's commands may come; past that the connection ends."""


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that all sessions of a server share. The keys of the rate limits are user ids.

    `messages_limit` holds over all servers; `commands_limit` is what one server can be made to do.
    """

    config: Config
    hub: Hub
    operations: Operations
    upkeep: Upkeep
    plugins: Plugins
    store: MessageStore
    records: WriteBehind
    metrics: Metrics
    messages_limit: SharedLimit
    commands_limit: RateLimit


def assemble(
    config: Config, plugins: Plugins, parts: Parts, store: MessageStore, records: WriteBehind, metrics: Metrics
) -> Services:
    """Put the services together. `config.server.secret` is set."""
    if config.server.secret is None:
        raise AssertionError("the secret is made before the server")
    limits, clock = config.limits, trio.current_time
    tokens = Tokens(
        config.server.secret,
        token_seconds=config.server.token_hours * 3600,
        refresh_seconds=config.server.refresh_days * 86_400,
    )
    sign_ins = SharedLimit("sign_ins", limits.sign_ins_per_minute / 60, limits.sign_ins_per_minute, store, clock)
    providers = Providers(parts.authenticators, parts.repository, store, sign_ins)
    acquaintances = Acquaintances()
    hub = Hub(Surroundings(store, config, records, plugins, metrics), acquaintances.hear)
    announcements = Announcements(store, hub.hear)
    erasure = Erasure(parts.repository, store, plugins, announcements)
    return Services(
        config=config,
        hub=hub,
        operations=Operations(
            config, parts.repository, plugins, store, tokens, providers, erasure, announcements, acquaintances
        ),
        upkeep=Upkeep(config.retention, parts.repository, store, erasure, metrics, lambda: hub.inhabited),
        plugins=plugins,
        store=store,
        records=records,
        metrics=metrics,
        messages_limit=SharedLimit("messages", limits.messages_per_second, limits.burst, store, clock),
        commands_limit=RateLimit(FAR_ABOVE * limits.messages_per_second, FAR_ABOVE * limits.burst, clock),
    )
