"""Carry out the steps of the Dockerfile in bare Debian roots, without Docker, and run the image that results.

Usage, as root: `image.py BASE FOLDER`. BASE is a root made by debootstrap with python3 and python3-venv, in the place
of the image of Python. In FOLDER the stages are built; the last one is run as the image says, with its file system
read-only and no network but its own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

CHECKOUT = Path.cwd()
DOCKERFILE = CHECKOUT / "docs/examples/containers/Dockerfile"
SECONDS = 120.0
LEFT_OUT = shutil.ignore_patterns("node_modules", "__pycache__")
# In the place of the other containers: all in one process, with a Valkey of its own.
ALONE = {
    "EVANESCE_SECRET": "s" * 32,
    "EVANESCE_PUBLIC_URL": "http://127.0.0.1:8000",
    "EVANESCE__PLUGINS__ENABLED": '["guest", "sqlite", "quart"]',
    "EVANESCE__REDIS__URL": "embedded",
    "EVANESCE__SERVER__LAME_DUCK_SECONDS": "0",
}


@dataclass
class Stage:
    root: Path
    folder: str = "/"
    user: str = "0:0"
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin"})
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def build(base: Path, folder: Path) -> Stage:
    """Carry out all steps, and return the last stage. An instruction that is not known here is an error."""
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    entry: list[str] = []
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(str.strip, text.splitlines()):
        instruction, _, rest = line.strip().partition(" ")
        print(f"{instruction} {rest[:100]}", flush=True)
        match instruction:
            case "ARG" | "EXPOSE":
                pass
            case "FROM":
                name = rest.partition(" AS ")[2] or "last"
                stage = stages[name] = Stage(folder / name)
                subprocess.run(["cp", "-a", base, stage.root], check=True)
            case "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY":
                copy(stage, stages, shlex.split(rest))
            case "RUN":
                outside = {name: value for name, value in os.environ.items() if name in ("PIP_CERT", "PIP_INDEX_URL")}
                run(stage, ["/bin/sh", "-c", rest], outside)
            case "ENV":
                for pair in shlex.split(rest):
                    name, _, value = pair.partition("=")
                    stage.environment[name] = value.replace("$PATH", stage.environment["PATH"])
            case "USER":
                stage.user = rest
            case "HEALTHCHECK":
                stage.health = json.loads(rest.partition(" CMD ")[2])
            case "ENTRYPOINT":
                entry = json.loads(rest)
            case "CMD":
                stage.command = entry + json.loads(rest)
            case _:
                raise SystemExit(f"no step of this kind is known here: {instruction}")
    return stage


def copy(stage: Stage, stages: dict[str, Stage], arguments: list[str]) -> None:
    source = CHECKOUT
    if arguments[0].startswith("--from="):
        source = stages[arguments.pop(0).removeprefix("--from=")].root
    *names, target = arguments
    into = stage.root / os.path.join(stage.folder, target).lstrip("/")
    for name in names:
        found = [Path(one) for one in glob(str(source / name.lstrip("/")))]
        assert found, f"{name} is not there"
        for one in found:
            if one.is_dir():
                shutil.copytree(one, into, symlinks=True, dirs_exist_ok=True, ignore=LEFT_OUT)
            else:
                inside = into / one.name if target.endswith("/") else into
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(one, inside)


def run(stage: Stage, command: list[str], outside: dict[str, str]) -> None:
    shutil.copy("/etc/resolv.conf", stage.root / "etc/resolv.conf")
    if "PIP_CERT" in outside:
        certificates = stage.root / outside["PIP_CERT"].lstrip("/")
        certificates.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(outside["PIP_CERT"], certificates)
    inside = ["chroot", stage.root, "/usr/bin/env", "-i", "-C", stage.folder]
    variables = [f"{name}={value}" for name, value in (stage.environment | outside).items()]
    subprocess.run([*inside, *variables, *command], check=True, timeout=900)


def serve(stage: Stage) -> None:
    """Run the image: read-only, as its user, with the health check that it has. Needs namespaces of its own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", stage.root, stage.root], check=True)
    state = f"uid={stage.user.split(':')[0]},gid={stage.user.split(':')[1]},mode=0700"
    for place, options in (("tmp", "mode=1777"), (stage.folder.lstrip("/"), state)):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", stage.root / place], check=True)
    subprocess.run(["mount", "--bind", "/dev", stage.root / "dev"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", stage.root / "proc"], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", stage.root], check=True)
    variables = [f"{name}={value}" for name, value in (stage.environment | ALONE).items()]
    inside = ["chroot", f"--userspec={stage.user}", "--groups=", stage.root, "/usr/bin/env", "-i", "-C", stage.folder]
    inside += variables
    refused = subprocess.run([*inside, "touch", "/opt/evanesce/here"], capture_output=True, check=False)
    assert b"Read-only file system" in refused.stderr, refused
    server = subprocess.Popen([*inside, *stage.command])
    try:
        deadline = time.monotonic() + SECONDS
        while subprocess.run([*inside, *stage.health], capture_output=True, check=False).returncode:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the health check fails"
            time.sleep(0.5)
        status = (stage.root / f"proc/{server.pid}/status").read_text()
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE), status
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 0
    finally:
        server.kill()
    failed = subprocess.run([*inside, *stage.health], capture_output=True, check=False)
    assert failed.returncode, "the health check passes without a server"
    print(f"the image serves and stops; {stage.root.name} has {size(stage.root / 'opt')} MiB in /opt")


def size(folder: Path) -> int:
    done = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def main() -> None:
    base, folder = map(Path, sys.argv[1:3])
    if len(sys.argv) > 3:
        serve(Stage(**json.loads(sys.argv[3]) | {"root": folder / "last"}))
        return
    stage = build(base, folder)
    described = json.dumps({name: value for name, value in vars(stage).items() if name != "root"})
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    subprocess.run([*command, sys.executable, __file__, base, folder, described], check=True)


main()
