"""The gateway: the server as transports see it."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import trio

from evanesce.accounts.room_invites import InviteService
from evanesce.accounts.room_rules import RuleService
from evanesce.accounts.room_votes import VoteService
from evanesce.accounts.service import AccountService, Principal
from evanesce.addresses import parse_networks
from evanesce.addresslimits import AddressLimits, HeldConnection
from evanesce.config.public import public_address
from evanesce.context import ServerContext
from evanesce.errors import CloseCode, CommandError, ErrorCode, RateLimited
from evanesce.hints import Hints
from evanesce.interfaces import Connection, HttpRoute, Readiness, SignIn, SignInPage
from evanesce.limits.budgets import Budgets, public_limits
from evanesce.maintenance.activity import Activity
from evanesce.maintenance.reconciliation import Reconciliation
from evanesce.metrics import Count
from evanesce.model import User
from evanesce.plugins import Components
from evanesce.protocol import commands, events
from evanesce.rooms.hub import Hub
from evanesce.schema import documents
from evanesce.sessions.dispatch import Dispatcher, internal_error
from evanesce.sessions.hosts import AdmittedHosts
from evanesce.sessions.readiness import CHECK_SECONDS, DatabaseCheck, PartChecks
from evanesce.sessions.task import GOING_AWAY, RESTARTING, SessionTask
from evanesce.subjects import Subjects

logger = logging.getLogger(__name__)

MOST_SILENT = 1_000
"""How many connections may wait for their client's `hello`, before all of them have less time for it."""

PROBE_SECONDS = 0.9 * CHECK_SECONDS
"""How long the store's probe may take, in seconds: less than a check, so that it says how far it came."""

CHECKED_AT_ONCE = 100
"""How many connections are checked before other tasks may run."""


class Gateway:
    """What a transport is given (`evanesce.interfaces.Gateway`)."""

    def __init__(
        self,
        context: ServerContext,
        components: Components,
        *,
        hub: Hub,
        accounts: AccountService,
        rules: RuleService,
        invites: InviteService,
        votes: VoteService,
        budgets: Budgets,
        activity: Activity,
        reconciliation: Reconciliation,
        subjects: Subjects,
    ) -> None:
        self._context = context
        self._components = components
        self._accounts = accounts
        self._budgets = budgets
        self._activity = activity
        self._dispatcher = Dispatcher(
            context,
            hub=hub,
            accounts=accounts,
            rules=rules,
            invites=invites,
            votes=votes,
            budgets=budgets,
            activity=activity,
            reconciliation=reconciliation,
            subjects=subjects,
        )
        found = components.authenticators.items()
        authenticators = {provider: authenticator.check for provider, authenticator in found}
        checks: dict[str, Callable[[], Awaitable[object]]] = {
            "redis": partial(context.store.health.probe, PROBE_SECONDS),
            "database": DatabaseCheck(context.repository, context.records).check,
        }
        self._checks = PartChecks(checks | authenticators)
        self._tasks: dict[SessionTask, None] = {}  # in the order in which they began
        self._ended = trio.Event()
        self._draining = trio.Event()
        self._announced = False
        self._leaving: tuple[CloseCode, str] | None = None
        self._hosts = AdmittedHosts(public_address(context.config), context.config.server.origins)
        self._origins_refused, self._hosts_refused = Count(), Count()
        self._refused_origins = Hints(logger, trio.current_time)
        self._refused_hosts = Hints(logger, trio.current_time)
        self._documents = documents(
            public_limits(context.config), tuple((route.method, route.path) for route in components.routes)
        )
        self._address_limits = self._new_address_limits()
        # Sessions are counted apart from the sockets of transports that count those: so no transport evades the limit.
        self._session_limits = self._new_address_limits()
        self._watch_metrics(hub)

    def _watch_metrics(self, hub: Hub) -> None:
        metrics = self._context.metrics
        watch = metrics.watch
        watch("sessions", "Connections that are open", lambda: len(self._tasks))
        watch("outbox_bytes", "Bytes that wait for clients, of all connections", lambda: sum(self._waiting_bytes()))
        largest = "Bytes that wait for the client for which most wait"
        watch("outbox_largest_bytes", largest, lambda: max(self._waiting_bytes(), default=0))
        watch("rooms", "Rooms that run on this server", lambda: hub.rooms)
        watch("inbox_requests", "Requests that wait in the inboxes of all rooms", lambda: hub.waiting_requests)
        watch("inbox_largest", "The most requests that ever waited in a room's inbox", lambda: hub.largest_inbox)
        refused = "Connections and requests that were refused before a session began, by reason"
        metrics.watch_counters("handshakes_refused", refused, ("reason",), self._handshakes_refused)
        health = self._context.store.health
        watch("redis_up", "Whether Redis answers, and this server receives what it publishes", lambda: health.healthy)
        watch("subscriber_up", "Whether this server receives what Redis publishes", lambda: health.subscriber_up)
        watch("tasks", "Tasks that run", lambda: trio.lowlevel.current_statistics().tasks_living)

    def _waiting_bytes(self) -> Iterable[int]:
        return (task.connection.waiting_bytes for task in self._tasks)

    def _handshakes_refused(self) -> dict[tuple[str, ...], float]:
        counted = self._address_limits, self._session_limits
        return {
            ("connections",): sum(limits.refused_connections for limits in counted),
            ("rate",): sum(limits.refused_handshakes for limits in counted),
            ("origin",): self._origins_refused.value,
            ("host",): self._hosts_refused.value,
        }

    @property
    def connections(self) -> int:
        """The number of connections that are open."""
        return len(self._tasks)

    @property
    def leaves_service(self) -> bool:
        """Whether `readiness` reports that the server is going to end."""
        return self._announced or self.draining

    @property
    def draining(self) -> bool:
        """Whether the server disconnects its clients because it ends."""
        return self._leaving is not None

    async def wait_draining(self) -> None:
        """Wait until the server begins to disconnect its clients."""
        await self._draining.wait()

    @property
    def routes(self) -> Sequence[HttpRoute]:
        """The HTTP routes that plugins add."""
        return self._components.routes

    @property
    def sign_in_pages(self) -> Sequence[SignInPage]:
        """The ways to sign in that the web page offers."""
        return self._components.sign_in_pages

    @property
    def documents(self) -> Mapping[str, bytes]:
        """The machine-readable descriptions of the protocol, with the limits of this server."""
        return self._documents

    @property
    def address_limits(self) -> AddressLimits:
        """What each address may use of this process."""
        return self._address_limits

    async def serve(
        self, connection: Connection, *, bearer: str | None = None, connected_at: float | None = None
    ) -> None:
        """Serve a connection from its first frame to its last."""
        budget = self._budgets.before_sign_in(connection.address)
        task = SessionTask(
            connection, self._context, self._dispatcher, budget, bearer=bearer, connected_at=connected_at
        )
        held: HeldConnection | None = None
        try:
            held = self._session_limits.hold_connection(connection.address)
        except RateLimited as error:
            task.connection.end(CloseCode.RATE_LIMITED, error.message)
        if self._leaving is not None:
            task.connection.end(*self._leaving)
        self._tasks[task] = None
        try:
            await task.run()
        finally:
            del self._tasks[task]
            if held is not None:
                held.release()
            if self.draining and not self._tasks:
                self._ended.set()

    async def watch(self) -> None:
        """Check the connections, and the outside parts on request, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._checks.run)
            nursery.start_soon(self._watch_connections)

    async def _watch_connections(self) -> None:
        """Check the deadlines of all connections again and again.

        One task does it for all: a timer and a scope for each would be a good part of what an idle connection costs.
        """
        limits = self._context.config.limits
        every = min(1.0, limits.hello_seconds / 20, limits.heartbeat_seconds / 50)
        crowded_until = -math.inf
        while True:
            await trio.sleep(every)
            silent = await self._check_all(every, crowded=trio.current_time() < crowded_until)
            if silent > MOST_SILENT:
                crowded_until = trio.current_time() + limits.hello_seconds  # for the last of them, too

    async def _check_all(self, every: float, *, crowded: bool) -> int:
        """Check each connection once, and return how many wait for `hello`.

        It is a method of its own so that no variable holds a connection, and the name of its user, until the next time.
        """
        silent = 0
        now = trio.current_time()
        for number, task in enumerate(list(self._tasks), 1):
            self._check(task, now, every, crowded=crowded)
            silent += task.waits_for_hello
            if number % CHECKED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
                now = trio.current_time()
        return silent

    def _check(self, task: SessionTask, now: float, every: float, *, crowded: bool) -> None:
        try:
            task.check(now, every, crowded=crowded)
        except BaseException as error:  # a connection is a plugin's code; nothing waits here, so nothing is cancelled
            task.connection.fail(error)

    def announce_end(self) -> None:
        """Report by `readiness` that the server is going to end, and serve as before until `drain`."""
        self._announced = True

    async def drain(self, *, restarting: bool = False) -> None:
        """Disconnect every client, and wait until all have gone. The caller bounds the wait."""
        self._leaving = (CloseCode.RESTARTING, RESTARTING) if restarting else (CloseCode.GOING_AWAY, GOING_AWAY)
        self._draining.set()
        for task in list(self._tasks):
            task.connection.end(*self._leaving)
        if self._tasks:
            await self._ended.wait()

    async def execute(
        self, command: commands.Command, *, bearer: str | None, address: str, local: bool = False
    ) -> events.Reply:
        """Execute a command that came without a connection, as an HTTP request."""
        try:
            if isinstance(command, commands.Challenge):
                principal = await self._authenticate(bearer)
                return await self._accounts.challenge(command, principal, address, local=local)
            principal = await self._authenticate(bearer)
            if principal is None:
                raise CommandError(ErrorCode.UNAUTHENTICATED, "Sign in first: this needs a bearer token.")
            await self._budgets.take(principal.user.user_id, command)
            return await self._dispatcher.execute(command, principal)
        except CommandError as error:
            self._context.metrics.refused.labels(error.code.value).inc()
            raise
        except Exception as error:  # a fault of one request must not end the transport
            raise internal_error(command, error, self._context.metrics) from None

    async def sign_in(
        self, credential: Mapping[str, Any], *, bearer: str | None, address: str, local: bool = False
    ) -> SignIn:
        """Exchange a credential for a token."""
        try:
            before = await self._authenticate(bearer)
            principal, token, created = await self._accounts.sign_in(credential, before, address, local=local)
        except CommandError as error:
            self._context.metrics.refused.labels(error.code.value).inc()
            raise
        return SignIn(self._accounts.welcome(principal, token=token), created)

    async def identify(self, bearer: str | None) -> User | None:
        """Return the user that a bearer token belongs to; None without a token."""
        principal = await self._authenticate(bearer)
        return None if principal is None else principal.user

    def admits_origin(self, origin: str) -> bool:
        """Return whether a page of `origin` may connect. A refused origin is logged once."""
        admitted = self._hosts.admits_origin(origin)
        if not admitted:
            self._origins_refused.inc()
        if origin and not admitted:
            hint = "where it is a page of yours, add it to server.origins, or correct server.public_url"
            self._refused_origins.give(origin, f"a page of the origin %s may not connect: {hint}")
        return admitted

    def admits_host(self, host: str, local_address: str) -> bool:
        """Return whether a request with this Host header is meant for this server. A refused host is logged once."""
        admitted = self._hosts.admits_host(host, local_address)
        if not admitted:
            self._hosts_refused.inc()
            hint = "where people use that name, set server.public_url to it, or add its origin to server.origins"
            self._refused_hosts.give(host, f"a request for the host %s is refused with 421: {hint}")
        return admitted

    async def readiness(self) -> Readiness:
        """Check every outside part; the result of a check is kept for 2 s."""
        parts = await self._checks.states()
        if not self._context.store.health.healthy:  # known at once, whatever result is kept
            parts["redis"] = "down"
        if self.leaves_service:
            status = "draining"
        elif parts["redis"] == "down":
            status = "unavailable"
        else:
            status = "ready" if all(state == "up" for state in parts.values()) else "degraded"
        return Readiness(status, parts)

    def metrics(self) -> str:
        """Return the metrics of this process as Prometheus text."""
        return self._context.metrics.text()

    async def scrape(self) -> str:
        """Return the metrics of all workers as Prometheus text."""
        return await self._context.metrics.scrape()

    async def _authenticate(self, bearer: str | None) -> Principal | None:
        if bearer is None:
            return None
        principal = await self._accounts.authenticate(bearer)
        self._activity.seen(principal.user.user_id)
        return principal

    def _new_address_limits(self) -> AddressLimits:
        limits = self._context.config.limits
        return AddressLimits(
            connections=limits.connections_per_address,
            handshakes=limits.handshakes_per_second,
            exempt=parse_networks(limits.exempt_addresses, "limits.exempt_addresses"),
            clock=trio.current_time,
        )
