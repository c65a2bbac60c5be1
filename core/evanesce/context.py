"""What all parts of one server share, in one object, so that constructors do not take each part by itself."""

from __future__ import annotations

from dataclasses import dataclass

from evanesce.config.model import Config
from evanesce.interfaces import Repository
from evanesce.metrics import Metrics
from evanesce.plugins import Plugins
from evanesce.store import Store
from evanesce.writebehind import WriteBehind


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The configuration of a server, its two databases, its plugins and its metrics.

    `records` is the queue of what is written to `repository` later. `config.server.secret` is set.
    """

    config: Config
    store: Store
    repository: Repository
    records: WriteBehind
    plugins: Plugins
    metrics: Metrics
