"""The command `evanesce worldid-simulator`. It prints the lines of config.toml with which a server uses it."""

from __future__ import annotations

import argparse
import json
import re
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import CliCommand
from evanesce.webaddress import split_authority
from evanesce_plugins.worldid.settings import PUBLIC_KEY

if TYPE_CHECKING:
    from evanesce_plugins.worldid.simulator.server import Simulator

STAGING_APP = "app_staging_"
"""The prefix of an app id with which IDKit accepts a bridge over http://, on this machine or a private network."""

_WILDCARDS = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}
"""Addresses for listening on all interfaces, and the address by which this machine reaches them."""


def command() -> CliCommand:
    """Return the subcommand."""
    return CliCommand(
        name="worldid-simulator",
        help="simulate World, to try out sign-in with World ID where World cannot be reached",
        arguments=_arguments,
        run=_run,
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bind", default="127.0.0.1:8100", metavar="HOST:PORT", help="where to listen (default: %(default)s)"
    )
    parser.add_argument(
        "--rp-id",
        default="rp_0123456789abcdef",
        type=_matching(r"rp_[0-9a-f]{16}", "rp_ and 16 hexadecimal digits"),
        help="the RP that is registered (default: %(default)s)",
    )
    parser.add_argument(
        "--app-id",
        default=f"{STAGING_APP}0123456789abcdef",
        type=_matching(r"app_[A-Za-z0-9_]{1,64}", "app_ and letters, digits, _"),
        help=f"its app, which for a bridge over http:// begins with {STAGING_APP} (default: %(default)s)",
    )
    parser.add_argument("--action", default="sign-up", help="the action of a sign-up (default: %(default)s)")
    parser.add_argument(
        "--signer",
        type=_matching(r"0x[0-9a-fA-F]{40}", "0x and 40 hexadecimal digits"),
        metavar="ADDRESS",
        help="the address of the RP's signing key (default: that of a publicly known key)",
    )
    parser.add_argument(
        "--environment",
        choices=("staging", "production"),
        default="staging",
        help="the environment that the server is configured for (default: %(default)s)",
    )


def _matching(pattern: str, words: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"write {words}")
        return text

    return check


def _run(options: argparse.Namespace) -> int:
    """Run the simulator until SIGINT or SIGTERM, and return 0. Raises `ConfigurationError`."""
    hint = 'Write "HOST:PORT", such as "127.0.0.1:8100"'
    try:
        host, port = split_authority(str(options.bind), zones=True)
    except ValueError as error:
        raise ConfigurationError("--bind", str(error), hint) from None
    if port is None:
        raise ConfigurationError("--bind", "has no port", hint)
    try:
        # Here, because every command imports this module, with and without the extra.
        from evanesce_plugins.worldid.rp_signature import Signer
        from evanesce_plugins.worldid.simulator.server import Simulator
        from evanesce_plugins.worldid.simulator.world import RelyingParty, World
    except ModuleNotFoundError as error:
        raise PluginError("worldid", f"{error.name} is not installed: pip install 'evanesce[worldid]'") from None
    world = World()
    signer: str = options.signer or Signer(PUBLIC_KEY).address
    world.register(RelyingParty(rp_id=options.rp_id, app_id=options.app_id, signer=signer))
    trio.run(_serve, Simulator(world), options, host, port)
    return 0


async def _serve(simulator: Simulator, options: argparse.Namespace, host: str, port: int) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            url: str = await nursery.start(simulator.serve, host, port)
            print(f"listening on {url}", flush=True)
            print(_configuration(options, url), flush=True)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


def _configuration(options: argparse.Namespace, url: str) -> str:
    """Return the lines for config.toml."""
    for everywhere, here in _WILDCARDS.items():
        url = url.replace(everywhere, here)
    settings = {
        "app_id": options.app_id,
        "rp_id": options.rp_id,
        "action": options.action,
        "environment": options.environment,
        "api_url": url,
        "bridge_url": url,
        "connect_url": f"{url}/verify",
    }
    if options.signer is None:
        settings["signing_key"] = PUBLIC_KEY
    # A JSON string is a basic string of TOML.
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    if options.signer is None:
        lines[-1] += "  # PUBLIC: this key is published. For trials only, never with World's own portal"
    said = ["", "For config.toml, with worldid among the enabled plugins:", "", "[plugins.worldid]", *lines, ""]
    if not str(options.app_id).startswith(STAGING_APP):
        said.append(f"IDKit refuses this bridge: over http:// it requires an app_id that begins with {STAGING_APP}.")
    said.append("A client that reaches this simulator can sign in as any person: use it for trials only.")
    return "\n".join(said)
