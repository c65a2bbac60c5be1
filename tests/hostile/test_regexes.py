"""Every regular expression takes linear time for text that is made to slow it down. Add a row for a new one."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import costs

ROOT = Path(__file__).parents[2]
SOURCES = ("core", "plugins", "transports")
FUNCTIONS = frozenset({"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"})
ENDINGS = ("", "\x00", "\n")


@dataclass(frozen=True, slots=True)
class Row:
    """How a pattern is used, and the parts that text is made of which it half matches; `starts` stand before them."""

    use: str
    parts: Sequence[str]
    starts: Sequence[str] = field(default=("",))


UUID = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1"
HEXADECIMAL = Row("fullmatch", ["a", "0", "0x", "f0"], ["", "0x", "session_"])
ADDRESS = Row("search", ["a", "/", ".", " ", "http://", "?"], ["", "http://", "http://a/", "libsql://a", "file:"])

# A pattern with a name is found by it, any other by its text.
ROWS: dict[str, Row] = {
    "evanesce.protocol.codec._FIELD": Row("search", ["`", "`$", "`$.", "a", "`$a"], ["", "`$", "`$."]),
    "evanesce.protocol.codec._MISSING": Row(
        "search", ["missing required field `", "missing required field `a", "a", "`"], ["", "missing required field `"]
    ),
    "evanesce.protocol.fields._ADDRESS": Row("fullmatch", ["a", "a.", "é", ".", "@", "a-", "a@"], ["", "a@", "a@a."]),
    "evanesce.accounts.challenges._ID": Row("fullmatch", [UUID, "a", "a-"]),
    "evanesce.accounts.bans._SUBJECT": HEXADECIMAL,
    "evanesce.accounts.bans._UUID": Row("fullmatch", [UUID, "a", "a-"]),
    r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z": Row("search", [UUID, "a", "a-"]),
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z": Row("search", ["a", ".", "a.", "1", "-"]),
    r"^https?://[^/?#\s]+(/[^?#\s]*)?\Z": Row("search", ["a", "/", "?", " "], ["", "http://", "http://a/"]),
    "evanesce.logs.redaction._CANDIDATE": Row(
        "search", ["1", ".", ":", "f", " ", "g", "1.", "::", "1:", "f::"], ["", "g", " ", "::"]
    ),
    "evanesce.logs.redaction._IPV4": Row("search", ["1", ".", " ", "g", "1.", "111."], ["", "g", " "]),
    r"^(unix:[^\x00]+|[^\s/]+:[0-9]{1,5})\Z": Row("search", ["a", ":", "1", "a:1", "\x00"], ["", "unix:", "a:"]),
    "evanesce.client.links._ROOM": Row("fullmatch", [UUID, "a", "a-"]),
    "evanesce.store.cursor._TEXT": Row("fullmatch", ["a", "1", "1-", "-"], ["", "a-", "a-1-", "a-1-1-"]),
    "evanesce.webaddress._PARTS": Row("fullmatch", ADDRESS.parts, ADDRESS.starts),
    "evanesce.webaddress._LABEL": Row("fullmatch", ["a", "-", "."]),
    "evanesce.webaddress._ZONE": Row("fullmatch", ["a", "-", "%"]),
    "evanesce.webaddress._NUMERIC": Row("fullmatch", ["0", "0x", "a"], ["", "0x"]),
    "evanesce.config.public._PATH": Row("fullmatch", ["/", "a", "/a", "%"], ["", "/"]),
    "evanesce.plugins.contracts._HEADER_NAME": Row("fullmatch", ["a", "-", ":"]),
    "evanesce.plugins.contracts._HEADER_VALUE": Row("fullmatch", ["a", "\t", "\n"]),
    "evanesce.plugins.contracts._COMMAND": Row("fullmatch", ["a", "-", "a-", "A"]),
    "evanesce.plugins.components._PROVIDER": Row("fullmatch", ["a", ".", " "]),
    "evanesce.plugins.declarations._VERSION": Row("fullmatch", ["1", "0", ".", "1.", "x"]),
    "evanesce.plugins.contracts._ROUTE_PATH": Row("fullmatch", ["/", "a", "/a", "//", "%"], ["", "/"]),
    "evanesce.plugins.contracts._MODULE_PATH": Row("fullmatch", ["/", "a", "/a", "%"], ["", "/"]),
    "evanesce_transports.quart.joining._COMMENT": Row("search", [" ", "/", "*", "\n", "/*", "// a"], ["", "/*", " "]),
    "evanesce_transports.quart.joining._IMPORT": Row(
        "search", ["a", " ", ",", "\n", '"', "import {"], ["", "import {", "import * as a", 'import {a} from "./']
    ),
    "evanesce_transports.quart.joining._REEXPORT": Row(
        "search", ["a", " ", "}", '"', "\n"], ["", "export {", 'export {} from ".']
    ),
    "evanesce_transports.quart.joining._LIST": Row("search", ["a", " ", ",", "}", "\n"], ["", "export {"]),
    "evanesce_transports.quart.joining._DECLARATION": Row(
        "search", ["a", " ", "const ", "*"], ["", "export ", "export const "]
    ),
    "evanesce_transports.quart.joining._DEFAULT": Row("search", ["a", " ", "class"], ["", "export default "]),
    "evanesce_transports.quart.joining._LEFT": Row(
        "search", ["a", " ", "(", "import", "\n"], ["", "import", "import "]
    ),
    "evanesce_transports.quart.joining._LATE": Row("search", ["a", "-", ".js", '")'], ["", 'import("./']),
    "evanesce_transports.quart.joining._PLACE": Row("search", ["a", " ", "(", ".meta"], ["", "import", "import "]),
    "evanesce_transports.quart.pages._STYLE_LINK": Row(
        "search", [" ", "a", ".css"], ["", '<link rel="stylesheet" href="/static/']
    ),
    r"\W": Row("search", ["a", "/", "é"]),
    "evanesce_plugins.worldid.rp_signature._KEY": HEXADECIMAL,
    "evanesce_plugins.worldid.rp_signature._SIGNATURE": HEXADECIMAL,
    "evanesce.plugins.contracts._SIGN_IN_ID": Row("fullmatch", ["a", "-", "0", "a-"], ["", UUID[:8] + "-"]),
    "evanesce_plugins.passkey.codes._ACCOUNT": Row("fullmatch", ["0", "Z", "0Z", "I"]),
    "evanesce_plugins.passkey.codes._WHOLE": Row("fullmatch", ["0", "Z", "0Z", "I"]),
    "evanesce_plugins.passkey.codes._SEPARATORS": Row("sub", [" ", "-", "a-", "\u2010a"]),
    "evanesce_plugins.worldid.account_code._CODE": Row("fullmatch", ["0", "Z", "0Z"]),
    "evanesce_plugins.worldid.account_code._SEPARATORS": Row("sub", [" ", "-", "a-", "\u2010a"]),
    "evanesce_plugins.worldid.simulator.proofs._SESSION": HEXADECIMAL,
    "evanesce_plugins.worldid.simulator.idkit._NUMBER": HEXADECIMAL,
    "evanesce_plugins.worldid.portal._CODE": Row("fullmatch", ["a", "_", "a_"]),
    "evanesce_plugins.worldid.encoding._NUMBER": HEXADECIMAL,
    "evanesce_plugins.worldid.encoding._BYTES": HEXADECIMAL,
    "evanesce_transports.response._START": Row(
        "match", ["a", " ", "a ", "/", " /", "?", "http://"], ["", "GET ", "GET /", "GET http://", "GET http://a/"]
    ),
    "evanesce_transports.room_hint._ROOM_ID": Row("fullmatch", [UUID, "a", "a-"]),
    "evanesce_transports.request._INVALID": Row("search", ["a", "\r", "\r\n", "\t"]),
    "evanesce_transports.request._FOLDED": Row("search", ["\n", "\n\n ", "a", " "]),
    "evanesce_transports.request._REQUEST_LINE": Row(
        "match", ["a", " ", "/", " /", " HTTP/1.1\r", "HTTP/1.1"], ["", "GET ", "GET / HTTP/"]
    ),
    "evanesce_transports.request._ABSOLUTE": Row(
        "fullmatch", ["a", "/", "?", "#", "http://"], ["", "http://", "https://a/"]
    ),
    "evanesce_transports.request._HOST": Row("fullmatch", ["a", "a.", "a" * 63 + ".", ":", "-", "."], ["", "[", "a:"]),
    # Of transcripts, the configuration, and of what plugins give: nobody outside writes these.
    "evanesce.conformance.matching._VARIABLE": Row("match", ["a", "$", "$a"], ["", "$"]),
    "evanesce.conformance.matching._TIME": Row("match", ["1", "a", "+", ".", "1.", "+1"], ["", "$a", "+1", "+1."]),
    r"^\$\w+\Z": Row("search", ["a", "$", "$a"], ["", "$"]),
    r"^[a-z0-9_]{1,64}\Z": Row("search", ["a", "_", "A"]),
    "Object missing required field `(.+)`": Row("fullmatch", ["`", "a"], ["", "Object missing required field `"]),
    "Invalid (enum )?value": Row("match", ["a", "Invalid "], ["", "Invalid "]),
    "`([a-z |]+)`": Row("sub", ["`", "a", "`a", " |"], ["", "`"]),
    r"a list of length >= (\d+)": Row("sub", ["a list of length >= ", "1"], ["", "a list of length >= "]),
    r"a list of length <= (\d+)": Row("sub", ["a list of length <= ", "1"], ["", "a list of length <= "]),
    r"of length >= (\d+)": Row("sub", ["of length >= ", "1", "of length >= 1"], ["", "of length >= "]),
    r"\.([^.\[]+)|\[(\d+|\.\.\.)\]": Row("findall", [".", ".a", "[", "[1", "[...", "a"], ["", ".", "["]),
    r"^[A-Za-z0-9_.:-]{1,64}\Z": Row("search", ["a", ":", " "]),
    r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@*\s]+\Z": ADDRESS,
    r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+(/[^?#\s]*)?\Z": ADDRESS,
    r"^https?://[^/?#@\s]+(/[^?#\s]*)?\Z": ADDRESS,
    r"^(embedded\Z|rediss?://|rediss?\+sentinel://|unix://)": ADDRESS,
    r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z": Row("search", [UUID, "a", "a-", "-"]),
    r"^(?:(?!default-)[a-z]+-src|trusted-types)\Z": Row("search", ["a", "-src", "a-", "default-", "trusted-"]),
    r"^[!-+\--:<-~]+\Z": Row("search", ["a", "!", ";"]),
    r"^session_[0-9a-f]{128}\Z": Row("search", ["a", "session_"], ["", "session_"]),
    r"^(0x)?[0-9a-fA-F]+\Z": Row("search", ["a", "0x"], ["", "0x"]),
    r"^0x[0-9a-f]+\Z": Row("search", ["a", "0x"], ["", "0x"]),
    r"^app_[A-Za-z0-9_]{1,64}\Z": Row("search", ["a", "app_"], ["", "app_"]),
    r"^rp_[0-9a-fA-F]{1,16}\Z": Row("search", ["a", "rp_"], ["", "rp_"]),
    r"^[^\x00-\x1f\x7f]{1,64}\Z": Row("search", ["a", " ", "\x1f"]),
    r"^[0-9a-f]{16}\Z": Row("search", ["a", "0", "g"]),
    r"^[A-Za-z0-9_-]+\Z": Row("search", ["a", "-", "_", "="]),
    r"^[!-~]{1,255}\Z": Row("search", ["a", "!", " "]),
    r"^[!-~]{1,512}\Z": Row("search", ["a", "!", " "]),
    r"^[ -~]{1,4096}\Z": Row("search", ["a", " ", "é"]),
    r"^[A-Za-z0-9._~-]{43,128}\Z": Row("search", ["a", "~", " "]),
    r"^[!-~]{1,128}\Z": Row("search", ["a", "!"]),
    r"^(0x)?[0-9A-Fa-f]{64}\Z": Row("search", ["a", "0x"], ["", "0x"]),
    r"^[!-~]{32,}\Z": Row("search", ["a", "!", " "]),
    r"^[!-~]+\Z": Row("search", ["a", "!"]),
    r"^[^\x00]+\Z": Row("search", ["a", "/", "\x00"]),
    r"^(?!:memory:\Z)[^\x00]+\Z": Row("search", ["a", ":memory:", "\x00"]),
}
ROWS[
    r"^((libsql|https?|wss?)://[^/?#@\s]+(/[^?#\s]*)?"
    r"|file:(//(localhost)?(?=/)|(?!//))(?!/?:memory:)/?[^/?#\x00][^?#\x00]*)\Z"
] = ADDRESS

UNKNOWN_HERE = {
    "evanesce.config.convert: re.search(item.pattern, inner)",
    "evanesce_plugins.worldid.simulator.command: re.fullmatch(pattern, text)",
}
"""Calls whose pattern is an argument: of settings, whose patterns are found where they are declared, and of the
simulator's command line. Nobody outside writes either of them."""


def patterns() -> Iterator[tuple[str, re.Pattern[Any] | None]]:
    """Find the patterns of the whole code: those with a name, those that stand in a call, and those of `Meta`."""
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            parts = path.relative_to(ROOT / source).with_suffix("").parts
            module = ".".join(part for part in parts if part != "__init__")
            yield from _patterns_of(module, ast.parse(path.read_text()))


def _patterns_of(module: str, tree: ast.Module) -> Iterator[tuple[str, re.Pattern[Any] | None]]:
    names = {
        id(node.value): target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        argument = _pattern_argument(node)
        if argument is None:
            continue
        if id(node) in names:
            yield f"{module}.{names[id(node)]}", getattr(import_module(module), names[id(node)])
        elif isinstance(argument, ast.Constant):
            yield argument.value, re.compile(argument.value)
        else:
            yield f"{module}: {ast.unparse(node)}", None


def _pattern_argument(call: ast.Call) -> ast.expr | None:
    """Return the expression that is a pattern in a call of `re` or of `Meta`; None in any other call."""
    function = ast.unparse(call.func)
    if function.rpartition(".")[2] == "Meta":
        return next((keyword.value for keyword in call.keywords if keyword.arg == "pattern"), None)
    prefix, _, name = function.rpartition(".")
    return call.args[0] if prefix == "re" and name in FUNCTIONS else None


FOUND = dict(patterns())


def test_every_pattern_has_a_row() -> None:
    assert set(FOUND) == set(ROWS) | UNKNOWN_HERE


def test_nothing_else_brings_patterns() -> None:
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    assert node.module != "re", f"{path}: write `import re`, so that its patterns are found"
                if isinstance(node, ast.Import):
                    assert not any(name.name == "re" and name.asname for name in node.names), path


@pytest.mark.parametrize("name", sorted(ROWS))
def test_linear_time(name: str) -> None:
    row, pattern = ROWS[name], FOUND[name]
    assert pattern is not None
    slow: dict[tuple[str, ...], str] = {}
    for start, part, other, end in itertools.product(row.starts, row.parts, ("", *row.parts), ENDINGS):

        def shape(size: int, start: str = start, part: str = part, other: str = other, end: str = end) -> Any:
            half = size // (2 if other else 1)
            text = start + part * (half // len(part)) + (other * (half // len(other)) if other else "") + end
            return text.encode("latin-1") if isinstance(pattern.pattern, bytes) else text

        use = getattr(pattern, row.use)
        measure = costs.of_call(use if row.use != "sub" else lambda text, use=use: use("", text), ())
        problem = costs.problem(costs.by_size(measure, shape))
        if problem is not None:
            slow[start, part, other, end] = problem
    assert slow == {}
