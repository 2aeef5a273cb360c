import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unseen.statistics.instances import became, find_instances, retention
from unseen.statistics.label_layers import (
    NOTHING,
    covers,
    deepened,
    layered,
    on_top,
    pixels_of_classes,
)

SEEDS = st.integers(0, 1000)


def random_masks(seed):
    rng = np.random.default_rng(seed)
    return rng.random((2, rng.integers(1, 6), 3, 4)) < rng.random()


@given(SEEDS)
def test_layers_hold_the_masks_and_nothing_else(seed):
    masks = random_masks(seed)
    for image, of_image in zip(layered(masks), masks, strict=True):
        for label, mask in enumerate(of_image):
            np.testing.assert_array_equal(covers(image, label), mask)
        counts = pixels_of_classes(image, len(of_image))
        np.testing.assert_array_equal(counts, of_image.sum(axis=(1, 2)))


@given(SEEDS)
def test_there_are_as_many_layers_as_the_pixel_with_most_classes_needs(seed):
    masks = random_masks(seed)
    assert layered(masks).shape[1] == max(1, masks.sum(axis=1).max())


def test_masks_that_do_not_overlap_are_one_label_map():
    label_map = np.random.default_rng(0).integers(0, 3, (2, 5, 4))
    masks = label_map[:, None] == np.arange(3)[:, None, None]
    np.testing.assert_array_equal(layered(masks), label_map[:, None])
    np.testing.assert_array_equal(on_top(label_map[0]), label_map[0])


def test_added_layers_hold_nothing():
    layers = layered(np.ones((1, 2, 3, 3), bool))
    deeper = deepened(layers, 4)
    np.testing.assert_array_equal(deeper[:, :2], layers)
    assert (deeper[:, 2:] == NOTHING).all()


def test_the_class_with_the_fewest_pixels_is_on_top():
    meadow, horse, rider = np.ones((4, 4), bool), np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    horse[1:4, 1:4], rider[1, 1:3], meadow[0, 0] = True, True, False
    shown = on_top(layered(np.stack([rider, meadow, horse])[None])[0])
    assert shown[0].tolist() == [NOTHING, 1, 1, 1]
    assert shown[1].tolist() == [1, 0, 0, 2]


def test_an_instance_that_another_class_covers_too_is_whole():
    horse, rider = np.zeros((2, 10, 10), bool)
    horse[2:8, 2:8], rider[3:6, 4:6] = True, True
    layers = layered(np.stack([horse, rider])[None])[0]
    assert [(r.label, r.pixels) for r in find_instances(layers)] == [(0, 36), (1, 6)]
    region = find_instances(layers)[1]
    rebuilt = layered(np.stack([horse, np.zeros_like(rider)])[None])[0]
    assert (retention(region, layers), retention(region, rebuilt)) == (1, 0)
    assert became(region, rebuilt) == {0: 1}  # the horse covers all of it
    assert became(region, layered(np.zeros((1, 2, 10, 10), bool))[0]) == {}  # nothing does
