"""Spans: which ends when, what a failure shows of itself, and that traces that are off make none."""

from __future__ import annotations

import http.server
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce import tracing
from evanesce.config.model import RoomsTable
from evanesce.model import Timestamp
from evanesce.testing.server import memory_server
from evanesce.tracing import spans
from evanesce.tracing.export import exported_traces
from evanesce.tracing.spans import Tracer


class Recorded:
    """A tracer, and the spans that have ended."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = Tracer(provider, clock)

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ended]


def test_a_span_that_is_handed_over_ends_with_the_fan_out() -> None:
    recorded = Recorded()
    with recorded.tracer.span("send"):
        recorded.tracer.hand_over("id")
    assert recorded.names == []
    with recorded.tracer.taken_over("store", ["id", "of another server"], ends=False):
        recorded.tracer.start_child("redis", "FCALL").end()  # type: ignore[union-attr]
    recorded.tracer.fanned_out(["id", "of another server"], began=1, members=3)
    recorded.tracer.fanned_out(["id"], began=1, members=3)
    assert recorded.names == ["redis FCALL", "store", "fan-out", "send"]
    redis, store, fan_out, send = recorded.ended
    assert redis.parent is not None
    assert redis.parent.span_id == store.context.span_id
    assert {span.context.trace_id for span in recorded.ended} == {send.context.trace_id}
    assert dict(fan_out.attributes or {}) == {"evanesce.deliveries": 3}


def test_a_group_is_a_child_of_the_first_with_links_to_the_others() -> None:
    recorded = Recorded()
    for key in (1, 2):
        with recorded.tracer.span("join"):
            recorded.tracer.hand_over(key)
    with recorded.tracer.taken_over("join the room", [1, 2], ends=True):
        pass
    group, first, second = recorded.ended
    assert (group.name, first.name, second.name) == ("join the room", "join", "join")
    assert group.parent is not None
    assert group.parent.span_id == first.context.span_id
    assert [link.context.span_id for link in group.links] == [second.context.span_id]


def test_a_failure_shows_its_type_alone_and_ends_what_was_handed_over(caplog: pytest.LogCaptureFixture) -> None:
    recorded = Recorded()

    def send() -> None:
        with recorded.tracer.span("send"):
            recorded.tracer.hand_over("id")
            raise ValueError("somebody's message")

    with pytest.raises(ValueError, match="somebody"):
        send()
    [span] = recorded.ended
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}
    assert not span.events
    assert "somebody" not in span.to_json()
    assert not caplog.records, "it has ended once"


def test_spans_that_nobody_takes_over_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_OPEN", 3)
    recorded = Recorded()
    for key in range(5):
        with recorded.tracer.span("send"):
            recorded.tracer.hand_over(key)
    assert [dict(span.attributes or {}) for span in recorded.ended] == [{"error.type": "unfinished"}] * 2


def test_a_span_that_waits_too_long_ends_and_its_key_is_forgotten() -> None:
    class Key:
        """What may be kept alive by its use as a key."""

    now = 0.0
    recorded = Recorded(lambda: now)
    key = Key()
    kept = weakref.ref(key)
    with recorded.tracer.span("join"):
        recorded.tracer.hand_over(key)
    del key
    for now in (spans.LONGEST_SECONDS - 1, spans.LONGEST_SECONDS):
        assert recorded.names == []
        with recorded.tracer.span("send"):
            recorded.tracer.hand_over(now)
    assert recorded.names == ["join"]
    assert kept() is None


def test_a_span_that_is_handed_over_again_has_the_new_key_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spans, "MOST_OPEN", 2)
    recorded = Recorded()
    with recorded.tracer.span("join"):
        recorded.tracer.hand_over(1)
        recorded.tracer.hand_over(2)
    recorded.tracer.end(1)
    assert recorded.names == []
    recorded.tracer.end(2)
    assert recorded.names == ["join"]
    for key in range(3, 6):
        with recorded.tracer.span("send"):
            recorded.tracer.hand_over(key)
            recorded.tracer.hand_over(-key)
    assert recorded.names == ["join", "send"]
    assert not caplog.records


async def test_commands_that_a_room_refuses_leave_no_span_open(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    recorded = Recorded()
    monkeypatch.setattr(tracing, "active", recorded.tracer)
    async with memory_server(rooms=RoomsTable(capacity=1)) as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room = await server.open_room(ada)
        assert (await ada.ask("join", roomId=room))["type"] == "joined"
        assert (await bob.ask("join", roomId=room))["code"] == "room_full"
        ada.say("leave", roomId=room)
        ada.say("send", roomId=room, content="too late", ref=1)
        await wait_all_tasks_blocked()
        assert [event["code"] for event in ada.waiting() if event.get("ref") == 1] == ["not_member"]
        assert [recorded.names.count(name) for name in ("join", "send")] == [2, 1]
        gone = await server.open_room(ada)
        await server.repository.close_room(gone, Timestamp("2026-01-01T00:00:00.000Z"))  # nobody is told
        assert (await ada.ask("join", roomId=gone))["code"] == "room_not_found"
        assert recorded.names.count("join") == 3


class Refusing(http.server.BaseHTTPRequestHandler):
    """A collector whose answer has a text of its own."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(400, "S3CR3T of the answer")

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing to the test's output."""


@pytest.mark.parametrize("refuses", [True, False])
def test_a_collector_that_does_not_take_spans_is_told_without_its_path(
    caplog: pytest.LogCaptureFixture, refuses: bool
) -> None:
    caplog.set_level(logging.DEBUG, "opentelemetry.exporter")

    async def trace(port: int) -> None:
        async with exported_traces(f"http://127.0.0.1:{port}/S3CR3T", 1.0, "one"):
            assert tracing.active is not None
            with tracing.active.span("send"):
                pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as collector:
        if refuses:
            thread = threading.Thread(target=collector.handle_request)
            thread.start()
            trio.run(trace, collector.server_port)
            thread.join()
        else:
            port = collector.server_port
            collector.server_close()
            trio.run(trace, port)
    texts = [record.getMessage() for record in caplog.records if record.name.startswith(("evanesce", "opentelemetry"))]
    assert "S3CR3T" not in repr(texts)
    if refuses:
        assert texts == ["1 spans were dropped, because the collector of traces.url did not take them"]


def test_what_is_not_sampled_has_no_children_and_is_not_kept() -> None:
    tracer = Tracer(TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))
    with tracer.span("send"):
        tracer.hand_over("id")
        assert tracer.start_child("redis", "FCALL") is None
    with tracer.taken_over("store", ["id"], ends=True):
        assert tracer.start_child("redis", "FCALL") is None


def test_background_work_makes_no_spans_of_its_own() -> None:
    recorded = Recorded()
    assert recorded.tracer.start_child("redis", "PUBLISH") is None
    with recorded.tracer.child("database", "servers"):
        pass
    assert recorded.names == []


def test_a_method_of_a_clients_own_is_not_shown() -> None:
    recorded = Recorded()
    with recorded.tracer.request("S3CR3T", "none"):
        pass
    assert recorded.names == ["_OTHER none"]
    assert "S3CR3T" not in recorded.ended[0].to_json()


def test_without_traces_nothing_is_made_and_opentelemetry_is_not_imported() -> None:
    assert tracing.active is None
    first, second = (tracing.taken_over("store", ["id"], ends=True) for _ in range(2))
    assert first is second, "one object that does nothing serves all"
