"""Settings of webhooks, and the signature of the specification's own example."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import msgspec
import pytest

from evanesce.errors import ConfigurationError
from evanesce_plugins.webhooks.settings import WebhooksSettings, keys, targets
from evanesce_plugins.webhooks.signing import headers

SECRET = f"whsec_{b64encode(bytes(32)).decode()}"


def settings(**given: Any) -> WebhooksSettings:
    return msgspec.convert({"urls": ["https://receiver.example/hooks"], "secret": SECRET} | given, WebhooksSettings)


def test_a_signature_is_that_of_the_specification() -> None:
    key = b64decode("plJ3nmyCDGBKInavdOK15jsl")  # it has fewer bytes than the specification itself wants
    made = headers("msg_loFOjxBNrRLzqYUf", b'{"event_type":"ping","data":{"success":true}}', [key], now=1_731_705_121)
    assert made["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    assert (made["webhook-id"], made["webhook-timestamp"]) == ("msg_loFOjxBNrRLzqYUf", "1731705121")


@pytest.mark.parametrize(
    "url",
    [
        "https://receiver.example",
        "https://receiver.example:8443/a/b?token=x&y=1",
        "http://127.0.0.1:9000/hooks",
        "http://[::1]:9000",
        "http://localhost:9000",
    ],
)
def test_addresses_that_events_are_sent_to(url: str) -> None:
    [target] = targets(settings(urls=[url]), "plugins.webhooks")
    assert target.url == url
    assert url.startswith(target.name)
    assert "/a/b" not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "receiver.example",
        "ftp://receiver.example",
        "http://receiver.example",
        "http://10.0.0.1/hooks",
        "https://user:password@receiver.example",
        "https://receiver.example/#part",
        "https://receiver.example/a b",
        "https://receiver.example/\n",
        "https://receiver.example/?\u00e9",
        "http://127.0.0.1.example/",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        targets(settings(urls=["https://other.example", url]), "plugins.webhooks")
    assert refused.value.path == "plugins.webhooks.urls[1]"
    assert "password" not in str(refused.value)


def test_an_address_gets_every_event_once() -> None:
    with pytest.raises(ConfigurationError, match="is there twice"):
        targets(settings(urls=["https://a.example", "https://a.example"]), "plugins.webhooks")


@pytest.mark.parametrize(
    "secret",
    ["", SECRET.removeprefix("whsec_"), "whsec_", "whsec_S3CR3T", "whsec_\u00e9", "whsec_" + "AAAA" * 22],
)
def test_secrets_that_are_refused(secret: str) -> None:
    for given in (secret, [SECRET, secret]):
        with pytest.raises(ConfigurationError) as refused:
            keys(settings(secret=given), "plugins.webhooks")
        assert refused.value.path == "plugins.webhooks.secret"
        assert "S3CR3T" not in str(refused.value)
    assert SECRET not in repr(settings())


@pytest.mark.parametrize(
    "given",
    [
        {"urls": []},
        {"urls": ["https://a.example"] * 9},
        {"events": ["message.sent"]},
        {"timeout": 0},
        {"secret": []},
        {"queue": 0},
        {"leave_seconds": -1},
        {"retry_seconds": 86_401},
        {"unknown": 1},
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        settings(**given)
