"""The resources of a process. Limits are set in child processes, because a lowered limit cannot be raised again."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys

import pytest

from evanesce.process import DESCRIPTOR_RESERVE, YOUNG_OBJECTS, client_descriptors, lowest_free_descriptor, tune_gc


def run(code: str, *, descriptors: tuple[int, int] | None = None) -> str:
    """Run `code` in a child process with these limits of descriptors, and return what it printed."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit, check=True)
    return done.stdout.strip()


def test_neither_a_process_nor_its_children_write_core_files() -> None:
    code = (
        "import subprocess, sys; from evanesce.process import forbid_core_files; forbid_core_files();"
        "subprocess.run([sys.executable, '-c', 'import resource; print(resource.getrlimit(resource.RLIMIT_CORE));"
        'print(int(open("/proc/self/coredump_filter").read(), 16))\'])'
    )
    assert run(code).splitlines() == ["(0, 0)", "0"]


@pytest.mark.parametrize(("soft", "hard"), [(100, 300), (300, 300), (20, 300)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int) -> None:
    code = (
        "import resource; from evanesce.process import raise_descriptor_limit, descriptor_limit;"
        "raise_descriptor_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE), descriptor_limit())"
    )
    assert run(code, descriptors=(soft, hard)) == f"({hard}, {hard}) {hard}"


@pytest.mark.parametrize(
    ("limit", "clients"), [(1_048_576, 1_048_576 - DESCRIPTOR_RESERVE), (256, 192), (100, 75), (8, 6)]
)
def test_clients_leave_a_reserve(limit: int, clients: int) -> None:
    assert client_descriptors(limit) == clients


def test_the_lowest_free_descriptor_bounds_how_many_are_in_use() -> None:
    code = (
        "import os; from evanesce.process import lowest_free_descriptor as low\n"
        "first = low(0); opened = [os.dup(0) for _ in range(20)]; print(low(0) - first)\n"
        "os.close(opened[3]); print(low(0) == opened[3]); os.dup(0)\n"
        "try:\n    while True: opened.append(os.dup(0))\nexcept OSError: print(low(0))"
    )
    assert run(code, descriptors=(64, 64)).split() == ["20", "True", "None"]
    assert lowest_free_descriptor(0) is not None


def test_garbage_is_collected_seldom_and_never_that_of_imported_modules() -> None:
    before = gc.get_threshold()
    try:
        tune_gc()
        assert gc.get_threshold()[0] == YOUNG_OBJECTS
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
