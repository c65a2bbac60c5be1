"""The modules of the page, joined into one: the same program, in one file."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from evanesce_transports.quart.joining import join_modules
from evanesce_transports.quart.pages import read_assets

MODULES = {
    "main.js": """\
// What it is.
import { a as one, two } from "./a.js";
import * as all from "./deep/b.js";
import made from "./c.js";
import {
  three,
} from "./deep/index.js";

/* A comment
   of two lines. */
export const seen = [one, two(), all.b, made.c, three, new URL("x", import.meta.url).pathname.slice(-2)];
export class Kept {}
globalThis.seen.push("main");
globalThis.lazy = () => import("./lazy.js");
""",
    "a.js": """\
globalThis.seen.push("a");
export const a = "a";
export function two() {
  return "two"; // not a line
}
""",
    "c.js": 'globalThis.seen.push("c");\nexport default { c: "c" };\n',
    "deep/b.js": """\
import { a } from "../a.js";
globalThis.seen.push("b");
const b = `${a}b`;
export { b, b as again };
""",
    "deep/index.js": 'export { b as three } from "./b.js";\n',
    "lazy.js": """\
import { a } from "./a.js";
import { Kept } from "./main.js";
import { own } from "./own.js";
export async function lazy() {
  const { other, again } = await import("./other.js");
  return [a, new Kept() instanceof Kept, own, other, again];
}
""",
    "other.js": 'import { own } from "./own.js";\nexport const other = `other ${own}`;\nexport { own as again };\n',
    "own.js": 'export const own = "own";\n',
}
PROGRAM = """
globalThis.seen = [];
const main = await import(process.argv[2]);
const all = main.seen ?? main.$main.seen;
const { lazy } = await globalThis.lazy();
console.log(JSON.stringify([all, await lazy(), globalThis.seen]));
"""


def run(folder: Path, modules: dict[str, str]) -> object:
    """Return what the program says of these modules."""
    node = shutil.which("node")
    assert node is not None, "the tests of the page need Node"
    for name, text in modules.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.mjs").write_text(PROGRAM)
    command = [node, str(folder / "run.mjs"), f"{folder}/main.js"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_joined_modules_do_the_same(tmp_path: Path) -> None:
    joined = join_modules(MODULES, "main.js")
    assert set(joined) == {"main.js", "lazy.js", "other.js"}, "what a late module imports is with it"
    assert "What it is" not in joined["main.js"]
    assert "of two lines" not in joined["main.js"]
    expected = [["a", "two", "ab", "c", "ab", "/x"], ["a", True, "own", "other own", "own"], ["a", "b", "c", "main"]]
    assert run(tmp_path / "joined", joined) == expected
    assert run(tmp_path / "plain", MODULES) == expected


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ('import "./b.js";', 'a form that cannot be joined: import "./b.js";'),
        ('import x, { y } from "./b.js";', "a form that cannot be joined"),
        ("export let x = 1;", "a form that cannot be joined: export let x = 1;"),
        ('export * from "./b.js";', "a form that cannot be joined"),
        ('import { x } from "node:process";', "a form that cannot be joined"),
        ('import { x } from "./none.js";', "main.js imports none.js, which does not exist"),
        ('import { x } from "./b.js";', "main.js imports itself, by way of b.js"),
        ('import { x } from "./c/d.js";', "c/d.js is in a folder"),
        ('import { x } from "./c/e.js";', "c/e.js is in a folder"),
    ],
)
def test_what_is_not_understood_is_an_error(module: str, told: str) -> None:
    others = {
        "b.js": 'import { y } from "./main.js";\n',
        "c/d.js": 'export const x = import("./y.js");\n',
        "c/e.js": "export const x = import.meta.url;\n",
    }
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        join_modules({"main.js": f"{module}\n", **others}, "main.js")


def test_the_page_is_joined_into_two_files_without_comments() -> None:
    files = read_assets("").files
    assert not [name for name in files if name.startswith("client/")]
    for one, other, name in (("chat.js", "room-view.js", "App"), ("room-view.js", "chat.js", "Timeline")):
        text = files[one].decode()
        assert "@param" not in text
        assert text.count(f"class {name} ") == 1
        assert f"class {name} ".encode() not in files[other]
    assert b"MIT License" in files["vendor/lean-qr.js"]
