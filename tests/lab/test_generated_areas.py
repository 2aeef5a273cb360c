"""Areas of random numbers: files that the package compares."""

import numpy as np
from lab.generated_areas import GeneratedAreas, write_generated_areas

from unseen.distribution.areas_file import check_comparable, read_areas


def test_the_files_can_be_compared_and_ten_classes_are_rarer_in_one(tmp_path) -> None:
    paths = write_generated_areas(GeneratedAreas(out=tmp_path, images=3000, classes=40))
    real, generated = (read_areas(path) for path in paths)
    check_comparable(real, generated)
    assert (real.pixels.sum(axis=1) == real.label_map_pixels).all()
    presence = [np.mean(side.pixels[:, 20:30] > 0) for side in (real, generated)]
    # 30,000 draws of presences about 0.08 and 0.04: a standard error of 2 %
    assert 0.44 < presence[1] / presence[0] < 0.56
