"""`[logs]` of the configuration, applied to a process."""

from __future__ import annotations

from evanesce import logs
from evanesce.config.model import Config
from evanesce.errors import ConfigurationError
from evanesce.plugins import Plugins, discovery


def check_levels(config: Config, plugins: Plugins) -> None:
    """Raise `ConfigurationError` for a level at which a logger would show what no log may hold."""
    packages = discovery.packages(plugins.names)
    for name, level in config.logs.levels.items():
        if (problem := logs.level_problem(name, level, packages)) is not None:
            hint = "Remove it, or use warning, error or critical"
            raise ConfigurationError(f"logs.levels.{name}", problem, hint)


def apply_log_settings(config: Config, plugins: Plugins, *, worker: int | None = None) -> None:
    """Log as `[logs]` says from now on. `worker` is the number of this process, where it is a worker.

    Raises `ConfigurationError` as `check_levels` does.
    """
    check_levels(config, plugins)
    settings = config.logs
    logs.configure(
        form=settings.format,
        level=settings.level,
        levels=settings.levels,
        addresses=settings.addresses,
        plugins=discovery.packages(plugins.names),
        worker=worker,
    )
