"""The check before a restart: a child process loads the configuration, and tells whether a server could start with it.

The child process also sees what has been installed since the server started, as the restarted server would.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import trio

from evanesce.confidential import Confidential
from evanesce.inherited import inherited_sockets

logger = logging.getLogger(__name__)

CHECK_SECONDS = 60.0
"""How long a check may take."""

REFUSED = 2
"""The exit code of a process that has printed what the deployer has to correct."""


class RestartCheckRequest(Confidential, msgspec.Struct, kw_only=True, frozen=True):
    """What the child process reads from its standard input. It may hold secrets, so `repr` shows nothing.

    - `file` and `settings`: the values of `--config` and `--set`.
    - `kept`: the settings, by key, that a restart does not change.
    - `urls`: the addresses of the running server. Their ports are in use now, and free at the restart.
    - `debug_plugins`: whether to log the texts of plugins' exceptions.
    - `migrate`: whether a server may create or migrate the database.
    - `locked_database`: the database file that the supervisor has locked.
    """

    file: str | None
    settings: Sequence[str]
    kept: Mapping[str, str | float | bool] = {}
    urls: Sequence[str] = ()
    debug_plugins: bool = False
    migrate: bool = True
    locked_database: str | None = None


class RestartCheck:
    """Check the present configuration in a child process, which `command` starts and which reads `request`."""

    def __init__(self, command: Sequence[str], request: RestartCheckRequest) -> None:
        self._command = command
        self._request = request

    def require_database(self, database: Path) -> None:
        """Refuse, from now on, a configuration with another database file: the supervisor has locked this one."""
        self._request = msgspec.structs.replace(self._request, locked_database=str(database))

    async def passes(self, urls: Sequence[str]) -> bool:
        """Return whether a server could start with the configuration. If not, standard error says what to correct.

        `urls` are the addresses that this server listens on.
        """
        request = msgspec.structs.replace(self._request, urls=urls)
        try:
            with trio.fail_after(CHECK_SECONDS):
                inherited = inherited_sockets()
                done = await trio.run_process(
                    self._command,
                    pass_fds=inherited.descriptors,
                    env=inherited.worker_environment(),
                    stdin=msgspec.json.encode(request),
                    stdout=sys.stderr,
                    check=False,
                    start_new_session=True,  # Ctrl-C in the terminal is for the server only
                )
        except trio.TooSlowError:
            logger.error("no restart: the check of the configuration took more than %g s", CHECK_SECONDS)
            return False
        except OSError as error:  # no processes or memory left, which may be temporary
            logger.error("no restart: the check of the configuration could not be started (%s)", error.strerror)
            return False
        if done.returncode == REFUSED:
            logger.error("no restart: the configuration cannot be used, for the reason given above")
        elif done.returncode != 0:
            logger.error("no restart: the check of the configuration ended with exit code %d", done.returncode)
        return done.returncode == 0
