"""The simulation of generator against generator: its worlds' truth, and that it continues."""

from pathlib import Path

import lab.generator_change_simulation as module
import numpy as np
import pytest
from lab.generator_change_simulation import ChangeSimulation, _Design, _World, simulate_changes

SMALL = _Design("small", (200, 150, 100), 12, (0.02, 0.6), factor=1.5)


def test_presences_are_those_of_the_world() -> None:
    world, rng = _World(SMALL, 0), np.random.default_rng(0)
    images = world.images(world.hidden(20_000, rng), world.real, rng)
    seen = (images >= 0.005).mean(axis=0)
    assert seen[0] == 1.0
    # four standard errors of a half in 20,000
    np.testing.assert_allclose(seen[1:], world.real, atol=0.015)
    assert images[:, 0].mean() == pytest.approx(0.2, rel=0.01)


def test_a_stopped_simulation_continues_with_the_same_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DESIGNS", (SMALL,))
    simulate_changes(ChangeSimulation(tmp_path / "stopped", draws=1), say=lambda _: None)
    tables = simulate_changes(ChangeSimulation(tmp_path / "stopped", draws=2), say=lambda _: None)
    simulate_changes(ChangeSimulation(tmp_path / "whole", draws=2), say=lambda _: None)
    draws = [(tmp_path / out / "changes.jsonl").read_text() for out in ("stopped", "whole")]
    assert draws[0] == draws[1]
    assert "| small | 200, 150, 100 | 12 | 2 |" in tables[-1].read_text()
