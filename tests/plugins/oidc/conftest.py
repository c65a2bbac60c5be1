"""What these tests begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.plugins.oidc.local_issuer import LocalIssuer, local_issuer


@pytest.fixture
async def issuer() -> AsyncIterator[LocalIssuer]:
    async with local_issuer() as running:
        yield running
