"""The simulation of pairs: its populations, and that it ends."""

from pathlib import Path

import numpy as np
import pytest
from lab.pair_simulation import PairSimulation, draw_pairs, simulate_pairs


def test_pairs_have_the_shares_asked_for() -> None:
    rng = np.random.default_rng(0)
    real, generated, captions = draw_pairs(rng, {1: 4000, 5: 4000}, "0.2")
    assert np.bincount(np.bincount(captions)).tolist() == [0, 4000, 0, 0, 0, 4000]
    # first kind: kept 0.02 of the photographs that hold it, held by 0.05 of them
    for k, kept, held in ((0, 0.02, 0.05), (1, 0.02, 0.4), (4, 0.6, 0.05), (7, 0.95, 0.4)):
        assert real[:, k].mean() == pytest.approx(held, abs=0.01)
        # 4,000 captions: three standard errors of the rarest are 0.06
        assert generated[real[:, k], k].mean() == pytest.approx(kept, abs=0.06)
        assert generated[~real[:, k], k].mean() == pytest.approx(0.02, abs=0.005)


def test_the_tables_are_written_once(tmp_path: Path) -> None:
    said: list[str] = []
    paths = simulate_pairs(PairSimulation(out=tmp_path, draws=1), say=said.append)
    assert [path.name for path in paths] == ["pairs.csv", "pair-changes.csv"]
    rules = 8 * (2 + 3 * 4)
    assert len(said) == rules + 2 * (2 + 3 * 2)
    assert simulate_pairs(PairSimulation(out=tmp_path, draws=1), say=said.append) == paths
    assert len(said) == rules + 16
