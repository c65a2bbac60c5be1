"""The checks of the JavaScript cover all of it, and their declarations are those of the server and of the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from evanesce.accounts import erasure
from evanesce.accounts import service as accounts
from evanesce.admin import service as admin
from evanesce.errors import INTERNAL_REASON
from evanesce.maintenance import reconciliation
from evanesce.protocol import commands, events
from evanesce.sessions import task
from tests.benchmarks.peers import NPM

ROOT = Path(__file__).parents[2]
CHECKS = ROOT / "tests/javascript"
PAGE = ROOT / "transports/evanesce_transports/quart/static"
SIGN_INS = {folder.parent.name: folder for folder in (ROOT / "plugins/evanesce_plugins").glob("*/static")}
WORLD_ID = SIGN_INS["worldid"]
PROTOCOL = (PAGE / "client/protocol.d.ts").read_text()

# Struct or interface -> {field on the wire: whether it may be left out}.
Fields = dict[str, dict[str, bool]]

TAGS = {
    "button": "HTMLButtonElement",
    "dialog": "HTMLDialogElement",
    "form": "HTMLFormElement",
    "input": "HTMLInputElement",
    "select": "HTMLSelectElement",
    "textarea": "HTMLTextAreaElement",
}


def declared() -> Fields:
    """Return what protocol.d.ts declares of events, replies, and the objects in them."""
    found: Fields = {}
    for name, base, body in re.findall(r"^  interface (\w+)(?: extends (\w+))? \{\n(.*?)^  \}", PROTOCOL, re.M | re.S):
        own = {field: bool(optional) for field, optional in re.findall(r"^    (\w+)(\??):", body, re.M)}
        found[name] = found.get(base, {}) | own
    return found


def structs() -> dict[str, type[msgspec.Struct]]:
    """Return the structs of the server's events and replies by the names of their declarations."""
    found = {
        name: one for name, one in vars(events).items() if isinstance(one, type) and issubclass(one, msgspec.Struct)
    }
    return found | {"ErrorReply": found["Error"]}


def of_the_server(struct: type[msgspec.Struct]) -> dict[str, bool]:
    """Return the fields of a struct as they are on the wire."""
    tag = struct.__struct_config__.tag
    fields = {field.encode_name: not field.required for field in msgspec.structs.fields(struct)}
    return fields if tag is None else fields | {"type": False}


EVENTS = sorted(set(declared()) & set(structs()) - {"Reply"})


class Ids(HTMLParser):
    """Collect the elements of a page that have an id: {id: tag}."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value is not None:
                self.found[value] = tag


def test_the_declarations_hold_the_events_of_the_protocol() -> None:
    tags = set(re.findall(r'^    type: "(\w+)";$', PROTOCOL, re.M))
    assert {"message", "joined", "welcome", "gap", "goodbye", "error"} <= tags
    assert len(EVENTS) > 20


@pytest.mark.parametrize("name", EVENTS)
def test_a_declared_event_or_reply_has_the_fields_that_the_server_sends(name: str) -> None:
    sent = of_the_server(structs()[name])
    for field, optional in declared()[name].items():
        assert field in sent, f"the server sends no {field} in {name}"
        assert optional or not sent[field], f"the server may leave {field} of {name} out"


@pytest.mark.parametrize("name", EVENTS)
def test_a_declared_event_or_reply_has_the_type_that_the_server_sends(name: str) -> None:
    tag = structs()[name].__struct_config__.tag
    body = PROTOCOL.partition(f"interface {name} ")[2].partition("\n  }")[0]
    assert (f'type: "{tag}";' in body) is (tag is not None)


def test_the_declared_commands_have_the_fields_that_the_server_takes() -> None:
    body = re.search(r"^  interface Commands \{\n(.*?)^  \}", PROTOCOL, re.M | re.S)
    assert body is not None
    declarations = re.findall(r"^    (\w+): \{(.*)\};$", body[1], re.M)
    assert {"hello", "join", "send"} <= {name for name, _ in declarations}
    taken = {one.__struct_config__.tag: one for one in commands.AnyCommand.__args__}
    for name, fields in declarations:
        given = {field: bool(optional) for field, optional in re.findall(r"(\w+)(\??):", fields)}
        known = of_the_server(taken[name])
        assert set(given) <= set(known), name
        needed = {field for field, optional in known.items() if not optional} - {"type"}
        assert needed <= {field for field, optional in given.items() if not optional}, name


def test_the_elements_that_the_page_looks_up_are_in_it() -> None:
    page = Ids()
    page.feed((PAGE / "index.html").read_text())
    found = re.findall(r'\bfind\("([\w-]+)", (HTML\w+)\)', (PAGE / "elements.js").read_text())
    assert len(found) > 40
    assert len(dict(found)) == len(found), "each element is looked up once"
    for name, kind in found:
        assert name in page.found, f"the page has no element {name}"
        assert kind == TAGS.get(page.found[name], "HTMLElement"), name


def test_every_file_of_javascript_is_checked() -> None:
    listed = subprocess.run(["git", "ls-files", "*.js", "*.mjs", "*.cjs"], cwd=ROOT, capture_output=True, check=False)
    files = [ROOT / name for name in listed.stdout.decode().split()]
    if not files:
        pytest.skip("this is no checkout: git lists no files")
    patterns = [
        str((CHECKS / pattern).resolve()).replace("**/", "")
        for project in ("tsconfig.json", "tsconfig.node.json")
        for pattern in json.loads((CHECKS / project).read_text())["include"]
    ]
    for file in files:
        assert any(fnmatch(str(file), pattern) for pattern in patterns), f"no project of TypeScript includes {file}"
        assert file.suffix == ".js", f"`just js` gives ESLint and Prettier files that end in .js, and not {file}"


@pytest.mark.parametrize("name", sorted(file.name for file in (CHECKS / "unit").glob("*.test.js")))
def test_a_unit_test_passes(tmp_path: Path, name: str) -> None:
    node = shutil.which("node")
    if node is None:
        missing("there is no Node on this machine")
    # Node needs a package.json to read the files as modules. The folders that are served have none.
    shutil.copytree(PAGE, tmp_path / "page/static")
    for plugin, folder in SIGN_INS.items():
        shutil.copytree(folder, tmp_path / plugin / "static")
    shutil.copytree(CHECKS / "unit", tmp_path / "unit")
    (tmp_path / "data").mkdir()
    vectors = (ROOT / "tests/data/room_encryption.json").read_text()
    (tmp_path / "data/room-encryption.js").write_text(f"export const VECTORS = {vectors};\n")
    imports = {f"#{part}/*": f"./{part}/static/*" for part in ("page", *SIGN_INS)} | {"#data/*": "./data/*"}
    (tmp_path / "package.json").write_text(json.dumps({"type": "module", "imports": imports}))
    done = subprocess.run(
        [node, "--test", f"unit/{name}"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


SENTENCE = re.compile(r"""["'`]([A-Z][^"'`]* [a-z][^"'`]*)["'`]""")


@pytest.mark.parametrize("name", sorted(SIGN_INS))
def test_the_texts_of_a_sign_in_are_where_its_languages_are(name: str) -> None:
    """The unit tests see that these are complete. What the log gets, and what only developers see, is in English."""
    for file in SIGN_INS[name].glob("*.js"):
        code = file.read_text()
        if "TEXTS = Object.freeze({" in code:
            continue
        lines = [line for line in code.splitlines() if "console." not in line and "new Error(" not in line]
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", "\n".join(lines), flags=re.S)
        assert SENTENCE.findall(code) == [], file.name


def test_the_page_knows_each_reason_of_the_server() -> None:
    sessions = "".join(file.read_text() for file in (ROOT / "core/evanesce/sessions").glob("*.py"))
    given = set(re.findall(r'\.end\(CloseCode\.\w+, "([^"]+)"\)|reason = "([^"]+)"', sessions))
    reasons = {one or other for one, other in given} | {
        *(accounts.CLOSED, erasure.FORGOTTEN, reconciliation.CLOSED, admin.CLOSED, INTERNAL_REASON),
        *(task.GOING_AWAY, task.RESTARTING, *re.findall(r'TOO_SLOW = "([^"]+)"', sessions)),
    }
    assert len(reasons) > 12
    known = (PAGE / "reasons.js").read_text()
    assert [reason for reason in sorted(reasons) if f'"{reason}": ' not in known] == []


FORBIDDEN = {
    "export const map = new Map();": "State belongs to an object",
    "let state = 1; export function count() { return state++; }": "State belongs to an object",
    "export class Class { static state = 1; }": "State belongs to an object",
    "export const list = [1];": "Freeze constants",
    "export const value = String(1);": "An import must not call anything",
    "export const call = () => 1;": "Declare functions",
    'addEventListener("online", () => {});': "Only an entry point does something",
    'export function find() { return document.getElementById("room"); }': "Only elements.js",
    'export function select() { return document.body.querySelector("#room"); }': "Only elements.js",
    'export function draw() { document.body.innerHTML = ""; }': "never as markup",
    'export function name(element) { element.id = "room"; }': "gives ids",
    "export default new Date();": "Only an entry point creates an object",
}


@pytest.fixture(scope="session")
def eslint() -> Path:
    """Return the program, installed by the command of `just js` if it is not there yet."""
    program = CHECKS / "node_modules/.bin/eslint"
    if not program.exists():
        if shutil.which("npm") is None:
            missing("there is no npm on this machine")
        command = ["npm", "ci", "--prefix", CHECKS, "--ignore-scripts", "--prefer-offline", "--silent"]
        subprocess.run(command, check=True, timeout=300)
    return program


@pytest.mark.parametrize("folder", [PAGE, WORLD_ID], ids=["page", "plugin"])
def test_the_rules_forbid_state_at_import_and_the_lookup_of_elements(eslint: Path, folder: Path) -> None:
    command = [eslint, "--config", CHECKS / "eslint.config.js", "--format", "json", "--stdin"]
    done = subprocess.run(
        [*command, "--stdin-filename", folder / "other.js"],
        cwd=ROOT,
        input="\n".join(FORBIDDEN),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    [report] = json.loads(done.stdout)
    found = [(one["line"], one["message"]) for one in report["messages"]]
    for line, (code, message) in enumerate(FORBIDDEN.items(), 1):
        assert any(place == line and message in text for place, text in found), code


def missing(why: str) -> NoReturn:
    """Skip the test, but fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}, and in CI this is not skipped")
    pytest.skip(why)


def test_the_packages_are_pinned_and_come_from_whatever_registry_npm_is_set_to() -> None:
    wanted = json.loads((CHECKS / "package.json").read_text())["devDependencies"]
    lock = json.loads((CHECKS / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock[f"node_modules/{name}"]["version"] == version
    for name, package in lock.items():
        assert "resolved" not in package, name
        assert name == "" or "integrity" in package, name
    assert {name: wanted[name] for name in NPM} == NPM
