"""What the server counts, for Prometheus; no label ever holds a name, an id or content."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"evanesce_{name}", text, labels, registry=self._registry)

        self.connections = counter("connections", "Connections that began")
        self.closed = counter("connections_closed", "Connections that the server ended, by close code", "code")
        self.accepted = counter("messages_accepted", "Messages that the store took")
        self.delivered = counter("messages_delivered", "Messages handed to connections")
        self.skipped = counter("messages_skipped", "Messages that expired while they waited for a slow client")
        self.refused = counter("commands_refused", "Commands that were refused, by error code", "code")
        self.groups = counter("commit_groups", "Groups of messages that went to the store in one call")
        self.faults = counter("faults", "Contained faults: bugs of the server or of a plugin", "where")
        self.sessions_ended = counter(
            "sessions_left_open", "Sessions that servers left open when they died, ended since"
        )
        self.deleted = counter("rows_deleted", "Rows that were deleted because they had been kept long enough", "kind")
        self.records_dropped = counter("records_dropped", "Records that the write-behind queue dropped")

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show what `value` gives at each look."""
        Gauge(f"evanesce_{name}", text, registry=self._registry).set_function(value)

    def text(self) -> str:
        """Give everything as Prometheus text."""
        return generate_latest(self._registry).decode()
