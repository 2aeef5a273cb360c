"""The simulation of audits: its sides have the rates that a condition states."""

import numpy as np
import pytest
from lab.audit_simulation import AuditSimulation, _Condition, _side, simulate_audits

CONDITION = _Condition("a half", 0.3, 0.5, (0.9, 0.6), (0.0, 0.05), 100, 20_000)


def test_sides_have_the_rates_of_the_condition():
    random = np.random.default_rng(0)
    for side, presence in ((0, 0.3), (1, 0.15)):
        sample = _side(random, CONDITION, side, 0.3, None)
        seen = presence * CONDITION.sensitivity[side]
        seen += (1 - presence) * CONDITION.false_alarms[side]
        # 20,000 images know a share to 0.004 (one standard deviation)
        assert sample.called.mean() == pytest.approx(seen, abs=0.014)
        assert sample.labelled.sum() == 100


def test_a_table_has_a_row_a_condition(tmp_path, monkeypatch):
    monkeypatch.setattr("lab.audit_simulation._CONDITIONS", (CONDITION,))
    (path,) = simulate_audits(AuditSimulation(out=tmp_path, draws=2, scenes=1), say=lambda _: None)
    assert len(path.read_text().splitlines()) == 2
