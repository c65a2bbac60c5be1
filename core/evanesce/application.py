"""All components of one server put together, from the gateway that transports talk to down to the rooms."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from evanesce.accounts.bans import UserBans
from evanesce.accounts.cache import AccountCache
from evanesce.accounts.control import ControlPublisher
from evanesce.accounts.erasure import Erasure
from evanesce.accounts.owned_rooms import OwnedRooms
from evanesce.accounts.purge import Purge
from evanesce.accounts.revocation import Revocation
from evanesce.accounts.room_invites import InviteService
from evanesce.accounts.room_rules import RuleService
from evanesce.accounts.room_votes import VoteService
from evanesce.accounts.service import AccountService
from evanesce.accounts.sign_in import Providers
from evanesce.accounts.tokens import Tokens
from evanesce.accounts.vote_bans import VoteBans
from evanesce.admin.draining import Draining
from evanesce.admin.service import AdminService
from evanesce.admin.status import StatusReports
from evanesce.config.model import Config, secrets_of
from evanesce.context import ServerContext
from evanesce.limits.budgets import Budgets
from evanesce.limits.distributed import DistributedRateLimit
from evanesce.maintenance.activity import Activity
from evanesce.maintenance.binding import RedisGuard
from evanesce.maintenance.cleanup import Cleanup
from evanesce.maintenance.reconciliation import Reconciliation
from evanesce.plugins import Components
from evanesce.rooms.hub import Hub
from evanesce.services import Services
from evanesce.sessions.gateway import Gateway
from evanesce.subjects import Subjects


class Application:
    """The gateway, the Hub and the background jobs of one server.

    `run` runs all of them but two, which the caller runs: `context.records`, which outlives the rest, and `cleanup`,
    which tests run when they need it.
    """

    def __init__(self, context: ServerContext, components: Components, guard: RedisGuard) -> None:
        limits = context.config.limits
        self.hub = Hub(context)
        cache = AccountCache()
        publisher = ControlPublisher(context.store, self.hub.handle_notice)
        purge = Purge(context.repository, context.metrics)
        erasure = Erasure(context, publisher, purge)
        reconciliation = Reconciliation(context, self.hub, cache, publisher)
        self.hub.listen(cache.handle_notice)
        self.hub.listen(reconciliation.handle_notice)
        activity = Activity(context, self.hub)
        # `trio.current_time` makes two calls more for each command.
        shared, clock = context.store.rate_limits, trio.lowlevel.current_clock().current_time
        sign_ins = DistributedRateLimit(
            "sign_ins", limits.sign_ins_per_minute / 60, limits.sign_ins_per_minute, shared, clock
        )
        tokens = _tokens(context.config)
        revocation = Revocation(context.repository, publisher, tokens, context.store.clock)
        subjects = Subjects(context.config.server.ban_secret or _secrets(context.config)[0])
        self.bans = UserBans(context, publisher, subjects)
        accounts = AccountService(
            context,
            tokens=tokens,
            providers=Providers(
                components.authenticators,
                context.repository,
                context.store,
                sign_ins,
                revocation,
                purge,
                self.bans,
                context.metrics,
            ),
            cache=cache,
            publisher=publisher,
            revocation=revocation,
            purge=purge,
            erasure=erasure,
        )
        rooms = OwnedRooms(context, accounts)
        vote_bans = VoteBans(context, self.hub.rule_sync)
        rules = RuleService(
            context,
            accounts=accounts,
            rooms=rooms,
            cache=cache,
            rule_sync=self.hub.rule_sync,
            vote_bans=vote_bans,
            subjects=subjects,
            clock=clock,
        )
        votes = VoteService(
            context,
            accounts=accounts,
            rooms=rooms,
            bans=vote_bans,
            subjects=subjects,
            providers=components.authenticators.keys(),
            clock=clock,
        )
        budgets = Budgets(limits, shared, clock)
        self._plugins = context.plugins
        context.store.presence.observe(self._observe_presence)
        services = Services(
            context,
            hub=self.hub,
            accounts=accounts,
            rules=rules,
            budgets=budgets,
            providers=components.providers,
            clock=clock,
        )
        self._services = services
        self.gateway = Gateway(
            context,
            components,
            hub=self.hub,
            accounts=accounts,
            rules=rules,
            invites=InviteService(context, rooms, clock),
            votes=votes,
            budgets=budgets,
            activity=activity,
            reconciliation=reconciliation,
            subjects=subjects,
        )
        self.cleanup = Cleanup(context, erasure, guard, lambda: self.hub.room_ids_with_members)
        reports = StatusReports(context, self.hub, self.gateway)
        draining = Draining(context, self.gateway)
        self.hub.listen(draining.handle_notice)
        self.admin = AdminService(services, self.bans, self.gateway, reports)
        """What operators can do, whether or not this server listens for them."""
        self._jobs = (publisher, reconciliation, activity, purge, vote_bans, reports, draining)
        pending = "Announcements to other servers that Redis has not accepted yet"
        context.metrics.watch("announcements_pending", pending, lambda: publisher.pending)

    def _observe_presence(self, room_id: str, joined: Sequence[str], left: Sequence[str]) -> None:
        self._plugins.observe("evanesce_presence_changed", room_id=room_id, joined=joined, left=left)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the Hub, the gateway, the jobs and the tasks of the plugins, until cancelled."""
        async with trio.open_nursery() as nursery:
            for job in self._jobs:
                nursery.start_soon(job.run)
            await nursery.start(self.hub.run)
            nursery.start_soon(self.gateway.watch)
            await nursery.start(self._plugins.run_tasks, self._services.of)
            task_status.started()


def _tokens(config: Config) -> Tokens:
    return Tokens(
        *_secrets(config),
        token_seconds=config.server.token_hours * 3600,
        refresh_seconds=config.server.refresh_days * 86_400,
    )


def _secrets(config: Config) -> tuple[str, ...]:
    secrets = secrets_of(config.server.secret)
    if not secrets:
        raise AssertionError("the secret is made before the server")
    return secrets
