"""The package @evanesce/client: what is in it, and that it can be used from an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.test_javascript import CHECKS, PAGE, ROOT, missing
from tests.docs.test_tutorials import PATIENCE, blocks, running, say, serving, wait_for

CLIENT = PAGE / "client"
REFERENCE = (ROOT / "docs/reference/javascript-client.md").read_text()
PACKAGE = json.loads((CLIENT / "package.json").read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with nothing but the packed client in its node_modules."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("there is no Node with npm on this machine")
    folder = tmp_path_factory.mktemp("application")
    packed = tmp_path_factory.mktemp("packed")
    subprocess.run(["npm", "pack", "--silent", CLIENT], cwd=packed, check=True, timeout=120, capture_output=True)
    [tarball] = packed.iterdir()
    assert tarball.name == f"evanesce-client-{PACKAGE['version']}.tgz"
    subprocess.run(["tar", "-xzf", tarball.name], cwd=packed, check=True, timeout=60)
    (folder / "node_modules/@evanesce").mkdir(parents=True)
    (packed / "package").rename(folder / "node_modules/@evanesce/client")
    return folder


def run(installed: Path, code: str) -> str:
    command = ["node", "--input-type=module", "--eval", code]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_package_holds_the_modules_their_types_and_no_more(installed: Path) -> None:
    package = installed / "node_modules/@evanesce/client"
    files = {file.name for file in package.iterdir()}
    modules = {file.name for file in CLIENT.glob("*.js")}
    assert files == modules | {"index.d.ts", "protocol.d.ts", "package.json", "README.md"}
    for name in modules:
        assert (package / name).read_bytes() == (CLIENT / name).read_bytes()


def test_the_package_needs_no_other_and_has_the_version_of_the_server() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (PACKAGE["version"], PACKAGE["license"]) == (project["version"], project["license"])
    assert not {name for name in PACKAGE if name.endswith("ependencies")}


def test_the_package_can_be_imported_from_an_empty_folder(installed: Path) -> None:
    exported = run(installed, 'console.log(JSON.stringify(Object.keys(await import("@evanesce/client")).sort()))')
    assert json.loads(exported) == [
        *("Client", "KeyMissing", "NotSent", "OutcomeUnknown", "Refused", "RoomCipher"),
        *("longestText", "newMessageId", "parseRoom", "secretsIn"),
    ]


def test_a_program_in_typescript_is_checked_against_the_package(installed: Path) -> None:
    compiler = CHECKS / "node_modules/.bin/tsc"
    if not compiler.exists():
        missing("`just js` has not installed TypeScript")
    (installed / "program.mts").write_text(
        'import { Client, type RoomEvent } from "@evanesce/client";\n'
        'const client = new Client("https://chat.example.org");\n'
        'client.connect({ token: "a token" });\n'
        "const room = client.join(location.href);\n"
        "for await (const event of room) {\n"
        '  if (event.type === "message") console.log(event.content?.length, event.expiresAt);\n'
        '  else if (event.type === "missed") console.log(event.count ?? "unknown");\n'
        "  // @ts-expect-error there is no such event\n"
        '  else if (event.type === "mesage") console.log(event satisfies RoomEvent);\n'
        "}\n"
        "export {};\n"
    )
    [shown] = re.findall(r"^```js\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (installed / "shown.mts").write_text(shown)
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext"]
    done = subprocess.run(
        [compiler, *options, "--lib", "es2022,dom,dom.iterable", "program.mts", "shown.mts"],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_the_ten_minutes_of_the_reference(tmp_path: Path) -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("there is no Node with npm on this machine")
    install, start = blocks(REFERENCE, "sh")
    [program] = blocks(REFERENCE, "js")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "package.json").write_text("{}")  # else npm takes the folder above
    for command in install.splitlines():
        subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)
    (tmp_path / "greeter.mjs").write_text(program)
    with ExitStack() as stack:
        url = stack.enter_context(serving(tmp_path, "evanesce", "serve"))
        words = start.replace("http://127.0.0.1:8000", url).split()
        greeter = stack.enter_context(subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True))
        killer = threading.Timer(PATIENCE, greeter.kill)
        stack.callback(killer.cancel)
        killer.start()
        assert greeter.stdout is not None
        link = greeter.stdout.readline().strip()
        chat = stack.enter_context(running(tmp_path, "evanesce", "chat", link, "--name", "Ana"))
        wait_for(chat.stdout, "* you are in the room")
        say(chat, "hello")
        wait_for(chat.stdout, "Hello, Ana")
        say(chat, "bye")
        wait_for(chat.stdout, "* Greeter left")
        printed = greeter.stdout.read().splitlines()
        assert greeter.wait(PATIENCE) == 0
    assert [line for line in printed if "says" in line] == ["Ana says hello", "Ana says bye"]


def test_the_reference_describes_what_the_client_exports_and_its_events() -> None:
    types = (CLIENT / "index.d.ts").read_text()
    exported = re.findall(r"^export (?:class|function) (\w+)", types, re.MULTILINE)
    states = re.findall(r'\{ state: "(\w+)"', types)
    own = re.findall(r'^  type: "(\w+)";', types, re.MULTILINE)
    passed_on = re.findall(r'"(\w+)"', (CLIENT / "room.js").read_text().partition("PASSED_ON")[2].partition("]);")[0])
    assert min(len(names) for names in (exported, states, own, passed_on)) >= 4
    for name in (*exported, *states, *own, *passed_on):
        assert re.search(rf"`(new )?{name}\b", REFERENCE), name
