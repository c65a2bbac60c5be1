"""What several of these tests begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.plugins.worldid.deployment import PORTAL_SECONDS, Browser, deployed
from tests.plugins.worldid.scene import Scene


@pytest.fixture
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """People and a deployment, whose time-out for the portal a test may give as the fixture's parameter."""
    async with deployed(timeout=getattr(request, "param", PORTAL_SECONDS)) as deployment, deployment.server() as server:
        ada, mallory = Browser(deployment, server), Browser(deployment, server)
        code = await ada.member("ada")
        [user_id] = deployment.accounts.users
        yield Scene(deployment, ada, user_id, code, mallory)
