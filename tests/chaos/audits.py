"""Run `evanesce audit` against three deployments, and print its tables.

They are the default one, one with an outside Valkey that has a replica, and a hardened one, whose content is encrypted.
`python -m tests.chaos.audits [--short]` ends with 1 if an audit fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from evanesce.process import with_memory_filled
from tests.core.store.replicated import REPLICATED
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.redis_versions import server_binary

SECONDS = 300.0
"""How long an audit may take."""

TTL, SHORT_TTL = 10, 2
"""The TTL of messages, in seconds."""

CONFIGURATION = """
server.secret = "{secret}"
messages.ttl = {ttl}
plugins.enabled = ["guest", "sqlite", "quart"]
plugins.quart.bind = "127.0.0.1:{port}"
"""


@dataclass(frozen=True)
class Deployment:
    """A deployment: `settings` are lines of its configuration, `options` those of the audit.

    With `outside`, it has a Valkey of its own with a replica.
    """

    title: str
    settings: Sequence[str] = ()
    options: Sequence[str] = ()
    outside: bool = False

    @property
    def command(self) -> str:
        """The command that audits it, as people type it."""
        return " ".join(["evanesce audit", *self.options])


DEPLOYMENTS = (
    Deployment("The default deployment: the embedded Valkey"),
    Deployment("An outside Valkey with a replica", outside=True),
    Deployment(
        "A hardened deployment: content is encrypted at rest", ["messages.encrypt_at_rest = true"], ["--strict"]
    ),
)


def audited(deployment: Deployment, ttl: int) -> tuple[int, str]:
    """Run a deployment in a folder of its own, audit it, and return the exit code and the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audit-")))
        settings = [CONFIGURATION.format(secret=os.urandom(24).hex(), ttl=ttl, port=free_port()), *deployment.settings]
        if deployment.outside:
            settings.append(f'redis.url = "redis://127.0.0.1:{stack.enter_context(_replicated(folder))}"')
        working = folder / "working"
        # What other programs do in their temporary folder is not of interest here, and may be much.
        temporary = folder / "tmp"
        for one in (working, temporary):
            one.mkdir()
        (working / "config.toml").write_text("\n".join(settings))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVANESCE")}
        environment["TMPDIR"] = str(temporary)
        log = folder / "server.log"
        server = [sys.executable, "-m", "evanesce", "serve"]
        stack.enter_context(_running(server, working, log, environment))
        _wait(lambda: b"listening on " in log.read_bytes())
        done = subprocess.run(
            [sys.executable, "-m", *deployment.command.split()],
            cwd=working,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout.strip()


@contextmanager
def _replicated(folder: Path) -> Iterator[int]:
    """Run a Valkey and its replica, which write nothing to disk and overwrite what they free; yield the port."""
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        clients: list[redis.Redis] = []
        for port, following in zip(ports, ([], ["--replicaof", f"127.0.0.1 {ports[0]}"]), strict=True):
            data = folder / f"valkey-{port}"
            data.mkdir()
            command = [str(server_binary()), "--port", str(port), *REPLICATED, *following]
            stack.enter_context(_running(command, data, data / "log", with_memory_filled()))
            clients.append(stack.enter_context(redis.Redis(port=port, socket_timeout=PATIENCE)))
        _wait(lambda: _follows(clients[1]))
        yield ports[0]


def _follows(replica: redis.Redis) -> bool:
    try:
        return bool(replica.info("replication").get("master_link_status") == "up")
    except redis.RedisError:
        return False


@contextmanager
def _running(command: Sequence[str], folder: Path, log: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a program, whose output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it does not start"
        time.sleep(0.02)  # there is no event for what another process does


def main() -> int:
    """Audit each deployment, and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.audits", description=__doc__)
    parser.add_argument("--short", action="store_true", help="with messages of two seconds")
    options = parser.parse_args()
    codes: list[int] = []
    for deployment in DEPLOYMENTS:
        code, table = audited(deployment, SHORT_TTL if options.short else TTL)
        codes.append(code)
        print(f"### {deployment.title}\n\n```text\n$ {deployment.command}\n{table}\n```\n", flush=True)
    print(f"exit codes: {', '.join(map(str, codes))}")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
