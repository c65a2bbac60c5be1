"""Traces of a real server, sent to a receiver of OTLP over a real socket, and collectors that are down or hang."""

from __future__ import annotations

import gzip
import http.server
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from evanesce.tracing.export import END_SECONDS
from tests.e2e.clients import ChatClient
from tests.e2e.running import END_SECONDS as SERVER_END_SECONDS
from tests.e2e.running import Server
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

Serve = Callable[..., Server]

NAME = "N4MESAKE"
CONTENT = "C0NTENT that nobody traces"


class Collector(http.server.ThreadingHTTPServer):
    """A receiver of OTLP over HTTP: `bodies` has each request's message, `spans` all spans so far by their names."""

    def __init__(self) -> None:
        self.bodies: queue.Queue[bytes] = queue.Queue()
        self.raw = b""
        self.spans: dict[str, list[Span]] = {}
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def wait_for(self, *names: str) -> None:
        """Wait until there is a span of each of these names."""
        while not set(names) <= self.spans.keys():
            body = self.bodies.get(timeout=PATIENCE)
            self.raw += body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self.spans.setdefault(span.name, []).append(span)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        packed = self.headers.get("Content-Encoding") == "gzip"
        assert isinstance(self.server, Collector)
        self.server.bodies.put(gzip.decompress(body) if packed else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing to the test's output."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


async def talk(server: Server, nursery: trio.Nursery) -> str:
    """Let a guest sign in, join a room and send a message; return the token."""
    client = await ChatClient.open(server, nursery, NAME)
    room_id = (await client.ask("create_room"))["roomId"]
    await client.join(room_id)
    sent = await client.say(room_id, CONTENT)
    await client.wait_for_event("message", messageId=sent["messageId"])
    await client.close()
    return client.token


async def test_the_way_of_a_message_is_one_trace_without_content(
    serve: Serve, collector: Collector, nursery: trio.Nursery
) -> None:
    server = serve(f"traces.url={collector.url}", "traces.ratio=1")
    token = await talk(server, nursery)
    await trio.to_thread.run_sync(server.ask, "GET", "/api/v1/schema.json")
    names = ("sign-in", "join", "join the room", "send", "fan-out", "GET /api/v1/schema.json")
    await trio.to_thread.run_sync(collector.wait_for, *names)
    await trio.to_thread.run_sync(server.stop)
    spans = collector.spans
    [send], [fan_out], [sign_in] = spans["send"], spans["fan-out"], spans["sign-in"]
    assert fan_out.parent_span_id == send.span_id
    assert send.start_time_unix_nano <= fan_out.start_time_unix_nano <= fan_out.end_time_unix_nano
    [join], [in_room] = spans["join"], spans["join the room"]
    assert in_room.parent_span_id == join.span_id
    below: dict[bytes, list[str]] = {}
    for name, found in spans.items():
        for span in found:
            below.setdefault(span.parent_span_id, []).append(name)
    assert any(name.startswith("redis ") for name in below[send.span_id]), "the message is stored"
    assert any(name.startswith("database ") for name in below[sign_in.span_id]), "the account is stored"
    assert any(name.startswith("redis ") for name in below[in_room.span_id])
    for secret in (NAME, CONTENT, token):
        assert secret.encode() not in collector.raw


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_collector_that_hangs_or_is_down_stops_nobody(serve: Serve, nursery: trio.Nursery, hangs: bool) -> None:
    with socket.socket() as collector:
        collector.bind(("127.0.0.1", 0))
        if hangs:
            collector.listen()  # and never accepts
        url = f"http://127.0.0.1:{collector.getsockname()[1]}/v1/traces"
        server = serve(f"traces.url={url}", "traces.ratio=1")
        for _ in range(3):
            await talk(server, nursery)
        server.send_signal(15)
        code = await trio.to_thread.run_sync(server.wait, END_SECONDS + SERVER_END_SECONDS)
    assert code == 0
    assert CONTENT not in server.errors


@pytest.mark.parametrize("traced", [False, True], ids=["without traces", "with traces"])
def test_what_makes_and_exports_spans_is_imported_with_traces_alone(serve: Serve, traced: bool) -> None:
    """Other libraries may import the API of OpenTelemetry where it is installed: redis does, for its own metrics."""
    settings = ("traces.url=http://127.0.0.1:9/v1/traces",) if traced else ()
    server = serve(*settings, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    server.open_room()
    server.stop()
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", server.errors, re.MULTILINE))
    assert "evanesce.server" in imported
    for name in ("evanesce.tracing.spans", "evanesce.tracing.export", "opentelemetry.exporter"):
        assert (name in imported) == traced, name


def test_a_server_without_traces_needs_no_opentelemetry(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opentelemetry'] = None\n")
    server = serve(environment={"PYTHONPATH": str(tmp_path), "PYTHONPROFILEIMPORTTIME": "1"})
    server.open_room()
    server.stop()
    assert "| sitecustomize" in re.sub(" +", " ", server.errors), (
        "it ran, so no module of opentelemetry can be imported"
    )
