"""The command `evanesce audit`: look for canaries wherever a running deployment could leave them."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import trio

from evanesce import logs
from evanesce.audit import report
from evanesce.audit.conversation import TOKEN
from evanesce.audit.faults import prove
from evanesce.audit.run import audit
from evanesce.cli.exit_status import deployer_error, exit_now
from evanesce.config.model import Config
from evanesce.lifecycle.startup_checks import check_environment
from evanesce.plugins import Plugins


def run(config: Config, plugins: Plugins, *, as_json: bool, strict: bool) -> int:
    """Audit the running deployment with this configuration, print the report, and return the exit code.

    1: something was found. Raises `AuditFailed`, `ConfigurationError` and `PluginError`.
    """
    check_environment(config)
    components = plugins.build(config, Path.cwd())
    told = _ignore if as_json else _tell

    async def look() -> int:
        token = os.environ.get(TOKEN)
        result = await audit(config, components.repository, components.transports, Path.cwd(), token, told)
        if as_json:
            _print(report.as_json(result, ttl=config.messages.ttl, strict=strict))
        else:
            for line in report.as_table(result, ttl=config.messages.ttl, strict=strict):
                _print(line)
        return int(result.failed(strict=strict))

    return trio.run(plugins.around, look, exit_now)


def run_faults(*, as_json: bool) -> int:
    """Prove that the audit finds faults, print a table of them, and return the exit code: 1 if it missed one."""
    proof = trio.run(partial(prove, _ignore if as_json else _tell))
    for line in [proof.as_json()] if as_json else proof.as_table():
        _print(line)
    return int(not proof.ok)


def print_failure(error: Exception) -> None:
    """Print the JSON object of an audit that could not be made."""
    known = deployer_error(error)
    _print(report.failure_as_json(logs.folded(error) if known is None else str(known)))


def _print(line: str) -> None:
    print(line, flush=True)


def _tell(progress: str) -> None:
    """Print what happens at present to standard error."""
    print(logs.escaped(f"evanesce audit: {progress}"), file=sys.stderr, flush=True)


def _ignore(progress: str) -> None:
    pass
