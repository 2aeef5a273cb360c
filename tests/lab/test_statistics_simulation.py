"""The simulation of the statistics: its populations' truth, and that it continues where it was."""

from pathlib import Path

import numpy as np
import pytest
from lab.statistics_simulation import Gradient, Population, Simulation, simulate, true_distance

from unseen.statistics import frechet_distance


@pytest.fixture(scope="module")
def pair() -> tuple[Population, Population]:
    return Population(rows=700, seed=0), Population(rows=700, seed=0, shift=0.5)


def test_a_population_knows_its_own_moments(pair: tuple[Population, Population]) -> None:
    for population in pair:
        table = population.percent.astype(np.float64)
        np.testing.assert_allclose(table.sum(axis=1), 100.0, rtol=1e-5)  # float32 areas
        np.testing.assert_allclose(population.covariance, np.cov(table.T, ddof=0), atol=1e-9)


def test_the_true_distance_is_that_between_whole_populations(
    pair: tuple[Population, Population],
) -> None:
    # ddof 1 against 0 changes variances by 1 / 700, and a distance by about as much
    whole = frechet_distance(*(population.percent.astype(np.float64) for population in pair))
    assert true_distance(*pair) == pytest.approx(whole.value, rel=0.01)
    # roots of rounding in eigenvalues of 1e5 percent⁴, some dozens of them
    assert true_distance(pair[0], pair[0]) == pytest.approx(0.0, abs=1e-2)


def test_an_absent_class_is_absent_and_nothing_else_moves() -> None:
    population = Population(rows=300, seed=0, absent=7)
    whole = Population(rows=300, seed=0)
    without = whole.percent[:, 7] == 0
    assert population.mean[7] == 0.0 < whole.mean[7]
    np.testing.assert_array_equal(population.percent[without], whole.percent[without])


def test_the_first_order_error_predicts_a_small_change_of_the_distance(
    pair: tuple[Population, Population],
) -> None:
    real, generated = pair
    # A sample in which 20 of 20 × 700 images are replaced: second-order parts are far below 10 %.
    rows = np.tile(real.percent.astype(np.float64), (20, 1))
    moved = rows.copy()
    moved[:20] = rows[40:60]
    other = np.tile(generated.percent.astype(np.float64), (20, 1))
    gradient = Gradient(real, generated)
    predicted = gradient.error(moved, other) - gradient.error(rows, other)
    found = frechet_distance(moved, other).value - frechet_distance(rows, other).value
    assert found == pytest.approx(predicted, rel=0.1)


def test_a_stopped_simulation_continues_and_ends_in_the_same_draws(tmp_path: Path) -> None:
    def task(out: str, draws: int) -> Simulation:
        return Simulation(
            out=tmp_path / out,
            draws=draws,
            class_draws=draws,
            sizes=(30,),
            shifts=("null", "1"),
            class_designs=((60, 50),),
            permutations=5,
            splits=2,
            rows=300,
        )

    def numbers(out: str) -> list[str]:
        # what a draw found, without the seconds it took
        lines = (tmp_path / out / "distance.jsonl").read_text().splitlines()
        return [line.split('"seconds"')[0] for line in lines]

    simulate(task("stopped", 1), say=lambda _: None)
    with (tmp_path / "stopped" / "distance.jsonl").open("a") as file:
        file.write('{"n": 30, "shift": "nu')  # killed in the middle of a line
    tables = simulate(task("stopped", 2), say=lambda _: None)
    simulate(task("whole", 2), say=lambda _: None)
    assert sorted(numbers("stopped")) == sorted(numbers("whole"))
    assert [table.name for table in tables] == [
        "distance.csv",
        "false_alarms.csv",
        "detection.csv",
        "speed.csv",
        "tables.md",
    ]
    assert "| 30 | null | 2 |" in tables[-1].read_text()
