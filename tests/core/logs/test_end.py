"""The end of a process: what it has logged is written, and a log that nobody reads does not keep it from ending."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from evanesce.logs import repeats
from tests.patience import PATIENCE

ENDS = {
    "exit": "",
    "shutdown": "logging.shutdown(); os._exit(0)",
    "exit_now": "from evanesce.cli.exit_status import exit_now; exit_now(lambda: 0)",
}

FLOOD = """
import logging, os
from evanesce import logs
logs.setup()
for number in range(50):
    logging.getLogger("evanesce").warning("client %d sends nonsense", number)
"""

REFUSED = """
from evanesce import logs
from evanesce.cli.exit_status import exit_code
from evanesce.errors import ConfigurationError

def refuse():
    raise ConfigurationError("server.bind", "is no address", "Write another one")

logs.setup()
raise SystemExit(exit_code(refuse))
"""


@pytest.mark.parametrize("end", ENDS)
def test_every_line_of_a_process_that_ends_is_written(end: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FLOOD + ENDS[end]], stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=True
    )
    lines = ended.stderr.splitlines()
    assert len(lines) == repeats.MOST_LINES + 1
    assert f"(repeated {50 - repeats.MOST_LINES} times in " in lines[-1]


def test_a_refused_start_is_told_and_ends_where_nobody_reads_the_log() -> None:
    told = subprocess.run([sys.executable, "-c", REFUSED], stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert (told.returncode, told.stderr.startswith("evanesce: server.bind")) == (2, True)
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        for size in (65_536, 1):  # until not one more byte fits
            while True:
                try:
                    os.write(writing, b"x" * size)
                except BlockingIOError:
                    break
        os.set_blocking(writing, True)
        assert subprocess.run([sys.executable, "-c", REFUSED], stderr=writing, timeout=PATIENCE).returncode == 2
    finally:
        os.close(reading)
        os.close(writing)
