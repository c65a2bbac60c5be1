"""Distributions of plugins: installing them beside this checkout, and checking their code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = [str(ROOT / folder) for folder in ("core", "plugins", "transports")]
SECONDS = 300.0


def run(folder: Path, *words: str, **environment: str) -> str:
    """Run a program of this environment, and return what it prints. Raises `AssertionError` where it fails."""
    program = Path(sys.executable).with_name(words[0])
    done = subprocess.run(
        [program, *words[1:]],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(distributions: Sequence[Path], site: Path) -> None:
    """Install distributions from their folders into the folder `site`, for PYTHONPATH."""
    options = ("--no-deps", "--no-build-isolation", "--target", str(site))
    run(site.parent, "pip", "install", "-q", *options, *map(str, distributions))


def check_style(folder: Path) -> None:
    """Check a distribution by its own settings of ruff."""
    run(folder, "ruff", "check", "--no-cache", ".")
    run(folder, "ruff", "format", "--no-cache", "--check", ".")


def check_types(folder: Path, cache: Path) -> None:
    """Check the types of a distribution by its own settings of mypy, and by pyright in its strict mode."""
    run(folder, "mypy", "--cache-dir", str(cache), MYPYPATH=os.pathsep.join(["src", *SOURCES]))
    settings = cache / "pyright.json"
    paths = [str(folder / "src"), *SOURCES]
    strict = {"include": [str(folder)], "extraPaths": paths, "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    settings.write_text(json.dumps(strict))
    run(folder, "pyright", "--project", str(settings))


def check_tests(folder: Path, *arguments: str) -> str:
    """Run the tests of a distribution from its folder, and return what pytest prints."""
    options = ("-q", "-p", "no:cacheprovider", *arguments)
    return run(folder, "pytest", *options, PYTHONPATH=str(folder / "src"), PYTHONDONTWRITEBYTECODE="1")
