"""The AsyncAPI description against the official parser, and its contents against the protocol's tables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from evanesce.protocol.answers import ERRORS, REPLIES
from evanesce.schema import documents
from tests.schemas import DEFAULT_LIMITS, members, schema_of

ROOT = Path(__file__).parents[3]
CHECKS = ROOT / "tests/javascript"
DOCUMENT: dict[str, Any] = json.loads(documents(DEFAULT_LIMITS)["asyncapi.json"])

SECONDS = 300

PROGRAM = """
import parser from "@asyncapi/parser";
import { readFileSync } from "node:fs";
const { document, diagnostics } = await new parser.Parser().parse(readFileSync(0, "utf-8"));
const errors = diagnostics.filter((found) => found.severity === 0).map((found) => found.message);
console.log(JSON.stringify({ messages: document?.allMessages().length ?? 0, errors }));
"""


@pytest.fixture(scope="module")
def node() -> str:
    """Return Node, with the parser installed by the command of `just js` if it is not there yet."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        missing("there is no npm on this machine")
    if not (CHECKS / "node_modules/@asyncapi/parser").exists():
        command = [npm, "ci", "--prefix", CHECKS, "--ignore-scripts", "--prefer-offline", "--silent"]
        subprocess.run(command, check=True, timeout=SECONDS)
    return program


def missing(why: str) -> NoReturn:
    """Skip the test, but fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}, and in CI this is not skipped")
    pytest.skip(why)


def parsed(node: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return what the official parser says of a document."""
    command = [node, "--input-type=module", "--eval", PROGRAM]
    done = subprocess.run(
        command, cwd=CHECKS, input=json.dumps(document), capture_output=True, text=True, timeout=SECONDS, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_official_parser_accepts_it(node: str) -> None:
    names = [name for group in ("Command", "Reply", "Event") for name in members(schema_of(DEFAULT_LIMITS), group)]
    assert parsed(node, DOCUMENT) == {"messages": len(names), "errors": []}
    assert parsed(node, DOCUMENT | {"info": {"version": "1"}})["errors"]


@pytest.mark.parametrize("kind", REPLIES, ids=lambda kind: kind.__name__)
def test_every_command_is_an_operation_with_its_reply_and_errors(kind: Any) -> None:
    operation = DOCUMENT["operations"][kind.__struct_config__.tag]
    place = "#/channels/connection/messages/"
    assert operation["action"] == "receive"
    assert operation["messages"] == [{"$ref": place + kind.__name__}]
    assert operation["reply"]["messages"] == [{"$ref": place + name} for name in (REPLIES[kind].__name__, "Error")]
    assert set(operation["x-errors"]) == {code.value for code in ERRORS[kind]}


def test_the_schemas_are_those_of_the_json_schema() -> None:
    text = json.dumps(DOCUMENT["components"]["schemas"]).replace("#/components/schemas/", "#/$defs/")
    definitions = schema_of(DEFAULT_LIMITS)["$defs"]
    assert json.loads(text).items() <= definitions.items()
