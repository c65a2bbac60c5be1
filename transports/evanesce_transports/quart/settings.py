"""What a deployer may set in `[plugins.quart]`, and what it means."""

from __future__ import annotations

from evanesce_transports.settings import ListenSettings


class Settings(ListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.quart]`. With `metrics_public` anybody may read `/metrics`, not this machine alone."""

    bind: str = "127.0.0.1:8000"
    metrics_public: bool = False
