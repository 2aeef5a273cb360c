"""Thresholds from labelled images, with a tiny random network of open vocabulary."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("transformers")

from tests.support.open_models import SIDE, save

import unseen
from unseen.core.errors import ImageError, SampleError, SegmenterError, SpecError
from unseen.distribution.open_thresholds import ThresholdTask, find_thresholds
from unseen.segmenters.open_classes import read_classes

IMAGES = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Images of two sides; those with an odd number are said to hold a cat."""
    root = tmp_path_factory.mktemp("labelled")
    save("clipseg", root / "clipseg")
    rng = np.random.default_rng(0)
    lines = ["class,side,name,label"]
    for side in ("real", "generated"):
        (root / side).mkdir()
        for i in range(2 * IMAGES):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / side / f"{i:03d}.png")
            lines.append(f"cat,{side},{i:03d}.png,{'yn'[i % 2 == 0]}")
    lines.append("dog,real,000.png,?")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def task(world, **changes):
    settings = {
        "real": str(world / "real"),
        "generated": [str(world / "generated")],
        "segmenter": f"open:clipseg:{world / 'clipseg'}",
        "open_classes": "cat,dog",
        "labels": world / "labels.csv",
        "out": world / "classes.csv",
    }
    return ThresholdTask(**{**settings, **changes})


def test_at_most_two_percent_without_the_class_are_called_on_both_sides(world):
    (cat,) = find_thresholds(task(world))
    assert [of for _, of in cat.absent] == [of for _, of in cat.present] == [IMAGES] * 2
    assert max(called for called, _ in cat.absent) == 0  # ⌈61 · 0.98⌉ is 60: the largest
    known, other = read_classes(str(world / "classes.csv"))
    assert known.threshold == pytest.approx(cat.threshold, rel=1e-5)
    assert other.threshold == 0.5  # nobody labelled a dog
    spec = f"open:clipseg:{world / 'clipseg'}?classes={world / 'classes.csv'}"
    areas = unseen.segment(world / "real", spec, workers=0)
    present = areas.fraction[:, 0] >= 0.005
    assert present[::2].mean() <= 0.02
    assert int(present[1::2].sum()) == cat.present[0][0]


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"segmenter": "churchyard", "open_classes": None}, SegmenterError, "churchyard"),
        ({"most": 0.001}, SampleError, "999"),
        ({"generated": ()}, SpecError, "generated"),
        ({"real": "generated"}, ImageError, None),
    ],
)
def test_labels_that_do_not_fit_are_refused(world, tmp_path, changes, error, named):
    if "real" in changes:
        (tmp_path / "one").mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / "one" / "other.png")
        changes = {"real": str(tmp_path / "one")}
        named = "000.png"
    with pytest.raises(error, match=named):
        find_thresholds(task(world, **changes))
