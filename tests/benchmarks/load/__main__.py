"""Run one job, described as JSON on standard input, and print its results as JSON."""

from __future__ import annotations

import json
import sys

from tests.benchmarks.load.jobs import JOBS

job = json.load(sys.stdin)
print(json.dumps(JOBS[job["kind"]](job)))
