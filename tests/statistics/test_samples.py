"""Wrong input at the doors of the statistics: one line, and never a NaN in a result."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics import (
    compare_classes,
    compare_generators,
    frechet_distance,
    frechet_inference,
    frechet_shares,
    self_halves,
    smallest_detectable_drop,
)
from unseen.statistics.correlations import correlations
from unseen.statistics.differences import mean_difference
from unseen.statistics.retention import Instances
from unseen.statistics.samples import check_array, check_samples

HALVES = np.full((4, 2), 0.5)
TWO_SIDED = (
    frechet_distance,
    frechet_shares,
    frechet_inference,
    compare_classes,
    lambda real, generated: compare_generators(real, HALVES, generated),
)


@pytest.mark.parametrize(
    ("values", "axes"),
    [
        ([[1.0], [2.0, 3.0]], 2),
        ([["sky"]], 2),
        (np.full((2, 2), 1j), 2),
        (np.zeros(3), 2),
        (np.zeros((2, 2, 2)), 2),
        (np.zeros((2, 2)), 1),
        ([[np.nan, 0.0]], 2),
        ([[np.inf, 0.0]], 2),
        (None, 2),
    ],
)
def test_what_is_no_array_of_finite_numbers_is_refused(values: Any, axes: int) -> None:
    with pytest.raises(SampleError) as caught:
        check_array(values, "the areas", axes=axes)
    assert "the areas" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_and_whole_numbers_are_arrays_like_any_other() -> None:
    real, generated = check_samples([[1, 2], [3, 4]], ((0, 1), (1, 0)))
    assert real.dtype == generated.dtype == np.float64
    assert real.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("statistic", TWO_SIDED)
@pytest.mark.parametrize(
    "generated",
    [
        np.zeros((0, 2)),
        np.full((1, 2), 0.5),
        np.where(np.eye(4, 2) > 0, np.nan, 0.5),
    ],
    ids=["empty", "one row", "NaN"],
)
def test_samples_without_two_covariances_are_refused(statistic: Any, generated: np.ndarray) -> None:
    with pytest.raises(SampleError, match="generated"):
        statistic(HALVES, generated)


@pytest.mark.parametrize("classes", [0, 3])
def test_both_sides_need_the_same_classes(classes: int) -> None:
    with pytest.raises(SampleError, match=f"2 classes and generated {classes}"):
        check_samples(HALVES, np.zeros((4, classes)))
    with pytest.raises(SampleError, match="at least one"):
        check_samples(np.zeros((4, 0)), np.zeros((4, 0)))


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        (frechet_inference, -1.0),
        (frechet_inference, 101.0),
        (compare_classes, -0.1),
        (compare_classes, 1.1),
        (TWO_SIDED[-1], -0.1),
        (TWO_SIDED[-1], 50.0),
    ],
)
def test_areas_outside_of_the_image_are_refused(statistic: Any, value: float) -> None:
    with pytest.raises(SampleError, match=f"{value:g}"):
        statistic(HALVES, np.where(np.eye(4, 2) > 0, value, 0.5))


@pytest.mark.parametrize(
    "numbers",
    [{"permutations": 1}, {"splits": 0}, {"seed": -1}, {"level": 1.0}, {"level": float("nan")}],
)
def test_numbers_of_the_inference_have_a_range(numbers: dict[str, Any]) -> None:
    with pytest.raises(SampleError, match=next(iter(numbers))):
        frechet_inference(HALVES, HALVES, **numbers)


@pytest.mark.parametrize("numbers", [{"presence_threshold": 50.0}, {"level": 95.0}])
def test_a_percentage_is_no_threshold_and_no_level(numbers: dict[str, float]) -> None:
    with pytest.raises(SampleError, match=next(iter(numbers))):
        compare_classes(HALVES, HALVES, **numbers)


@pytest.mark.parametrize(
    "numbers", [{"presence": 2.0}, {"n": 0}, {"m": 0}, {"tests": 0}, {"power": 1.5}]
)
def test_a_plan_needs_numbers_in_range(numbers: dict[str, Any]) -> None:
    with pytest.raises(SampleError, match=next(iter(numbers))):
        smallest_detectable_drop(**{"presence": 0.1, "n": 100, "m": 100, **numbers})


def test_halves_need_four_images_and_a_seed() -> None:
    with pytest.raises(SampleError, match="3 images"):
        self_halves(3)
    with pytest.raises(SampleError, match="seed"):
        self_halves(8, seed=-1)


def test_pairs_of_samples_have_one_shape_and_finite_values() -> None:
    with pytest.raises(SampleError, match=r"\(3, 2\)"):
        correlations(np.zeros((3, 2)), np.zeros((3, 4)))
    with pytest.raises(SampleError, match="recovered"):
        correlations(np.zeros((3, 2)), np.full((3, 2), np.nan))
    with pytest.raises(SampleError, match="second"):
        mean_difference(np.zeros(3), np.array([0.0, np.inf]))


def test_instances_have_an_entry_an_instance_and_an_area() -> None:
    columns = {
        "images": np.arange(2),
        "area": np.full(2, 0.1),
        "perimeter_ratio": np.ones(2),
        "contrast": np.zeros(2),
        "retention": {"f": np.ones(2)},
    }
    assert len(Instances(**columns)) == 2
    for name, wrong in (
        ("area", np.zeros(2)),
        ("contrast", np.full(2, np.nan)),
    ):
        with pytest.raises(SampleError):
            Instances(**{**columns, name: wrong})


def test_a_wrong_shape_is_a_sample_error_where_shapes_are_not_checked_by_annotation() -> None:
    """The tests check annotations at run time; a user's process does not."""
    code = (
        "import numpy as np, unseen\n"
        "from unseen.core.errors import SampleError\n"
        "for wrong in (np.zeros(3), [[1.0], [2.0, 3.0]], 'sky', np.zeros((2, 2, 2))):\n"
        "    try:\n"
        "        unseen.statistics.frechet_distance(wrong, np.zeros((3, 2)))\n"
        "    except SampleError as error:\n"
        "        print('real' in str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n" * 4
