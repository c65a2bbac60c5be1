"""The line in the log that says what was started, with which parts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from evanesce.config.model import Config
from evanesce.logs import OWN_ADDRESSES, fields
from evanesce.webaddress import without_credentials

logger = logging.getLogger(__name__)


def log_start(config: Config, file: Path | None, plugins: Sequence[str], database: str, urls: Sequence[str]) -> None:
    """Log the line. `file` is the configuration file, `database` describes the database, and `urls` are the addresses.

    It holds no secrets, and no credentials of an address.
    """
    logger.info(
        "the server has started",
        extra={
            **OWN_ADDRESSES,
            **fields(
                version=version("evanesce"),
                configuration="none" if file is None else file.absolute(),
                plugins=",".join(plugins),
                redis=without_credentials(config.redis.url),
                database=database,
                listening=",".join(urls),
                workers=config.server.workers,
            ),
        },
    )
