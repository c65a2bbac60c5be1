"""Run Autobahn's fuzzing client against the connection code of each transport: RFC 6455, case by case.

`python -m tests.conformance.autobahn [--short]`. The client needs a Python 2.7, on the path or of pyenv, and is
installed into `build/autobahn` at the first run. Cases 9 (sizes beyond Evanesce's limit), 12 and 13 (compression) are
left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.transports.serving import TRANSPORTS
from tests.withstand.checks import NOT_RUN, ROOT

SUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv==20.15.1"
"""The last one that makes environments of Python 2.7."""

FOLDER = ROOT / "build" / "autobahn"
CASES, SHORT_CASES = ["*"], ["1.1.*", "2.*", "3.*", "7.1.*"]
LEFT_OUT = ["9.*", "12.*", "13.*"]
SECONDS = 900.0

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
CLEAN = {"OK", "INFORMATIONAL"}


class NotHere(Exception):
    """The client cannot be run on this machine."""


def main() -> int:
    """Run all cases, and print for each transport how many there were, and which of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.autobahn", description=__doc__)
    parser.add_argument("--short", action="store_true", help="run a few cases")
    options = parser.parse_args()
    try:
        client = fuzzing_client()
    except NotHere as reason:
        print(reason)
        return NOT_RUN
    found = results(client, SHORT_CASES if options.short else CASES)
    figures = [figure(transport, found[transport]) for transport in TRANSPORTS]
    print("; ".join(text for text, _ in figures))
    return 0 if all(passed for _, passed in figures) else 1


def figure(transport: str, cases: dict[str, Any]) -> tuple[str, bool]:
    """Return in words how a transport did, and whether all was as it has to be."""
    failed = [name for name, case in cases.items() if case["behavior"] not in PASSED]
    unclean = [name for name, case in cases.items() if case["behaviorClose"] not in CLEAN]
    text = f"{transport}: {len(cases)} cases, {len(failed)} failed, {len(unclean)} unclean closes"
    named = sorted({*failed, *unclean})
    return text + f" ({', '.join(named)})" * bool(named), bool(cases) and not named


def results(client: Path, cases: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Run the cases against all transports, and return Autobahn's index of them."""
    with tempfile.TemporaryDirectory(prefix="autobahn-") as folder, ExitStack() as stack:
        servers = [{"agent": name, "url": stack.enter_context(echoing(name))} for name in TRANSPORTS]
        wanted = {"outdir": "reports", "servers": servers, "cases": cases, "exclude-cases": LEFT_OUT}
        specification = Path(folder, "specification.json")
        specification.write_text(json.dumps(wanted | {"exclude-agent-cases": {}}))
        command = [client, "-m", "fuzzingclient", "-s", specification]
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, timeout=SECONDS, check=True)
        index: dict[str, dict[str, Any]] = json.loads(Path(folder, "reports", "index.json").read_text())
        return index


@contextmanager
def echoing(transport: str) -> Iterator[str]:
    """Run the endpoint of a transport in a process of its own; yield its WebSocket URL."""
    command = [sys.executable, "-m", "tests.conformance.echo", transport]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().replace("http://", "ws://") + "/ws"
            if process.poll() is not None:
                raise RuntimeError(f"{transport} ended with {process.returncode}")
        finally:
            process.kill()


def fuzzing_client() -> Path:
    """Return Autobahn's command, which is installed first where it is not there yet. Raises `NotHere`."""
    command = FOLDER / "bin" / "wstest"
    if not command.exists():
        python = old_python()
        with tempfile.TemporaryDirectory(prefix="virtualenv-") as tool:
            environment = os.environ | {"PYTHONPATH": tool}
            for step in (
                [sys.executable, "-m", "pip", "install", "--quiet", "--target", tool, VIRTUALENV],
                [sys.executable, "-m", "virtualenv", "--quiet", "--python", str(python), str(FOLDER)],
                [str(FOLDER / "bin" / "pip"), "install", "--quiet", SUITE],
            ):
                done = subprocess.run(
                    step, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
                )
                if done.returncode:
                    lines = done.stderr.strip().splitlines() or ["no reason is given"]
                    raise NotHere(f"Autobahn's client cannot be installed: {lines[-1]}")
    return command


def old_python() -> Path:
    """Return a Python 2.7, of pyenv or on the path. Raises `NotHere`."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [*versions.glob("2.7.*/bin/python2.7"), *([Path(path)] if (path := shutil.which("python2.7")) else [])]
    if not found:
        raise NotHere("there is no Python 2.7, which Autobahn's fuzzing client needs")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
