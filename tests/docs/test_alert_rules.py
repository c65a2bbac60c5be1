"""The alert rules that the documentation shows name metrics that exist, and buckets that the histogram has."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from evanesce.store.lag import BOUNDS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_alert_rules_name_what_there_is() -> None:
    page = (DOCS / "how-to/monitor-a-server.md").read_text()
    [shown] = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    reference = (DOCS / "reference/metrics.md").read_text()
    rules = [rule for group in yaml.safe_load(shown)["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        metrics = set(re.findall(r"evanesce_\w+", rule["expr"]))
        assert metrics, rule["alert"]
        for metric in metrics:
            assert f"`{re.sub('_(bucket|count)$', '', metric)}`" in reference, metric
        assert all(float(bound) in BOUNDS for bound in re.findall(r'le="([^"]+)"', rule["expr"]))
