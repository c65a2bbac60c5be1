"""What Prometheus reads of metrics that are counted elsewhere."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from evanesce.metrics import Metrics


def test_what_is_counted_elsewhere_is_shown_as_a_counter() -> None:
    metrics = Metrics()
    passed = 3
    metrics.watch_counter("connections_passed", "Connections that were passed", lambda: passed)

    def shown() -> tuple[str, str, float]:
        families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
        family = families["evanesce_connections_passed"]
        [sample] = family.samples
        return family.type, sample.name, sample.value

    assert shown() == ("counter", "evanesce_connections_passed_total", 3.0)
    passed = 4
    assert shown() == ("counter", "evanesce_connections_passed_total", 4.0)


def test_what_happens_with_every_message_is_shown_as_a_counter() -> None:
    metrics = Metrics()
    metrics.delivered.inc(4)
    metrics.delivered.inc()
    metrics.accepted.inc()
    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    shown = {name: families[f"evanesce_{name}"].samples for name in ("messages_delivered", "messages_accepted")}
    assert {name: [(sample.name, sample.value) for sample in samples] for name, samples in shown.items()} == {
        "messages_delivered": [("evanesce_messages_delivered_total", 5.0)],
        "messages_accepted": [("evanesce_messages_accepted_total", 1.0)],
    }
