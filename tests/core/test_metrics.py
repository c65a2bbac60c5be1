"""What Prometheus reads: counters, histograms and labels, of one process and of several as one text."""

from __future__ import annotations

import re

import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import MessagesTable
from evanesce.errors import CommandError
from evanesce.metrics import Histogram, Metrics, merged
from evanesce.store.memory import MemoryServer
from evanesce.testing.server import TestServer, memory_server


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric by the name of the series and the values of their labels."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {(sample.name, *sample.labels.values()): sample.value for sample in families[name].samples}


def series(text: str) -> set[str]:
    """Return all series of a text: their names and labels."""
    return set(re.findall(r"^(\w+(?:\{.*\})?) \S+$", text, re.MULTILINE))


def test_what_is_counted_elsewhere_is_shown_as_a_counter() -> None:
    metrics = Metrics()
    passed = 3
    metrics.watch_counter("connections_passed", "Connections that were passed", lambda: passed)
    assert samples(metrics.text(), "evanesce_connections_passed") == {("evanesce_connections_passed_total",): 3.0}
    passed = 4
    assert samples(metrics.text(), "evanesce_connections_passed") == {("evanesce_connections_passed_total",): 4.0}


def test_what_happens_with_every_message_is_shown_as_a_counter() -> None:
    metrics = Metrics()
    metrics.delivered.inc(4)
    metrics.delivered.inc()
    metrics.accepted.inc()
    assert samples(metrics.text(), "evanesce_messages_delivered") == {("evanesce_messages_delivered_total",): 5.0}
    assert samples(metrics.text(), "evanesce_messages_accepted") == {("evanesce_messages_accepted_total",): 1.0}


def test_a_histogram_counts_each_value_up_to_its_bound_and_above() -> None:
    histogram = Histogram((1, 10))
    for value in (0.5, 1, 2, 10, 11):
        histogram.observe(value)
    histogram.observe(3, 4)
    metrics = Metrics()
    metrics.watch_histogram("odd", "Odd", histogram.buckets)
    assert samples(metrics.text(), "evanesce_odd") == {
        ("evanesce_odd_bucket", "1"): 2.0,
        ("evanesce_odd_bucket", "10"): 8.0,
        ("evanesce_odd_bucket", "+Inf"): 9.0,
        ("evanesce_odd_count",): 9.0,
        ("evanesce_odd_sum",): 36.5,
    }


def test_a_label_has_its_declared_values_from_the_start_and_no_others() -> None:
    metrics = Metrics()
    counter = metrics.counter("tried", "Tried", way=("name", "key"), outcome=("ok", "failed"))
    counter.labels("key", "ok").inc(2)
    for number in range(1_000):
        counter.labels(f"made up {number}", "ok").inc()
        counter.labels("name", f"made up {number}").inc()
    assert samples(metrics.text(), "evanesce_tried") == {
        ("evanesce_tried_total", "ok", "name"): 0.0,
        ("evanesce_tried_total", "failed", "name"): 0.0,
        ("evanesce_tried_total", "ok", "key"): 2.0,
        ("evanesce_tried_total", "failed", "key"): 0.0,
        ("evanesce_tried_total", "ok", "other"): 1_000.0,
        ("evanesce_tried_total", "other", "name"): 1_000.0,
    }


def test_texts_of_several_workers_make_one_text() -> None:
    one, other = Metrics(), Metrics()
    one.accepted.inc(2)
    other.accepted.inc(3)
    other.watch("alone", "What only one of them has", lambda: 7)
    text = merged([one.text(1), other.text(2)])
    name = "evanesce_messages_accepted"
    assert samples(text, name) == {(f"{name}_total", "1"): 2.0, (f"{name}_total", "2"): 3.0}
    assert samples(text, "evanesce_alone") == {("evanesce_alone", "2"): 7.0}
    heads = re.findall(r"^# (\w+ \w+)", text, re.MULTILINE)
    assert len(heads) == len(set(heads)), "each metric is described once, and its values follow"
    assert series(text) == series(one.text(1)) | series(other.text(2))


async def test_all_metrics_of_one_process_are_its_own_without_workers() -> None:
    metrics = Metrics()
    assert await metrics.scrape() == metrics.text()
    assert "worker=" not in metrics.text()


async def sign_in(server: TestServer, **credential: object) -> None:
    await server.connect().ask("hello", credential=credential)


async def test_no_client_makes_a_series(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room = await server.open_room(ada)
        before = series(server.gateway.metrics())
        for number in range(20):
            await sign_in(server, provider=f"provider {number}", name="Eve")
            await sign_in(server, provider=number)
            server.gateway.admits_origin(f"https://{number}.example")
            server.gateway.admits_host(f"{number}.example", "127.0.0.1")
            await server.connect().ask(f"command {number}", field=number)
        for client in (ada, bob):
            await client.ask("join", roomId=room)
            await client.ask("send", roomId=room, content="x", messageId=str(number))
        after = series(server.gateway.metrics())
        assert before <= after
        codes = {"unknown_provider", "bad_request", "rate_limited"}
        new = {f'evanesce_sign_ins_total{{outcome="{code}",provider="other"}}' for code in codes}
        assert after - before <= new


async def test_sign_ins_are_counted_by_provider_and_outcome(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        await sign_in(server, provider="name", name="Ada")
        await sign_in(server, provider="name", name="Ada")
        await sign_in(server, provider="name", name="")
        await sign_in(server, provider="nobody")
        shown = {key: count for key, count in samples(server.gateway.metrics(), "evanesce_sign_ins").items() if count}
        name = "evanesce_sign_ins_total"
        assert shown.pop((name, "ok", "name")) == 2.0
        assert shown.pop((name, "unknown_provider", "other")) == 1.0
        [(refused, count)] = shown.items()
        assert (refused[2], count) == ("name", 1.0)


async def test_a_message_is_measured_from_its_request_to_its_members(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada, bob, eve = [await server.sign_in(name) for name in ("Ada", "Bob", "Eve")]
        room = await server.open_room(ada)
        for client in (ada, bob, eve):
            await client.ask("join", roomId=room)
        for number in range(4):
            await ada.ask("send", roomId=room, content=str(number))
        await eve.until("message", content="3")
        text = server.gateway.metrics()
        for name in ("message_store_seconds", "message_delivery_seconds", "message_fanout"):
            assert samples(text, f"evanesce_{name}")[f"evanesce_{name}_count",] == 4.0, name
        assert samples(text, "evanesce_message_fanout")["evanesce_message_fanout_sum",] == 12.0
        # No time passes in the memory of a test, but the store's clock has milliseconds.
        assert samples(text, "evanesce_message_delivery_seconds")["evanesce_message_delivery_seconds_sum",] < 0.01


async def test_refused_handshakes_are_counted_by_reason(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        assert not server.gateway.admits_origin("https://elsewhere.example")
        assert not server.gateway.admits_host("elsewhere.example", "192.0.2.1")
        limits = server.gateway.address_limits
        held = []
        for _ in range(200):
            try:
                held.append(limits.hold_connection("192.0.2.7"))
            except CommandError:
                break
        rated = 0
        for _ in range(200):
            try:
                limits.count_handshake("192.0.2.8")
            except CommandError:
                rated += 1
        assert rated
        name = "evanesce_handshakes_refused_total"
        assert samples(server.gateway.metrics(), "evanesce_handshakes_refused") == {
            (name, "connections"): 1.0,
            (name, "rate"): float(rated),
            (name, "origin"): 1.0,
            (name, "host"): 1.0,
        }
        for one in held:
            one.release()


def value(server: TestServer, name: str, *labels: str, series: str = "") -> float:
    """Return the value of the sample of a metric with these labels."""
    return samples(server.gateway.metrics(), f"evanesce_{name}")[(f"evanesce_{series or name}", *labels)]


async def test_refused_commands_are_counted_by_code(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        for _ in range(2):
            refused = await ada.ask("join", roomId="00000000-0000-4000-8000-000000000000")
            assert refused["code"] == "room_not_found"
        assert (await ada.ask("join"))["code"] == "bad_request"
        counted = samples(server.gateway.metrics(), "evanesce_commands_refused")
        name = "evanesce_commands_refused_total"
        assert {labels: count for labels, count in counted.items() if count} == {
            (name, "room_not_found"): 2.0,
            (name, "bad_request"): 1.0,
        }


async def test_requests_wait_in_the_inbox_while_the_store_answers_nothing(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room = await server.open_room(ada)
        for client in (ada, bob):
            await client.ask("join", roomId=room)
            await client.ask("send", roomId=room, content="first words")
        assert value(server, "inbox_requests") == 0
        memory.hold_answers()
        ada.say("leave", roomId=room)
        await wait_all_tasks_blocked()
        before = value(server, "inbox_requests")
        bob.say("members", roomId=room)
        await wait_all_tasks_blocked()
        assert value(server, "inbox_requests") == before + 1
        memory.release_answers()
        await bob.until("members")
        assert value(server, "inbox_requests") == 0


async def test_announcements_are_pending_until_the_store_takes_them(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        ada = await server.connect().ask("hello", credential={"provider": "name", "name": "Ada"})
        assert value(server, "announcements_pending") == 0
        memory.up = False
        await server.bans.ban(await server.bans.person(ada["userId"]), None, "")
        assert value(server, "announcements_pending") == 1
        memory.up = True
        await trio.sleep(60)
        assert value(server, "announcements_pending") == 0


async def test_messages_that_expired_on_the_way_are_counted_when_the_connection_ends(
    autojump_clock: MockClock,
) -> None:
    async with memory_server(messages=MessagesTable(ttl=5)) as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room = await server.open_room(ada)
        for client in (ada, bob):
            await client.ask("join", roomId=room)
        bob.stalled = True
        for number in range(3):
            await ada.ask("send", roomId=room, content=str(number))
        await trio.sleep(6)
        bob.take()
        assert (await bob.until("skipped"))["count"] == 3
        assert value(server, "messages_skipped", series="messages_skipped_total") == 0
        bob.leave()
        await bob.end()
        assert value(server, "messages_skipped", series="messages_skipped_total") == 3
