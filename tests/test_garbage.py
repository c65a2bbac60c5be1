"""What a test leaves to the garbage collector fails that test, and no later one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

TESTS = """

import socket
import subprocess
import sys

import pytest
import trio

from evanesce.process import tune_gc


@pytest.fixture
def cycle():
    made = []
    made.append(made)
    return made


def test_leaves_a_socket():
    cycle = [socket.socket()]
    cycle.append(cycle)


def test_leaves_nothing():
    with socket.socket() as closed:
        cycle = [closed]
        cycle.append(cycle)


def test_leaves_a_socket_in_a_fixture(cycle):
    cycle.append(socket.socket())


def test_leaves_nothing_in_a_fixture(cycle):
    pass


def test_leaves_a_process(cycle):
    cycle.append(subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE))


def test_leaves_nothing_after_a_process():
    pass


def test_leaves_a_coroutine(cycle):
    cycle.append(trio.sleep(0))


def test_leaves_nothing_after_a_coroutine():
    pass


def test_leaves_a_socket_before_a_server_is_tuned(cycle):
    cycle.append(socket.socket())
    tune_gc()


def test_leaves_nothing_after_a_server():
    pass
"""


def test_what_is_left_to_the_collector_fails_the_test_that_left_it(tmp_path: Path) -> None:
    (tmp_path / "test_leaks.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.garbage", "-p", "no:cacheprovider", "-W", "error", "-rA"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    failed = re.findall(r"^(?:FAILED|ERROR) test_leaks\.py::(\w+)", done.stdout, re.MULTILINE)
    made = re.findall(r"^def (test_leaves_a_\w+)", TESTS, re.MULTILINE)
    assert (failed, done.stderr) == (made, ""), done.stdout
