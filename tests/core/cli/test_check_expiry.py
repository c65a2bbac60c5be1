"""`evanesce check` reports how late expired keys are erased."""

from __future__ import annotations

import pytest

from evanesce.cli import check
from evanesce.cli.report import Report
from evanesce.store.health import ExpiryReport


@pytest.mark.parametrize(
    ("expiry", "line"),
    [
        (None, "ok   no server has erased anything in the last minute"),
        (
            ExpiryReport(servers=2, keys=300, p99=0.05, worst=0.12),
            "ok   99 % of the expired keys were erased within 50 ms, the slowest after 120 ms:"
            " 300 keys in the last minute, by 2 servers",
        ),
        (
            ExpiryReport(servers=1, keys=1, p99=0.1, worst=4.0),
            "warn 99 % of the expired keys were erased within 100 ms, the slowest after 4000 ms:"
            " 1 key in the last minute, by 1 server."
            " More than 250 ms means that Redis or a server was unavailable or slow"
            " | See the logs of both.",
        ),
    ],
)
def test_the_lag_is_told(expiry: ExpiryReport | None, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    check.report_expiry(report, expiry)
    assert capsys.readouterr().out.splitlines()[1] == f"expiry                 | {line}"
    assert not report.failed
