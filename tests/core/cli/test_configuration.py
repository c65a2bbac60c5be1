"""`evanesce config`: the sample, which runs as it is, and the values with their origins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evanesce.config import load
from evanesce.plugins import Plugins
from tests.core.cli.test_commands import run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def test_the_sample_is_the_configuration_of_the_distribution(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "init", "my.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "wrote my.toml: evanesce serve --config my.toml\n"
    file = tmp_path / "my.toml"
    assert file.read_bytes() == (ROOT / "config.toml").read_bytes()
    source = load.read(file, environ={}, default_plugins=())
    assert source.config(Plugins.load(source.enabled).settings()).messages.ttl == 60


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ([], "evanesce: config.toml: exists already"),
        (["none/config.toml"], "evanesce: none/config.toml: cannot be written (No such file or directory)"),
    ],
)
def test_it_is_written_over_no_file_and_into_no_other_folder(tmp_path: Path, file: list[str], problem: str) -> None:
    (tmp_path / "config.toml").write_text("mine")
    done = run(tmp_path, "config", "init", *file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(problem)
    assert (tmp_path / "config.toml").read_text() == "mine"


def test_values_are_shown_as_a_table_and_as_json(tmp_path: Path) -> None:
    secret = "S3CR3T" * 6
    options = ["--set", f"server.secret={secret}", "--set", 'server.origins=["https://a.example"]']
    table, answer = run(tmp_path, "config", "show", *options), run(tmp_path, "config", "show", "--json", *options)
    assert table.returncode == answer.returncode == 0
    rows = {line.split()[0]: line.split(None, 1)[1].split("  ") for line in table.stdout.splitlines()}
    assert rows["server.secret"][0] == "(hidden)"
    assert rows["server.origins"][0] == '["https://a.example"]'
    assert rows["server.origins"][-1].strip() == "--set server.origins"
    assert rows["admin.token"][0] == "(not set)"
    told = json.loads(answer.stdout)
    assert told["file"] is None
    assert {value["key"] for value in told["settings"]} == rows.keys()
    assert secret not in table.stdout + answer.stdout


def test_a_configuration_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "show", "--set", "messages.ttl=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("evanesce: messages.ttl:")
