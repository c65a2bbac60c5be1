"""The binding of the database to one Redis: servers with different ones would end each other's sessions and rooms.

A Redis has an identity, a random text that it loses with its memory. The database has the identity that its servers
use. Where both have one, the two are compared. Where Redis has none, it has lost its memory, or it is a new one. A
server that has used the database's Redis before knows which, and writes the identity again. A server that starts does
not know: it binds the database to its Redis only if no other server uses the database any more, which is the case when
the heartbeats in the database have stopped.
"""

from __future__ import annotations

import enum
import logging
from secrets import token_hex

import trio

from evanesce.errors import ConfigurationError, PersistenceUnavailable, StoreUnavailable
from evanesce.interfaces import RedisBinding, Repository
from evanesce.jobs import run_every
from evanesce.metrics import Metrics
from evanesce.model import timestamp
from evanesce.store import Store
from evanesce.store.server_registry import ServerRegistry

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
"""How often a heartbeat is written into the database: by one server for all on the same Redis."""

SILENT_SECONDS = 30.0
"""After how long without a heartbeat no server uses the database any more."""

LOOK_SECONDS = 1.0
"""How often a server that starts checks for heartbeats."""

PROOF = 2
"""How many heartbeats prove that servers use another Redis: one may have been under way when Redis was lost."""

EMBEDDED = "embedded-"
"""The prefix of the identity of an embedded Valkey."""

_DUTY = "heartbeat"

PROBLEM = "servers with another Redis use this database, or did so last"
"""The problem of a database that is bound to another Redis."""

HINT = (
    "Give all servers of a database the same redis.url and redis.prefix;"
    " to have this Redis take the other's place, stop those servers and run evanesce db adopt"
)
"""The advice for that problem."""


async def is_bound(bound: RedisBinding | None, servers: ServerRegistry) -> bool | None:
    """Return whether a database is bound to the store's Redis; None where one of them has no identity. Writes nothing.

    Raises `StoreUnavailable`.
    """
    identity = None if bound is None else await servers.identity()
    return None if bound is None or identity is None else identity == bound.identity


class Binding(enum.Enum):
    """What is known about the database and this server's Redis."""

    OURS = "the database is bound to it"
    UNSURE = "the database is bound to another one, and it is not known yet if servers use that one"
    ANOTHERS = "the database is bound to another one"


class RedisGuard:
    """Binds the database to this server's Redis, and checks that it stays so. `run` must run while the server serves.

    `embedded`: this server, or its supervisor, runs its Redis. `alone`: no other server with an embedded Redis can use
    the file of the database.
    """

    def __init__(self, repository: Repository, store: Store, metrics: Metrics, *, embedded: bool, alone: bool) -> None:
        self._repository = repository
        self._store = store
        self._metrics = metrics
        self._embedded = embedded
        self._alone = alone
        self._own: str | None = None
        """The identity that Redis and the database had when they were last found to agree."""
        self._watched: tuple[str, int] | None = None  # an identity and its heartbeats
        self._since = 0.0
        self._beats = 0
        self._refused = False

    async def bind(self) -> None:
        """Wait until the database is bound to this server's Redis. Raises `ConfigurationError` where it cannot be.

        That may take three times `SILENT_SECONDS` if Redis is empty and the database was in use until now. If Redis
        does not answer, `run` continues. Raises `PersistenceUnavailable`.
        """
        warned = False
        while True:
            try:
                binding = await self.check()
            except StoreUnavailable:
                logger.warning("Redis does not answer: whether the database is bound to it is checked later")
                return
            if binding is Binding.OURS:
                return
            if binding is Binding.ANOTHERS:
                raise ConfigurationError("redis.url", PROBLEM, HINT)
            if not warned:
                warned = True
                logger.warning(
                    "this Redis is empty, and a server used the database with a Redis within the last %g s:"
                    " waiting to see if it still does",
                    SILENT_SECONDS,
                )
            await trio.sleep(LOOK_SECONDS)

    async def is_bound(self) -> bool:
        """Return whether the database is bound to this server's Redis now. Raises `Unavailable`."""
        return await self.check() is Binding.OURS

    async def check(self) -> Binding:
        """Compare the identities, and bind a database that no server uses. Raises `Unavailable`."""
        # The database first: a server that writes heartbeats has written the identity into Redis before.
        bound = await self._repository.bound_redis()
        identity = await self._store.servers.identity()
        if identity is None and bound is not None and bound.identity == self._own:
            identity = await self._store.servers.identity(
                bound.identity
            )  # it has lost its memory while this server lived
        if bound is None or (identity is None and self._is_free(bound)):
            binding = await self._bind(identity, None if bound is None else bound.identity)
        elif identity == bound.identity:
            self._own = identity
            binding = Binding.OURS
        elif identity is None and self._beats < PROOF:
            binding = Binding.UNSURE
        else:
            binding = Binding.ANOTHERS
        self._note(binding)
        return binding

    def _is_free(self, bound: RedisBinding) -> bool:
        """Return whether no server uses the database with the Redis that it is bound to."""
        if bound.silent >= SILENT_SECONDS or (self._alone and bound.identity.startswith(EMBEDDED)):
            return True
        # By this server's clock: the clock of the database may be changed.
        watched = (bound.identity, bound.heartbeats)
        if watched != self._watched:
            same = self._watched is not None and self._watched[0] == bound.identity
            self._beats = self._beats + 1 if same else 0
            self._watched, self._since = watched, trio.current_time()
        return trio.current_time() - self._since >= SILENT_SECONDS

    async def _bind(self, identity: str | None, replacing: str | None) -> Binding:
        """Bind the database. It is written first, so that every identity of a Redis is known to a database."""
        mine = identity or (EMBEDDED if self._embedded else "") + token_hex(16)
        if not await self._repository.bind_redis(mine, replacing):
            return Binding.UNSURE  # another server was faster
        found = await self._store.servers.identity(mine)
        if found is not None and found != mine and not await self._repository.bind_redis(found, mine):
            return Binding.UNSURE
        self._own = found
        return Binding.OURS

    def _note(self, binding: Binding) -> None:
        """Log a change of the binding that a deployer has to know, once."""
        refused = binding is Binding.ANOTHERS
        if refused and not self._refused:
            logger.error("redis.url: %s. %s. Until then nothing is cleaned up after dead servers", PROBLEM, HINT)
        elif self._refused and binding is Binding.OURS:
            logger.info("the database is bound to this server's Redis again")
        self._refused = refused

    async def run(self) -> None:
        """Write heartbeats into the database, until cancelled."""
        await run_every(HEARTBEAT_SECONDS, self._beat, "a heartbeat", self._metrics)

    async def _beat(self) -> None:
        if not await self.is_bound() or self._own is None:
            return
        if await self._store.servers.claim(_DUTY, 0.8 * HEARTBEAT_SECONDS):
            await self._store.servers.identity(self._own)  # this makes Redis keep it
            await self._repository.bind_redis(self._own, self._own)

    async def release(self, *, restarting: bool) -> None:
        """Write that no server uses the database, if no other server is alive, so that the next one need not wait.

        `restarting`: the other processes of this server continue. Otherwise an embedded Redis ends with this server,
        and all its servers end together.
        """
        if self._own is None:
            return
        try:
            if (self._embedded and not restarting) or await self._is_last():
                await self._repository.release_redis(self._own)
        except (StoreUnavailable, PersistenceUnavailable) as error:
            logger.debug("the database is not released: %s", error)

    async def _is_last(self) -> bool:
        expiries = await self._store.servers.expiries()
        now = timestamp(self._store.clock.now())
        return expiries is not None and not any(
            until > now for server, until in expiries.items() if server != self._store.servers.server_name
        )
