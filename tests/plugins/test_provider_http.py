"""The HTTP client for services of others: which of its requests a proxy may hear."""

from __future__ import annotations

import pytest

from evanesce_plugins.provider_http import NoAnswer, ProviderClient
from tests.plugins.webhooks.receiver import receiver
from tests.ports import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_no_proxy_hears_what_goes_to_this_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with ProviderClient() as client:
            await client.exchange("POST", "http://elsewhere.example/", content=b"{}")
            assert len(proxy.attempts) == 1, "it is the proxy of the environment"
            with pytest.raises(NoAnswer, match="cannot be connected to"):
                await client.exchange("POST", f"http://{host}:{free_port()}/", content=b"{}")
        assert len(proxy.attempts) == 1
