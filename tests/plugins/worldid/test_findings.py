"""What World ID's settings are warned of: a simulator, its key and staging, where strangers reach the server."""

from __future__ import annotations

from typing import Any

import pytest

from evanesce_plugins.worldid.settings import PUBLIC_KEY, WorldIdSettings, findings

OWN_KEY = "c0ffee" + "1" * 58
PUBLIC = ["0.0.0.0:8000", "https://chat.example"]

CASES: list[tuple[str, dict[str, Any], list[tuple[str, bool]]]] = [
    ("as it should be", {}, []),
    ("World's portal by name", {"api_url": "https://developer.world.org/"}, []),
    ("the simulator's key", {"signing_key": PUBLIC_KEY}, [("signing_key", True)]),
    ("the same written otherwise", {"signing_key": "0x" + PUBLIC_KEY.upper()}, [("signing_key", True)]),
    ("a simulator", {"api_url": "http://127.0.0.1:8010"}, [("api_url", True)]),
    ("a simulator by name", {"api_url": "http://localhost:8010"}, [("api_url", True)]),
    ("a simulator over IPv6", {"api_url": "http://[::1]:8010", "environment": "staging"}, [("api_url", True)]),
    (
        "a simulator and its key",
        {"api_url": "http://127.0.0.1:8010", "signing_key": PUBLIC_KEY},
        [("api_url", True), ("signing_key", True)],
    ),
    ("another portal", {"api_url": "https://portal.example"}, [("api_url", False)]),
    ("staging", {"environment": "staging"}, [("environment", False)]),
    ("staging's portal", {"api_url": "https://staging-developer.worldcoin.org"}, [("environment", False)]),
]


def settings(changed: dict[str, Any]) -> WorldIdSettings:
    given: dict[str, Any] = {"app_id": "app_1", "rp_id": "rp_1", "action": "chat", "signing_key": OWN_KEY}
    return WorldIdSettings(**given | changed)


@pytest.mark.parametrize(("changed", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_not_for_strangers(changed: dict[str, Any], expected: list[tuple[str, bool]]) -> None:
    found = findings(settings(changed), "plugins.worldid", PUBLIC)
    assert [finding.fails for finding in found] == [fails for _, fails in expected]
    for finding, (key, _) in zip(found, expected, strict=True):
        assert finding.text.startswith(f"plugins.worldid.{key} is ")
        assert finding.advice
        assert OWN_KEY not in finding.text + finding.advice
        assert PUBLIC_KEY not in (finding.text + finding.advice).lower()
    assert findings(settings(changed), "plugins.worldid", []) == [], "on this machine alone all of it may be tried out"
