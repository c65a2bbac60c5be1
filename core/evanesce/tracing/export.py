"""Sends spans to a collector over OTLP: in a thread of OpenTelemetry, from a queue with a bound."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from evanesce import tracing
from evanesce.tracing.spans import Tracer

MOST_WAITING = 2_048
"""How many spans may wait to be sent. Others are dropped: a collector that is down costs no more than that."""

BATCH = 512
"""How many spans are sent in one request."""

EVERY_MILLISECONDS = 2_000
"""How often spans are sent."""

TIMEOUT_SECONDS = 5
"""How long a request may take."""

END_SECONDS = 2.0
"""How long the end of a server waits until the last spans are sent."""


log = logging.getLogger(__name__)


class Exporter(OTLPSpanExporter):
    """Logs how many spans could not be sent, and nothing else.

    What OpenTelemetry logs itself has the texts of exceptions and answers, and the path of the collector, in it.
    """

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, and return whether the collector has taken them."""
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            log.warning("%d spans were dropped, because the collector of traces.url did not take them", len(spans))
        return result


@asynccontextmanager
async def exported_traces(url: str, ratio: float, instance: str) -> AsyncGenerator[None]:
    """Trace while the context lasts: `ratio` of what begins here, to the collector at `url`, as server `instance`."""
    resource = Resource.create(
        {"service.name": "evanesce", "service.version": version("evanesce"), "service.instance.id": instance}
    )
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    provider = TracerProvider(ParentBased(TraceIdRatioBased(ratio)), resource, shutdown_on_exit=False)
    processor = BatchSpanProcessor(
        Exporter(endpoint=url, timeout=TIMEOUT_SECONDS),
        max_queue_size=MOST_WAITING,
        max_export_batch_size=BATCH,
        schedule_delay_millis=EVERY_MILLISECONDS,
    )
    provider.add_span_processor(processor)
    tracing.active = Tracer(provider)
    try:
        yield
    finally:
        tracing.active = None
        with trio.move_on_after(END_SECONDS, shield=True):
            await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)
