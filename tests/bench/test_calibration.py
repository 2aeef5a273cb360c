import dataclasses

import numpy as np
import pytest
from tests.support.planted_scenes import (
    COLUMNS,
    OF_PERSONS,
    PIXELS,
    assert_removals_are_found,
    scenes_with_persons,
)

from unseen.bench.calibration import (
    Calibration,
    Pool,
    calibrate,
    filtered_pool,
    write_calibration,
)
from unseen.bench.calibration_report import Cell, calibration_table, pooled
from unseen.core.errors import SampleError
from unseen.segmenters import load_segmenter


def _world(share: float = 0.25) -> Pool:
    pixels = scenes_with_persons(share=share)
    return Pool(COLUMNS, pixels, PIXELS, present={"person": pixels[:, 2] > 0})


TASK = Calibration(images="churchyard?seed=90210", **OF_PERSONS)


def test_a_class_wholly_gone_is_found_and_more_images_find_half_of_it_more_often():
    cells = calibrate(TASK, _world())
    assert_removals_are_found(cells)
    null = [c for c in cells if c.removal == 0]
    assert [c.repetitions for c in null] == [20, 20]
    assert sum(c.false_alarms or 0 for c in null) <= 6  # 5 % of 40 is 2; P(> 6) is below 0.5 %


def test_no_cell_depends_on_which_other_cells_are_made():
    alone = dataclasses.replace(TASK, removals=(0.5,), counts=(1000,))
    assert calibrate(alone, _world())[-1] == calibrate(TASK, _world())[-1]


def test_a_class_rarer_than_the_presence_asked_for_is_left_out_and_said_so():
    said = []
    cells = calibrate(dataclasses.replace(TASK, presences=(0.9,)), _world(), said.append)
    assert all(cell.removal == 0 for cell in cells)
    assert any("person is in fewer than 90.0% of the pool: left out" in line for line in said)


def test_filtered_images_score_detection_only():
    cells = calibrate(dataclasses.replace(TASK, removals=(1.0,), counts=(1000,)), _world())
    planted = cells[-1]
    assert planted.false_alarms is None
    assert planted.detected == planted.repetitions


def test_a_pool_too_small_for_two_sides_is_refused():
    with pytest.raises(SampleError, match="give at least 10000"):
        dataclasses.replace(TASK, pool=5000, counts=(5000,))


def test_a_side_is_never_smaller_than_asked_for():
    rng = np.random.default_rng(0)
    with pytest.raises(SampleError, match="with person"):  # 1,000 of 4,000 hold it
        _world().plant(rng, "person", 0.5, 0.1, 1500)
    with pytest.raises(SampleError, match="without person"):  # 400 of 4,000 do not
        _world(share=0.9).plant(rng, "person", 0.05, 0.5, 1000)


def test_tables_pool_the_classes_and_show_rates_with_intervals(tmp_path):
    def cell(name: str, detected: int) -> Cell:
        return Cell(
            class_name=name,
            presence=0.01,
            removal=1.0,
            count=500,
            repetitions=10,
            detected=detected,
            omitted=0,
            false_alarms=1,
        )

    null = Cell(
        class_name="",
        presence=0.0,
        removal=0.0,
        count=500,
        repetitions=100,
        detected=0,
        omitted=0,
        false_alarms=5,
    )
    cells = [null, cell("person", 4), cell("car", 6)]
    (both,) = pooled(cells[1:])
    assert (both.detected, both.repetitions, both.false_alarms) == (10, 20, 2)
    table = calibration_table(cells)
    assert "| 500 | 100 | 5 | 5% (2%–11%) |" in table  # Wilson, computed by hand
    assert "| 1.0% | 100% | 50% (30%–70%) |" in table
    assert "in 2 of 20 planted runs" in table
    written = list(write_calibration(tmp_path, cells))
    assert {path.name for path in written} == {
        "calibration.csv",
        "calibration.md",
        "calibration.svg",
        "calibration.png",
    }
    assert all(path.stat().st_size > 100 for path in written)


class _Halves:
    """A segmenter of two classes by brightness, as anyone might bring."""

    channels = {"object": ("dark", "bright")}  # noqa: RUF012
    resolution = 16
    provenance = {"spec": "test"}  # noqa: RUF012

    def label_maps(self, images, channel="object"):
        return (images.mean(axis=1) > 127).astype(np.int64)


def test_any_set_of_images_can_be_filtered(tmp_path):
    rng = np.random.default_rng(0)
    images = np.where(rng.random((60, 1, 1, 1)) < 0.3, 255, 0) * np.ones((60, 16, 16, 3))
    np.savez(tmp_path / "images.npz", images.astype(np.uint8))
    task = dataclasses.replace(
        TASK, images=str(tmp_path / "images.npz"), classes=("bright",), counts=(20,), out=tmp_path
    )
    pool = filtered_pool(task, _Halves())
    assert pool.present["bright"].sum() == (images[:, 0, 0, 0] == 255).sum()
    with pytest.raises(SampleError, match="has 60 images; two disjoint sides of 50 need 100"):
        filtered_pool(dataclasses.replace(task, counts=(50,)), _Halves())
    with pytest.raises(SampleError, match="no class 'cat'"):
        filtered_pool(dataclasses.replace(task, classes=("cat",)), _Halves())


def test_endless_images_give_as_many_as_the_pool(tmp_path):
    task = dataclasses.replace(TASK, classes=("car",), counts=(10,), pool=20, out=tmp_path)
    pool = filtered_pool(task, load_segmenter("churchyard"))
    assert len(pool.pixels) == 20
