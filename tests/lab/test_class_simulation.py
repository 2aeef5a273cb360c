"""The simulation of class verdicts: its populations, its corrections, and that it ends."""

from pathlib import Path

import numpy as np
import pytest
from lab.class_simulation import (
    ClassSimulation,
    _three_corrections,
    correlations,
    draw_presences,
    presences,
    simulate_classes,
)


def test_presences_in_groups_have_the_correlation_asked_for() -> None:
    rng = np.random.default_rng(0)
    held = draw_presences(rng, presences(), correlations("0.3"), 4000, 2)
    pairs = held.reshape(4000, 2, -1)[:, :, :10].astype(float)
    found = [np.corrcoef(pairs[:, 0, k], pairs[:, 1, k])[0, 1] for k in range(10)]
    # standard error of a correlation of 4,000 pairs is 0.015, of ten classes 0.005
    assert np.mean(found) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(held.mean(axis=0)[:10], presences()[:10], atol=0.02)


def test_a_class_that_is_gone_is_called_by_all_three_corrections() -> None:
    rng = np.random.default_rng(0)
    real, generated = (rng.random((200, 4)) < 0.4 for _ in range(2))
    generated[:, 2] = False
    for called in _three_corrections(rng, real, generated):
        assert called[2]


def test_the_tables_are_written_once(tmp_path: Path) -> None:
    task = ClassSimulation(out=tmp_path, draws=1, tables=("sizes",))
    said: list[str] = []
    (path,) = simulate_classes(task, say=said.append)
    assert path.read_text().count("\n") == 16  # a heading and fifteen designs
    assert simulate_classes(task, say=said.append) == [path]
    assert len(said) == 15
