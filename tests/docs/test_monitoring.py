"""The alerts and the dashboard name metrics and labels that exist; each alert has its section; promtool agrees."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from docs.generate import headings
from evanesce.errors import ErrorCode
from evanesce.store.lag import BOUNDS
from evanesce.testing.server import memory_server

DOCS = Path(__file__).parents[2] / "docs"
FILES = DOCS / "examples/monitoring"
RUNBOOKS = DOCS / "how-to/respond-to-alerts.md"
URL = "https://evanesce.example/docs/how-to/respond-to-alerts.html#"

OF_PROMETHEUS = {"job", "instance"}
"""The labels that Prometheus itself adds."""

OF_HISTOGRAMS = ("_bucket", "_count", "_sum")

Rules = list[dict[str, Any]]


def rules() -> Rules:
    groups = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Rules:
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Return where each expression of the alerts and the dashboard stands, and the expression."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def reference() -> dict[str, set[str]]:
    """Return the labels of each metric in the reference, by the names of its series, and those that all may have."""
    found: dict[str, set[str]] = {}
    page = (DOCS / "reference/metrics.md").read_text()
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE):
        known = {*re.findall(r"`(\w+)`", labels), "worker", *OF_PROMETHEUS}
        for suffix in OF_HISTOGRAMS if kind == "histogram" else ("",):
            found[name + suffix] = known | ({"le"} if suffix == "_bucket" else set())
    return found | {"up": OF_PROMETHEUS}


def used(expression: str) -> dict[str, dict[str, str]]:
    """Return the metrics of an expression, each with the labels that it selects and their values."""
    found: dict[str, dict[str, str]] = {}
    for name, selected in re.findall(r"\b(up|(?:evanesce|process)_\w+)(?:\{([^}]*)\})?", expression):
        found.setdefault(name, {}).update(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', selected))
    return found


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_names_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    known, metrics = reference(), used(expression)
    assert metrics, where
    for name, labels in metrics.items():
        assert name in known, where
        assert labels.keys() <= known[name], (where, name)
    grouped = re.findall(r"\b(?:by|without) \(([^)]*)\)", expression)
    names = {label.strip() for group in grouped for label in group.split(",")}
    assert names <= set[str]().union(*(known[name] for name in metrics)), where


async def test_the_values_that_the_alerts_select_exist(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        families = list(text_string_to_metric_families(server.gateway.metrics()))
    known: dict[tuple[str, str], set[str]] = {("up", "job"): {"evanesce"}}
    for sample in (sample for family in families for sample in family.samples):
        for label, value in sample.labels.items():
            known.setdefault((sample.name, label), set()).add(value)
    known["evanesce_expiry_lag_seconds_bucket", "le"] = {str(bound) for bound in BOUNDS}
    assert known["evanesce_commands_refused_total", "code"] == {code.value for code in ErrorCode}
    selected = 0
    for rule in rules():
        for name, labels in used(rule["expr"]).items():
            for label, values in labels.items():
                if not name.startswith("process_"):
                    assert set(values.split("|")) <= known[name, label], rule["alert"]
                    selected += 1
    assert selected >= 5


def test_each_alert_has_a_section_that_its_link_leads_to_and_nothing_else_has() -> None:
    anchors = headings(RUNBOOKS)
    alerts = [rule["alert"] for rule in rules()]
    assert len(alerts) == len(set(alerts)) > 20
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        place = rule["annotations"]["runbook_url"].removeprefix(URL)
        assert anchors[place] == rule["alert"]
    sections = [heading for heading in anchors.values() if heading.startswith("Evanesce")]
    assert sections == alerts, "in the same order"


METRIC = re.compile(r"(?<![\w.])(evanesce_\w+|process_\w+)")
HOOKS = set(METRIC.findall((DOCS / "reference/hooks.md").read_text()))
OF_PLUGINS = {
    *("evanesce_accounts", "evanesce_api", "evanesce_settings"),
    *("evanesce_plugins", "evanesce_slow_mode", "evanesce_tidy", "evanesce_transports"),
}
"""Names of fixtures and modules, besides those of hooks."""

NAMING = {page: set(METRIC.findall(page.read_text())) - HOOKS - OF_PLUGINS for page in sorted(DOCS.rglob("*.md"))}
"""The metrics that each page names."""


@pytest.mark.parametrize(
    "page", [page for page, metrics in NAMING.items() if metrics], ids=lambda page: str(page.relative_to(DOCS))
)
def test_the_pages_name_metrics_that_exist(page: Path) -> None:
    known = reference().keys()
    histograms = {name.removesuffix("_bucket") for name in known if name.endswith("_bucket")}
    assert NAMING[page] <= known | histograms


@pytest.mark.parametrize("page", [RUNBOOKS, DOCS / "how-to/monitor-a-server.md"], ids=lambda page: page.name)
def test_the_pages_name_alerts_that_exist_and_metrics(page: Path) -> None:
    assert NAMING[page]
    assert set(re.findall(r"`(Evanesce\w+)`", page.read_text())) <= {rule["alert"] for rule in rules()}


def test_each_runbook_says_what_people_notice_what_to_do_and_when_it_is_over() -> None:
    outages = RUNBOOKS.read_text().partition("\n## Outages\n")[2].split("\n### ")[1:]
    assert len(outages) >= 10
    for outage in outages:
        for part in ("**People notice:**", "**Do:**", "**It is over**"):
            assert part in outage, outage.partition("\n")[0]


def test_each_alert_fires_in_a_test_of_promtool() -> None:
    tests = yaml.safe_load((FILES / "alerts.test.yml").read_text())["tests"]
    alerts = [alert for test in tests for alert in test["alert_rule_test"]]
    assert {alert["alertname"] for alert in alerts if alert.get("exp_alerts")} == {rule["alert"] for rule in rules()}


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 30
    variables = {f"${variable['name']}" for variable in dashboard["templating"]["list"]}
    shown: set[str] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            shown |= set(used(target["expr"]))
            assert set(re.findall(r"\$[a-z]+\b", target["expr"])) <= variables, panel["title"]
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [(place["x"] + x, place["y"] + y) for place in places for x in range(place["w"]) for y in range(place["h"])]
    assert len(cells) == len(set(cells)), "no two panels overlap"
    assert max(x for x, _ in cells) < 24
    series = {re.sub("_(bucket|count|sum)$", "", name) for name in reference() if name.startswith("evanesce_")}
    missing = series - {re.sub("_(bucket|count|sum)$", "", name) for name in shown}
    assert missing <= NOT_SHOWN


NOT_SHOWN = {
    "evanesce_certificate_expiry_timestamp_seconds",
    "evanesce_connections_passed_total",
    "evanesce_inbox_largest",
    "evanesce_plugin_calls_total",
    "evanesce_plugin_hanging",
    "evanesce_redis_connects_total",
    "evanesce_sessions_left_open_total",
    "evanesce_subscriber_up",
}
"""Metrics for a closer look, which the dashboard leaves out."""


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        why = "there is no promtool, which the package prometheus has"
        if os.environ.get("CI"):
            pytest.fail(f"{why}, and in CI this is not skipped")
        pytest.skip(why)
    return found


@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")],
    ids=" ".join,
)
def test_promtool_accepts_the_files(promtool: str, command: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *command], cwd=FILES, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_promtool_accepts_the_metrics_of_a_server(promtool: str, metrics: str) -> None:
    """It refuses text that Prometheus cannot read; what it says of names is advice."""
    command = [promtool, "check", "metrics"]
    done = subprocess.run(command, input=metrics, capture_output=True, text=True, timeout=60, check=False)
    assert "error while linting" not in done.stderr
    advice = [line for line in done.stderr.splitlines() if line.startswith("evanesce_")]
    assert advice == []


@pytest.fixture(scope="module")
def metrics() -> str:
    """Return what a server with workers answers."""
    from docs.generate import scrape

    return scrape()


def test_the_reference_lists_the_metrics_of_a_server(metrics: str) -> None:
    families = {family.name for family in text_string_to_metric_families(metrics)}
    listed = {re.sub("_(total|bucket|count|sum)$", "", name) for name in reference()} - {"up"}
    assert {re.sub("_total$", "", name) for name in families} == listed


def test_prometheus_knows_the_job_and_the_rules() -> None:
    config: Mapping[str, Any] = yaml.safe_load((FILES / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["evanesce"]
