"""The spans of a server. Their attributes are numbers, methods and names of the code: no content, token, name or id."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

MOST_OPEN = 10_000
"""How many spans may wait for another task. Above that the oldest ends as it is."""

LONGEST_SECONDS = 60.0
"""How long a span may wait for another task. After that it ends as it is, when the next one is handed over."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Attribute = str | int | float | bool


class _Open(NamedTuple):
    span: Span
    since: float


class Tracer:
    """Makes the spans of one process, on the Trio thread alone. `clock` returns seconds of a monotonic clock."""

    def __init__(self, provider: TracerProvider, clock: Callable[[], float] = time.monotonic) -> None:
        self._tracer = provider.get_tracer("evanesce")
        self._clock = clock
        self._open: OrderedDict[Hashable, _Open] = OrderedDict()
        self._handed_over: dict[int, Hashable] = {}  # the keys of these spans

    @contextmanager
    def span(self, name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: Attribute) -> Generator[Span]:
        """Make a span of what runs in this context. It ends with it, unless it is handed over meanwhile."""
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except BaseException as error:
                fail(span, type(error).__name__)
                self.end(self._handed_over.get(id(span)))  # nobody takes over what has failed
                raise
            finally:
                if id(span) not in self._handed_over and span.is_recording():
                    span.end()

    def request(self, method: str, route: str) -> AbstractContextManager[Span]:
        """Make a span of an HTTP request. `route` is the pattern of its path: the path itself may hold an id."""
        method = method if method in _METHODS else "_OTHER"
        return self.span(f"{method} {route}", SpanKind.SERVER, **{"http.request.method": method, "http.route": route})

    @contextmanager
    def child(self, name: str, operation: str) -> Generator[None]:
        """Make a span of an operation of a database, as `span` does, where one is recorded that it belongs to."""
        if not trace.get_current_span().is_recording():
            yield
            return
        with self.span(f"{name} {operation}", SpanKind.CLIENT, **_operation(name, operation)):
            yield

    def start_child(self, name: str, operation: str) -> Span | None:
        """Start a span of an operation of a database, which the caller ends, where one is recorded above it."""
        if not trace.get_current_span().is_recording():
            return None
        return self._tracer.start_span(
            f"{name} {operation}", kind=SpanKind.CLIENT, attributes=_operation(name, operation)
        )

    def hand_over(self, key: Hashable) -> None:
        """Let the present span last until `end` or `taken_over` is called with `key`, in whatever task.

        A span that was handed over before has the new key alone. The key is kept until then: it must hold no secret.
        """
        span = trace.get_current_span()
        if not span.is_recording() or key in self._open:
            return
        if (old := self._handed_over.pop(id(span), None)) is not None:
            del self._open[old]
        self._open[key] = _Open(span, self._clock())
        self._handed_over[id(span)] = key
        self._end_oldest()

    def _end_oldest(self) -> None:
        while self._open:
            key, oldest = next(iter(self._open.items()))
            if len(self._open) <= MOST_OPEN and self._clock() - oldest.since < LONGEST_SECONDS:
                return
            self.end(key, failure="unfinished")

    @contextmanager
    def taken_over(self, name: str, keys: Sequence[Hashable], *, ends: bool) -> Generator[None]:
        """Make a span of work for the spans of `keys`: a child of the first, with links to the others.

        With `ends`, they end with it.
        """
        spans = [self._open[key].span for key in keys if key in self._open]
        if not spans:
            yield
            return
        context = trace.set_span_in_context(spans[0])
        links = [Link(span.get_span_context()) for span in spans[1:]]
        try:
            with self._tracer.start_as_current_span(
                name, context, links=links, record_exception=False, set_status_on_exception=False
            ):
                yield
        finally:
            if ends:
                for key in keys:
                    self.end(key)

    def fanned_out(self, keys: Iterable[Hashable], began: int, members: int) -> None:
        """End the spans of `keys`, each with a span of the fan-out since `began`, in nanoseconds of `time.time_ns`."""
        for key in keys:
            if (one := self._open.get(key)) is not None:
                context = trace.set_span_in_context(one.span)
                self._tracer.start_span(
                    "fan-out", context, start_time=began, attributes={"evanesce.deliveries": members}
                ).end()
                self.end(key)

    def end(self, key: Hashable, *, failure: str | None = None) -> None:
        """End the span of `key`, if there is one."""
        if (one := self._open.pop(key, None)) is None:
            return
        span = one.span
        self._handed_over.pop(id(span), None)
        if failure is not None:
            fail(span, failure)
        span.end()


def _operation(name: str, operation: str) -> dict[str, Attribute]:
    return {"db.system.name": name, "db.operation.name": operation}


def fail(span: Span, kind: str) -> None:
    """Mark a span as failed. `kind` is a name in the code: the text of an exception may hold content."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", kind)
