"""What a deployer may set in `[plugins.trio_websocket]`."""

from __future__ import annotations

from evanesce_transports.settings import ListenSettings


class Settings(ListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.trio_websocket]`."""

    bind: str = "127.0.0.1:8001"
