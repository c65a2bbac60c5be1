"""How late keys are erased: counted for the metric, and summed up for `evanesce check`."""

from __future__ import annotations

import math

import pytest

from evanesce.metrics import Metrics
from evanesce.store import lag as module
from evanesce.store.health import ExpiryReport
from evanesce.store.lag import BOUNDS, ExpiryLag, LagSummary
from evanesce.store.redis import lag_reports
from tests.core.store.backends import Backend, RedisBackend, eventually
from tests.patience import Taken


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The steady clock, to be set by hand."""
    at = [1_000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    return at


def test_a_lag_is_counted_below_every_bound_that_it_does_not_exceed() -> None:
    lag = ExpiryLag()
    lag.add([0.01, 0.011, 0.3, 1_000.0])
    buckets, total = lag.histogram()
    counts = dict(buckets)
    assert [bound for bound, _ in buckets] == [*BOUNDS, math.inf]
    assert (counts[0.01], counts[0.025], counts[0.25], counts[0.5], counts[60.0], counts[math.inf]) == (
        1,
        2,
        2,
        3,
        3,
        4,
    )
    assert total == pytest.approx(1_000.321)


def test_the_summary_is_of_the_last_minute_and_never_better_than_it_was(steady: list[float]) -> None:
    lag = ExpiryLag()
    assert lag.summary() == LagSummary(0, 0.0, 0.0)
    lag.add([5.0])
    steady[0] += 30
    lag.add([0.03] * 99 + [0.2])
    assert lag.summary() == LagSummary(101, 0.25, 5.0)
    steady[0] += 41
    assert lag.summary() == LagSummary(100, 0.05, 0.2), "the first was more than a minute ago"
    steady[0] += 30
    assert lag.summary() == LagSummary(0, 0.0, 0.0)
    lag.add([0.001])
    assert lag.summary() == LagSummary(1, 0.001, 0.001), "no percentile is above the worst"


def test_it_is_shown_to_prometheus_as_a_histogram() -> None:
    lag, metrics = ExpiryLag(), Metrics()
    metrics.watch_histogram("expiry_lag_seconds", "How late", lag.histogram)
    lag.add([0.02, 0.02, 7.0])
    lines = metrics.text().splitlines()
    assert "# TYPE evanesce_expiry_lag_seconds histogram" in lines
    assert 'evanesce_expiry_lag_seconds_bucket{le="0.01"} 0.0' in lines
    assert 'evanesce_expiry_lag_seconds_bucket{le="0.025"} 2.0' in lines
    assert 'evanesce_expiry_lag_seconds_bucket{le="+Inf"} 3.0' in lines
    assert "evanesce_expiry_lag_seconds_count 3.0" in lines
    assert "evanesce_expiry_lag_seconds_sum 7.04" in lines


async def test_nothing_is_told_where_nothing_was_erased(backend: Backend) -> None:
    store = await backend.open()
    assert await store.health.expiry_report() is None


async def test_all_servers_together_tell_how_late_they_erase(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_reports, "REPORT_SECONDS", 0.05)
    one, two = await valkey.open("one"), await valkey.open("two")
    taken = Taken()
    told: list[ExpiryReport] = []

    async def both_have_told(keys: int) -> bool:
        told[:] = filter(None, [await two.health.expiry_report()])
        return bool(told) and told[0].servers == 2 and told[0].keys == keys

    for number, store in enumerate((one, one, two)):
        await store.one_time_values.put(f"key-{number}", b"value", 0.1)
    await eventually(lambda: both_have_told(3))
    assert 0 < told[0].p99 <= told[0].worst < 2 + taken.seconds()
    await valkey.close(one)
    report = await two.health.expiry_report()
    assert report is not None
    assert (report.servers, report.keys) == (1, 1), "a server that ended takes its report back"
    monkeypatch.setattr(lag_reports, "FRESH_SECONDS", -1.0)
    assert await two.health.expiry_report() is None, "what was told long ago is not believed"


async def test_what_a_killed_server_told_does_not_stay_while_others_tell(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_reports, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(lag_reports, "KEEP", 5_000)
    now = valkey.client.time()[0] * 1000
    valkey.client.hset("evanesce:{servers}:lag", "killed.1", f"[{now - 6_000},1,0.1,0.1]")
    valkey.client.hset("evanesce:{servers}:lag", "alive.1", f"[{now},1,0.1,0.1]")
    store = await valkey.open()
    await eventually(
        lambda: set(valkey.client.hkeys("evanesce:{servers}:lag")) == {b"alive.1", store.servers.server_name.encode()}
    )
