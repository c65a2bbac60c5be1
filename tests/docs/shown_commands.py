"""The commands that the pages show, and where those are run that `test_commands_shown` does not run as they are."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("docker", "echo", "evanesce", "kubectl", "python")

_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(rf"^ {{4,}}((?:{'|'.join(PROGRAMS)}) .*)$", re.MULTILINE)


def shown(page: Path) -> list[str]:
    """Return the commands of a page: the lines of its blocks of `sh`, and indented lines that begin with a program.

    A line that ends with a backslash is one with the next. A line with optional parts in brackets is no command.
    """
    text = page.read_text()
    blocks = [textwrap.dedent(block) for _, kind, block in _FENCED.findall(text) if kind == "sh"]
    lines = [line for block in blocks for line in re.sub(r" *\\\n *", " ", block).splitlines() if line.strip()]
    indented = _INDENTED.findall(_FENCED.sub("", text))
    return lines + [line for line in indented if " [--" not in line]


ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "python -m tests.benchmarks --output benchmark": ("benchmarks/test_benchmarks.py", '"--tiny", "--evanesce-alone"'),
    "python -m tests.benchmarks.scaling --output benchmark": (
        "benchmarks/scaling/test_scaling.py",
        'words, str(tmp_path), "--tiny"',
    ),
    "python -m tests.chaos --only attacks": ("chaos/test_attack_impact.py", "measure_stage("),
    "python -m tests.chaos --only expiry": ("chaos/test_chaos.py", '"expiry"'),
    "python -m tests.chaos --only expiry_versions": ("chaos/test_chaos.py", '"expiry_versions"'),
    "python -m tests.chaos --only memory": ("chaos/test_chaos.py", '"memory"'),
    "python -m tests.chaos --only memory_flat": ("chaos/test_memory_flat.py", "tests.chaos --only memory_flat"),
    "python -m tests.chaos --only operator": ("chaos/test_operator_acts.py", "measure_acts(SHORT)"),
    "python -m tests.chaos --only outages": ("chaos/test_outages.py", "def test_a_short_outage_breaks_no_promise"),
    "python -m tests.chaos.audits": ("chaos/test_audits.py", "python -m tests.chaos.audits"),
    "python -m tests.chaos.restarts": ("chaos/test_scripts.py", '"restarts"'),
    "python -m tests.fuzz": ("fuzz/test_protocol_machine.py", "python -m tests.fuzz"),
    "python -m tests.schema_fuzz": ("schema_fuzz/test_websocket.py", "python -m tests.schema_fuzz"),
    "python -m tests.simulation": ("simulation/test_simulation.py", "python -m tests.simulation"),
    'echo "whsec_$(openssl rand -base64 32)" > webhooks.secret': ("docs/test_webhooks_page.py", "^    (echo .*)$"),
    "evanesce audit --faults": ("e2e/test_audit.py", '"--faults"'),
    "evanesce chat --new --encrypted --invite-only --ttl 30 https://chat.example --name Ana": (
        "e2e/test_encrypted_rooms.py",
        '"--new", "--encrypted", "--ttl", "30", "--invite-only"',
    ),
    "evanesce chat 'https://chat.example/r/ROOMID#k=KEY&invite=SECRET' --name Ben": (
        "e2e/test_encrypted_rooms.py",
        "Terminal(link, ",
    ),
    "evanesce chat - --name Ben": ("e2e/test_terminal.py", 'Terminal("-", "Ben")'),
    "evanesce chat http://127.0.0.1:8000/r/ROOMID --name Ana": (
        "e2e/test_terminal.py",
        '"chat", link, "--name", "Ana"',
    ),
    "evanesce db copy sqlite turso": ("core/cli/test_database_command.py", '"db", "copy", "sqlite", "turso"'),
}
"""Commands that another test runs, in a shorter form where they take long: its file, and words of it."""

SHORT: Mapping[str, tuple[str, str]] = {
    'python -m tests.benchmarks --only "300 small rooms" --against encrypted': (
        '--tiny --only "3 small rooms"',
        "Evanesce, encrypted at rest",
    ),
    "python -m tests.benchmarks.footprint": ("--people 200 --rooms 20 --messages 100", "| "),
    "python -m tests.page.sheet --output build/sheet": ('--output . --state "first visit" --look "320 en"', ""),
    "python -m tests.withstand": ("--quick --only 22", "What Evanesce withstands"),
}
"""Commands that take long, what makes them short, and what they print then."""

COMPARISON = (
    'python -m tests.benchmarks --only "1000 small rooms" --only "room of 200" --only "coming back"'
    ' --against "Nchan, Redis" --against Socket.IO --against NATS --against "own limit" --output benchmark'
)

NOT_RUN: Mapping[str, str] = {
    COMPARISON: "it downloads and builds other servers; `test_peers` runs those that are there",
    "docker build --file docs/examples/containers/Dockerfile --tag evanesce .": (
        "it downloads an image; `.ci/deployment` carries out the steps of the Dockerfile without Docker"
    ),
    "docker compose --file docs/examples/containers/compose.yaml up --build --detach": (
        "it downloads images; `test_container_files` reads the file"
    ),
    "kubectl apply --filename docs/examples/kubernetes": (
        "it needs a cluster; `.ci/deployment` checks the manifests against their schemas"
    ),
}
"""Commands that cannot run without the network or a cluster, each with the reason."""
