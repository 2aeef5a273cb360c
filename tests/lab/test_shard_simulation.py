"""The simulation of shards on many workers, against cases that are known in closed form."""

import numpy as np
import pytest
from lab.shard_simulation import ShardSimulation, one_run, simulate_shards

EXACT = {"images": 1000, "rate": 10.0, "spread": 0.0, "slow": 0.0, "hours": 1e6, "start": 5.0}


@pytest.mark.parametrize(
    ("size", "workers", "seconds"),
    # 10 shards of 10 s on 4 workers: three rounds; 1 shard of 100 s; 1,000 of 0.1 s, evenly
    [(100, 4, 30), (1000, 4, 100), (1, 4, 25)],
)
def test_without_failures_it_is_rounds_of_shards(size: int, workers: int, seconds: float) -> None:
    end, lost, failures = one_run(ShardSimulation(**EXACT), size, workers, np.random.default_rng(0))
    assert end == pytest.approx(seconds + 5.0)
    assert (lost, failures) == (0.0, 0)


def test_failures_cost_their_starts_and_what_was_not_kept() -> None:
    task = ShardSimulation(**{**EXACT, "images": 100_000, "hours": 0.05})
    end, lost, failures = one_run(task, 1000, 2, np.random.default_rng(0))
    # 10,000 s of work by two workers, one failure in 180 s of it: about 55, each 15 s at most
    assert 30 < failures < 90
    assert lost <= failures * 15.0
    assert end >= 5000
    assert end == pytest.approx((10_000 + lost) / 2, rel=0.05)


def test_the_table_has_a_row_for_every_case() -> None:
    task = ShardSimulation(images=5000, workers=(1, 2), shards=(100, 500), repeats=2)
    assert simulate_shards(task, say=lambda _: None).count("\n") >= 5
