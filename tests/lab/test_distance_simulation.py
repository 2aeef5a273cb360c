"""The simulation of the distance of few images: its populations, and that it goes on."""

import numpy as np
import pytest
from lab.distance_populations import KINDS, SHIFTS, population
from lab.distance_simulation import DistanceSimulation, simulate_distances
from lab.statistics_simulation import true_distance


@pytest.mark.parametrize("kind", KINDS)
def test_areas_of_a_population_sum_to_the_image(kind: str) -> None:
    for shift in SHIFTS:
        table = population(kind, 12, shift, rows=200, seed=0)
        np.testing.assert_allclose(table.percent.sum(axis=1), 100.0, rtol=1e-5)  # float32


def test_a_collapsed_population_is_at_a_quarter_of_the_variance() -> None:
    real, collapsed = (population("heavy", 12, s, rows=500, seed=0) for s in ("null", "collapsed"))
    # means equal and Σ_g = Σ_t / 4: the distance is tr Σ_t (1 − ½)²
    assert true_distance(real, collapsed) == pytest.approx(np.trace(real.covariance) / 4, rel=1e-3)


def test_a_stopped_run_goes_on_and_the_table_has_a_row_a_cell(tmp_path) -> None:
    def task(draws: int) -> DistanceSimulation:
        return DistanceSimulation(
            out=tmp_path,
            draws=(draws,),
            dear_draws=(draws,),
            classes=(8,),
            sizes=((20, 20), (20, 30)),
            kinds=("light",),
            permutations=5,
            splits=2,
            rows=200,
        )

    def draws() -> list[str]:
        return (tmp_path / "few.jsonl").read_text().splitlines()

    simulate_distances(task(1), say=lambda _: None)
    first = draws()
    table = simulate_distances(task(2), say=lambda _: None)[-1].read_text()
    assert draws()[: len(first)] == first
    assert len(draws()) == 2 * len(first) == 2 * 2 * len(SHIFTS)
    assert table.count("| light | 8 | 20 |") == 2
