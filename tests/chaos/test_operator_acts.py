"""A short run of the stage `operator`: every act is carried out, and nobody loses a message by it."""

from __future__ import annotations

import pytest

from tests.chaos.operator_acts import ACTS, SHORT, measure_acts

pytestmark = pytest.mark.slow


async def test_nobody_loses_a_message_by_what_an_operator_does() -> None:
    rows = await measure_acts(SHORT)
    assert [name for name, *_ in rows] == list(ACTS)
    for name, *delays, lost, _, _ in rows:
        assert lost == "0", name
        for p50, p99 in (map(float, both.split(", ")) for both in delays):
            assert 0 < p50 <= p99, name
    banned, restored, drained, rotated = rows
    sent_away = [int(row[-2]) for row in rows]
    assert sent_away[:3] == [0, 0, 0], "only a restart of their own server ends connections"
    assert sent_away[3] >= SHORT.rooms * SHORT.members
    assert banned[-1] == f"{SHORT.bystanders} of {SHORT.bystanders} banned people were closed with 4403"
    accounts = SHORT.rooms * SHORT.members + SHORT.bystanders
    assert restored[-1] == f"{accounts} of {accounts} accounts restored into a new database"
    assert drained[-1] == f"{SHORT.bystanders} of {SHORT.bystanders} people there were sent away with 1001"
    assert rotated[-1].startswith("two restarts of both servers")
