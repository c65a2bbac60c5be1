"""Does one job, given as JSON on the standard input, and prints what was measured as JSON."""

from __future__ import annotations

import json
import sys

from tests.benchmarks.load.jobs import JOBS

job = json.load(sys.stdin)
print(json.dumps(JOBS[job["kind"]](job)))
