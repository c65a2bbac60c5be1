"""The checks that a server makes before it starts, and `evanesce check` and a check before a restart as well."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from evanesce.config.model import Config
from evanesce.config.public import public_address
from evanesce.errors import ConfigurationError
from evanesce.interfaces import Finding
from evanesce.plugins import Components, Plugins
from evanesce.store.redis.url import check_url
from evanesce.webaddress import is_unix

RUNS_AS_ROOT = Finding(
    "this process runs as root: anyone who breaks into it controls the whole machine",
    "Run it as a separate user, and let only that user access the working folder.",
)


def check_environment(config: Config) -> None:
    """Raise `ConfigurationError` where the address of Redis or the environment cannot be used."""
    check_url(config.redis)
    metrics_folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if metrics_folder is not None and not os.path.isdir(metrics_folder):
        raise ConfigurationError(
            "PROMETHEUS_MULTIPROC_DIR",
            "this environment variable does not name a folder",
            "Unset it: each process of Evanesce has its own metrics, and does not need such a folder",
        )


def refuse_exposed_guests(config: Config, components: Components) -> None:
    """Raise `ConfigurationError` where others than this machine could use a sign-in that proves nothing."""
    unproven = [
        provider for provider, authenticator in components.authenticators.items() if authenticator.loopback_only
    ]
    if not unproven:
        return
    if exposed := exposed_addresses(config, components):
        raise ConfigurationError(
            f"plugins.{unproven[0]}.allow_public",
            f"{unproven[0]!r} lets anyone sign in, and other machines can reach {exposed[0]}",
            "Set it to true to allow that, or enable another way to sign in",
        )


def refuse_exposed_debugging(config: Config, components: Components) -> None:
    """Raise `ConfigurationError` where others than this machine could reach a server whose plugins are debugged."""
    if exposed := exposed_addresses(config, components):
        raise ConfigurationError(
            "--debug-plugins",
            f"the log would contain messages and secrets, and other machines can reach {exposed[0]}",
            "Use it only with a server that listens on 127.0.0.1 or [::1], and has such a server.public_url",
        )


def exposed_addresses(config: Config, components: Components) -> list[str]:
    """Return the addresses at which other machines may reach the server. Empty if there are none."""
    public = public_address(config)
    binds = [bind for transport in components.transports.values() for bind in transport.binds]
    # Only this machine reaches a Unix socket. Who is behind a proxy on it is decided for each client.
    exposed = [bind for bind in binds if not is_unix(bind) and not _is_loopback(bind.rpartition(":")[0])]
    if not _is_loopback(public.host):
        exposed.append(public.text)
    return exposed


def findings(config: Config, plugins: Plugins, components: Components, folder: Path) -> list[tuple[str, Finding]]:
    """Return what the deployer should change in the settings or around this process: pairs of subject and finding."""
    found = [
        (f"plugin {name}", finding)
        for name, finding in plugins.findings(config, folder, exposed_addresses(config, components))
    ]
    if os.geteuid() == 0:
        found.append(("user", RUNS_AS_ROOT))
    return found


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
