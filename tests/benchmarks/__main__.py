"""The benchmark's command: `python -m tests.benchmarks`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import idle_hook, plot, report
from tests.benchmarks.campaign import Result, prepare, run
from tests.benchmarks.contenders import evanesce
from tests.benchmarks.peers import Peers
from tests.benchmarks.scenarios import FULL, QUICK, TINY, stages

SCALES = {"full": FULL, "quick": QUICK, "tiny": TINY}


def main() -> int:
    """Measure, print the table and the ratios, and write both as JSON and as a plot."""
    arguments = _arguments()
    scale = SCALES[arguments.scale]
    repeats = arguments.repeats or (3 if arguments.scale == "full" else 1)
    own = [evanesce(transport) for transport in arguments.transport.split(",")]
    with tempfile.TemporaryDirectory(prefix="benchmark-peers-") as folder:
        peers = Peers(arguments.peers_folder or Path(folder))
        results: list[Result] = []
        wanted = stages(scale, own, peers=not arguments.evanesce_alone)
        if arguments.only:
            wanted = [stage for stage in wanted if any(word in stage.name for word in arguments.only)]
        if arguments.against:
            wanted = [stage.against(own, arguments.against) for stage in wanted]
        wanted, left_out = prepare(wanted, peers)
        for result in run(wanted, peers, repeats):
            results.append(result)
            print(report.line(result), file=sys.stderr, flush=True)
    if not arguments.only or "idle" in arguments.only:
        results += idle_hook.measure([one.transport for one in own], scale.idle, scale.idle_seconds)
    summary = report.summarise(results, scale, own[0].name, left_out)
    print(report.table(summary))
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "benchmark.json").write_text(report.as_json(summary, results))
        (arguments.output / "benchmark.svg").write_text(plot.svg(summary, scale))
    return 1 if any(result.failure for result in results) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=main.__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="scale", action="store_const", const="quick", help="about five minutes")
    size.add_argument(
        "--tiny", dest="scale", action="store_const", const="tiny", help="less than a minute: does it run?"
    )
    parser.set_defaults(scale="full")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where benchmark.json and benchmark.svg go")
    parser.add_argument("--repeats", type=int, metavar="N", help="how often each is measured (3; 1 with --quick)")
    parser.add_argument(
        "--transport", default="quart", metavar="NAMES", help="Evanesce's, by commas; ratios: the first"
    )
    parser.add_argument("--evanesce-alone", action="store_true", help="no peers: nothing is fetched")
    parser.add_argument("--only", action="append", metavar="WORD", help="only stages with this in their name")
    parser.add_argument("--against", action="append", metavar="WORD", help="only peers with this in their name")
    parser.add_argument(
        "--peers-folder", type=Path, metavar="FOLDER", help="keep the peers here; else they are fetched"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
