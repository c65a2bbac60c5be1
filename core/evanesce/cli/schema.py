"""`evanesce schema`: print a description of the protocol, with the limits of the configuration."""

from __future__ import annotations

import msgspec

from evanesce.config.model import Config

FORMATS = {"json": "schema.json", "openapi": "openapi.json", "asyncapi": "asyncapi.json"}
"""The formats that can be printed, with the names by which a server serves them."""


def run(config: Config, form: str) -> int:
    """Print the description in the format `form`, one of `FORMATS`, indented. Return the exit code."""
    # Imported here, because the other commands start faster without these modules.
    from evanesce.limits.budgets import public_limits
    from evanesce.schema import documents

    document = documents(public_limits(config))[FORMATS[form]]
    print(msgspec.json.format(document, indent=2).decode())
    return 0
