"""What every room of a server works with."""

from __future__ import annotations

from dataclasses import dataclass

from evanesce.config.model import Config
from evanesce.metrics import Metrics
from evanesce.plugins import Plugins
from evanesce.store.base import MessageStore
from evanesce.writebehind import WriteBehind


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The parts that all rooms of a server share."""

    store: MessageStore
    config: Config
    records: WriteBehind
    plugins: Plugins
    metrics: Metrics
