"""The command `evanesce new-plugin`: the names and folders that it refuses, and what it writes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from evanesce.cli.main import main
from evanesce.hookspecs import API
from evanesce.plugins import discovery


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line with which the command refuses its arguments."""
    assert main(["new-plugin", *arguments]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    [line] = written.err.splitlines()
    return line


@pytest.mark.parametrize(
    "name",
    ["", "-", "Slow", "slow mode", "slow--mode", "-slow", "slow_", "a/b", "..", "größe", "a.b", "x" * 41, "2fast"],
)
def test_what_is_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    line = refusal(capsys, "--kind=filter", f"--into={tmp_path / 'new'}", "--", name)
    assert line.startswith("evanesce: NAME: it must ")
    assert line.endswith("Write it as in slow-mode.")
    assert not list(tmp_path.iterdir())


def test_a_name_that_names_evanesce_or_a_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, advice in (("evanesce-slow", "Leave it out."), ("evanesce", "Name what"), ("enabled", "Choose another")):
        assert advice in refusal(capsys, name, "--kind=filter", f"--into={tmp_path / 'new'}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*discovery.names(), "trio-websocket"])
def test_the_name_of_an_installed_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    line = refusal(capsys, name, "--kind=filter", f"--into={tmp_path / 'new'}")
    assert f"has a plugin {name.replace('-', '_')}. Choose another name." in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["plugins", "transports"])
def test_the_name_of_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert f"there is a package evanesce_{name}" in refusal(capsys, name, "--kind=auth", f"--into={tmp_path / 'new'}")


def test_a_folder_that_is_used_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("kept")
    for used in (tmp_path, tmp_path / "file", tmp_path / "file" / "below"):
        assert "Name another folder with --into." in refusal(capsys, "slow", "--kind=filter", f"--into={used}")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("arguments", [["slow"], ["slow", "--kind", "bot"], ["--kind", "filter"]])
def test_arguments_that_are_missing_or_wrong(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert "See evanesce new-plugin --help" in refusal(capsys, *arguments)


def test_it_writes_a_distribution_beside_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "slow_mode", "--kind", "filter", "--kind", "filter"]) == 0
    folder = tmp_path / "evanesce-slow-mode"
    written = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert written == {
        ".github/workflows/ci.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/evanesce_slow_mode/__init__.py",
        "src/evanesce_slow_mode/py.typed",
        "src/evanesce_slow_mode/settings.py",
        "src/evanesce_slow_mode/words.py",
        "tests/conftest.py",
        "tests/test_words.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "evanesce-slow-mode"
    assert project["entry-points"] == {"evanesce.plugins": {"slow_mode": "evanesce_slow_mode:plugin"}}
    assert project["dependencies"][0].startswith("evanesce>=")
    assert ",<" in project["dependencies"][0]
    assert f'evanesce_api = "{API}"' in (folder / "src/evanesce_slow_mode/__init__.py").read_text()
    told = capsys.readouterr().out
    assert "cd evanesce-slow-mode\n" in told
    [serve] = [line.strip() for line in told.splitlines() if "evanesce serve" in line]
    assert f"    {serve}\n" in (folder / "README.md").read_text()
    assert '["guest", "sqlite", "quart", "slow_mode"]' in serve


def test_an_empty_folder_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "slow", "--kind", "repository", "--into", str(tmp_path)]) == 0
    assert (tmp_path / "src/evanesce_slow/database.py").exists()
    assert '["guest", "quart", "slow"]' in capsys.readouterr().out
