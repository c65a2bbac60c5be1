"""A short run of the stage `attacks`: each attack reaches the server, and the reference clients are measured."""

from __future__ import annotations

import pytest

from tests.chaos.attack_impact import SHORT, STAGES, Stage, measure_stage, pause_row

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.attack)
async def test_an_attack_is_measured_beside_an_undisturbed_run(stage: Stage) -> None:
    name, undisturbed, under, _, _, about = await measure_stage(stage, SHORT)
    assert name == stage.name
    for delays in (undisturbed, under):
        p50, p99 = map(float, delays.split(", "))
        assert 0 < p50 <= p99
    counted = dict(part.rsplit(": ", 1) for part in about.rpartition("; ")[2].split(", ") if ": " in part)
    assert any(int(count.replace(",", "")) > 0 for name, count in counted.items() if name != "refused"), about


async def test_a_pause_of_redis_is_measured() -> None:
    assert (await pause_row())[-1] == "0 of 16 members ended with 4413; 5,120 of 5,120 deliveries"
