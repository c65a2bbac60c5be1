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
