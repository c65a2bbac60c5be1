"""What CONTRIBUTING.md, the justfile and the files for the repository's host say is what there is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
RECIPES = sorted(set(re.findall(r"`(?:\.venv/bin/)?just ([\w-]+)`", PAGE + "\n".join(f"`{one}`" for one in COMMANDS))))


def run(*words: str) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_set_up_is_that_of_the_readme_and_of_the_hosted_run() -> None:
    setup = COMMANDS[0]
    assert f"{setup} && .venv/bin/pytest" in README
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert setup.replace("python3", "python", 1) in steps
    assert "bash .ci/run" in steps


def test_the_test_that_is_run_as_an_example_is_there() -> None:
    [example] = [command for command in COMMANDS if command.startswith(".venv/bin/pytest ")]
    assert "tests collected" in run(str(BIN / "pytest"), "--collect-only", "-q", example.split()[1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_the_page_has_just_do_is_in_the_justfile(recipe: str) -> None:
    assert run(str(BIN / "just"), "--dry-run", recipe)


def test_the_page_shows_recipes_and_the_continuous_integration_runs_them() -> None:
    assert {"quick", "coverage", "lint", "types", "js", "docs", "wheel"} <= set(RECIPES)
    for recipe in ("coverage", "lint", "types", "js", "docs", "wheel", "deployment", "release"):
        assert f'"$just" {recipe}' in (ROOT / ".ci/run").read_text()


def test_the_markers_of_the_page_are_those_of_the_tests() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    registered = {marker.partition(":")[0] for marker in settings["markers"]}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == registered


def test_the_checks_before_a_commit_can_be_installed() -> None:
    run(str(BIN / "pre-commit"), "validate-config")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in hooks:
        assert (BIN / hook["entry"].split()[0].removeprefix(".venv/bin/")).exists()


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda form: form.stem)
def test_a_form_asks_for_something_and_no_field_twice(form: Path) -> None:
    fields = [field["id"] for field in yaml.safe_load(form.read_text()).get("body", []) if "id" in field]
    assert len(fields) == len(set(fields))
    assert fields or form.stem == "config"
