"""Values that no server can work with: `check` and `serve` refuse each with one line that names the key, and code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.core.cli.test_commands import bind_of_nobody, run
from tests.core.config.test_every_value import LAWFUL, SERVERS, bounds

pytestmark = pytest.mark.slow

REMOTE = json.dumps(SERVERS["remote"])

WRONG = [
    ("server.public_url", "http://h:0", "has the port 0"),
    ("server.public_url", "http://h:abc", "has a port that is no number"),
    ("server.public_url", "http://[::1", "has a [ without a ]"),
    ("server.public_url", "http://[fe80::1%25eth0]:80", "a zone"),
    ("server.public_url", "http://h/a//b", "has a path that can be written in several ways"),
    ("server.origins", '["https://a", "http://h:99999"]', "origins[1]: has a port"),
    ("server.origins", '["https://a/"]', "without a path or a slash at its end"),
    ("redis.url", "redis://[::1", "redis.url: "),
    ("redis.url", "redis://a..b:6379", "has a host that is no name"),
    ("plugins.quart.bind", "[::1:8000", "has a [ without a ]"),
    ("plugins.quart.bind", "::1:8000", "[::1]:8000"),
    ("plugins.quart.bind", "a..b:8000", "has a host that is no name"),
    ("plugins.quart.certfile", "a\ufeff", "cannot be read"),
    ("plugins.quart.trusted_proxies", '["10.0.0.0/33"]', "no network"),
    ("plugins.oidc.issuer", "https://[::1", "has a [ without a ]"),
    ("plugins.oidc.issuer", "http://id.example", "has to come over TLS"),
    ("plugins.turso.url", "http://h:x", "has a port that is no number"),
    ("plugins.worldid.api_url", "https://[::1", "has a [ without a ]"),
    ("plugins.worldid.bridge_url", "https://h:0", "has the port 0"),
    ("plugins.worldid.connect_url", "https://h:65536/x", "has a port that is no number"),
    ("limits.burst", "9223372036854775808", "a whole number <="),
    ("limits.messages_per_second", "1e-320", "a number >="),
    ("limits.messages_per_second", "9" * 400, "is too large a number"),
    ("rooms.capacity", "1" + "0" * 400, "a whole number <="),
    ("retention.guest_days", "-1", "a number >="),
]


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(("key", "value", "told"), WRONG, ids=[f"{key}={value[:40]}" for key, value, _ in WRONG])
def test_a_value_that_is_none_is_refused(tmp_path: Path, command: str, key: str, value: str, told: str) -> None:
    options = [*LAWFUL, f"{key}={value}"]
    if key.startswith(("plugins.oidc.", "plugins.turso.", "plugins.worldid.")):
        options.append(f"plugins.enabled={REMOTE}")
    done = run(tmp_path, command, *(part for option in options for part in ("--set", option)))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith(f"evanesce: {key}")
    assert told in line


@pytest.mark.parametrize("end", ["least", "greatest"])
def test_the_bounds_of_every_number_are_values_that_check_takes(tmp_path: Path, end: str) -> None:
    options = [*LAWFUL, *bounds(end), f"plugins.quart.bind={bind_of_nobody()}"]
    done = run(tmp_path, "check", *(part for option in options for part in ("--set", option)))
    assert done.returncode == 0, done.stdout + done.stderr
