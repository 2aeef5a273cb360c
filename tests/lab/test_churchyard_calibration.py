"""Calibration on scenes that are rendered again: nothing but the planted class changes."""

import dataclasses

import numpy as np
import pytest
from lab.churchyard_calibration import (
    ChurchyardCalibration,
    RenderedPool,
    calibrate_churchyard,
    rendered_pool,
)
from tests.support.planted_scenes import (
    COLUMNS,
    OF_PERSONS,
    PIXELS,
    assert_removals_are_found,
    scenes_with_persons,
)

from unseen.bench.calibration import calibrate
from unseen.core.errors import SpecError
from unseen.segmenters import load_segmenter


def _world() -> RenderedPool:
    pixels = scenes_with_persons()
    holding = np.flatnonzero(pixels[:, 2])
    without = pixels[holding].copy()
    without[:, 0] += without[:, 2]
    without[:, 2] = 0
    return RenderedPool(
        COLUMNS,
        pixels,
        PIXELS,
        present={"person": pixels[:, 2] > 0},
        holding={"person": holding},
        without={"person": without},
    )


TASK = ChurchyardCalibration(**OF_PERSONS)


def test_a_class_wholly_gone_is_found_and_more_images_find_half_of_it_more_often():
    cells = calibrate(TASK, _world())
    assert_removals_are_found(cells)
    assert all(cell.false_alarms is not None for cell in cells)


def test_removing_a_class_leaves_every_other_scene_and_class_alone():
    world = _world()
    rng = np.random.default_rng(0)
    real, generated = world.plant(rng, "person", 0.25, 1.0, 1000)
    assert (real[:, 2] > 0).mean() == pytest.approx(0.25, abs=0.05)  # four standard errors
    assert (generated[:, 2] == 0).all()
    assert (generated.sum(axis=1) == PIXELS).all()


def test_the_churchyard_is_calibrated_in_its_folder(tmp_path):
    task = dataclasses.replace(
        TASK, out=tmp_path, counts=(20,), pool=60, repetitions=2, null_repetitions=2
    )
    written = {path.name for path in calibrate_churchyard(task)}
    assert written >= {"calibration.csv", "calibration.md", "calibration.png"}


@pytest.mark.parametrize("name", ["unicorn", "sky"])
def test_a_class_that_cannot_be_left_out_is_refused_before_anything_is_segmented(name):
    task = dataclasses.replace(TASK, classes=(name,))
    with pytest.raises(SpecError, match=name):
        rendered_pool(task, load_segmenter("churchyard"), lambda _: None)
