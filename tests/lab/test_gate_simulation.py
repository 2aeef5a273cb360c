"""The simulation of the gate: its parts run, continue, and end in the tables of the docs."""

from pathlib import Path

import lab.gate_simulation as module
import pytest
from lab.gate_simulation import GateSimulation, _Asked, simulate_gate


def test_a_stopped_simulation_continues_and_writes_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ABSENT", (_Asked("omitted", 90, (300, 300), 4.0),))
    monkeypatch.setattr(module, "_PLANTED", (_Asked("under", 80, (300, 300), 20.0, second=True),))
    for draws in (1, 2):
        task = GateSimulation(tmp_path, draws=draws, months=draws, nights=2)
        tables = simulate_gate(task, say=lambda _: None)
    text = tables[-1].read_text()
    assert "| omitted | presence>=4%,drop<=90% | 0 % | 2 | 0 |" in text  # never status 0
    assert "| --history | 2 |" in text
    assert "| under, two segmenters | 300, 300 | 80 % | 22 % | 2 |" in text
