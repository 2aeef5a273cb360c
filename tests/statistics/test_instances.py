import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unseen.core.errors import SampleError
from unseen.statistics.instances import (
    became,
    choose_photographs,
    contrast,
    find_instances,
    intersection_over_union,
    loss_shares,
    perimeter_ratio,
    retention,
)

LABEL_MAPS = arrays.arrays(np.int64, (9, 7), elements=st.integers(0, 2))


def world(*boxes, side=10):
    """A label map of zeros with boxes (label, top, left, bottom, right)."""
    label_map = np.zeros((side, side), np.int64)
    for label, top, left, bottom, right in boxes:
        label_map[top:bottom, left:right] = label
    return label_map


def only(label_map, label=1):
    (region,) = [one for one in find_instances(label_map) if one.label == label]
    return region


def test_pixels_that_touch_at_a_corner_are_one_instance():
    label_map = world((1, 0, 0, 2, 2), (1, 2, 2, 4, 4))
    assert only(label_map).box == (0, 0, 4, 4)
    assert only(label_map).pixels == 8


def test_a_gap_of_one_pixel_parts_two_instances():
    found = find_instances(world((1, 0, 0, 2, 2), (1, 0, 3, 2, 5)))
    assert [one.box for one in found if one.label == 1] == [(0, 0, 2, 2), (0, 3, 2, 5)]


def test_an_instance_covers_the_least_area_exactly_or_more():
    label_map = world((1, 0, 0, 1, 4), (2, 5, 5, 6, 8))  # 4 and 3 of 100 pixels
    assert [one.label for one in find_instances(label_map, least_area=0.04)] == [0, 1]


def test_negative_labels_are_nothing():
    assert find_instances(np.full((4, 4), -1)) == []


def test_of_a_true_instance_what_the_segmenter_sees_counts():
    truth = world((1, 0, 0, 2, 4))
    assert only_seen(truth, world((1, 0, 0, 2, 3))).pixels == 6
    assert only_seen(truth, world((1, 0, 0, 1, 3))) is None  # under half of it


def only_seen(truth, seen):
    found = [one for one in find_instances(truth, seen=seen) if one.label == 1]
    return found[0] if found else None


def test_label_maps_of_two_sizes_or_none_are_refused():
    with pytest.raises(SampleError, match="the true label map is 10×10, the segmenter's 4×4"):
        find_instances(world(), seen=np.zeros((4, 4), int))
    with pytest.raises(SampleError, match="no pixels; segment the image again"):
        find_instances(np.zeros((0, 4), int))


def test_a_square_has_perimeter_ratio_one_and_a_line_more():
    assert perimeter_ratio(only(world((1, 2, 2, 6, 6)))) == 1
    # 1 × 9 pixels: 20 sides, against 4 · 3
    assert perimeter_ratio(only(world((1, 0, 0, 1, 9)))) == pytest.approx(20 / 12)


def test_a_hole_adds_to_the_perimeter():
    label_map = world((1, 0, 0, 3, 3))
    label_map[1, 1] = 0
    assert perimeter_ratio(only(label_map)) == pytest.approx(16 / (4 * 8**0.5))


def test_contrast_is_the_difference_of_mean_colours_in_units_of_the_range():
    region = only(world((1, 4, 4, 6, 6)))
    image = np.zeros((3, 10, 10), np.uint8)
    image[:, 4:6, 4:6] = 255
    assert contrast(region, image) == 1
    image[1:, 4:6, 4:6] = 0  # one channel of three
    assert contrast(region, image) == pytest.approx(1 / 3**0.5)


def test_contrast_looks_only_at_the_ring_around():
    region = only(world((1, 4, 4, 6, 6)))
    image = np.zeros((3, 10, 10), np.uint8)
    image[:, :2] = 255  # two pixels away; the ring of a picture of 10 pixels is one pixel wide
    assert contrast(region, image) == 0


def test_what_fills_the_image_has_no_ring_and_no_contrast():
    (region,) = find_instances(np.ones((4, 4), int))
    assert contrast(region, np.full((3, 4, 4), 9, np.uint8)) == 0


def test_retention_counts_the_instance_alone_and_iou_all_that_overlaps_it():
    region = only(world((1, 0, 0, 2, 4)))  # 8 pixels
    rebuilt = world((1, 0, 2, 2, 6), (1, 8, 8, 10, 10))  # 4 kept, 4 more beside; 4 far away
    assert retention(region, rebuilt) == 0.5
    assert intersection_over_union(region, rebuilt) == pytest.approx(4 / 12)


def test_what_is_gone_has_no_iou_and_the_record_says_what_it_became():
    region = only(world((1, 0, 0, 2, 4)))
    rebuilt = world((2, 0, 0, 1, 3))
    assert retention(region, rebuilt) == 0
    assert intersection_over_union(region, rebuilt) == 0
    assert became(region, rebuilt) == {0: 5 / 8, 2: 3 / 8}
    assert became(region, rebuilt, most=1) == {0: 5 / 8}


@settings(deadline=None)  # a busy machine must not fail it
@given(LABEL_MAPS)
def test_a_perfect_reconstruction_retains_everything(label_map):
    for region in find_instances(label_map):
        assert retention(region, label_map) == 1
        assert intersection_over_union(region, label_map) == 1
        assert became(region, label_map) == {}


@settings(deadline=None)  # a busy machine must not fail it
@given(LABEL_MAPS)
def test_instances_cover_every_pixel_once_when_every_size_counts(label_map):
    covered = np.zeros(label_map.shape, int)
    for region in find_instances(label_map, least_area=0.0):
        region.cut(covered)[region.mask] += 1
        assert (region.cut(label_map)[region.mask] == region.label).all()
    assert (covered == 1).all()


@settings(deadline=None)  # a busy machine must not fail it
@given(LABEL_MAPS, LABEL_MAPS)
def test_iou_is_never_above_retention(label_map, rebuilt):
    for region in find_instances(label_map):
        kept = retention(region, rebuilt)
        assert 0 <= intersection_over_union(region, rebuilt) <= kept <= 1
        others = sum(became(region, rebuilt, most=3).values())
        assert kept + others == pytest.approx(1)  # three classes: the others are two


def test_photographs_are_drawn_from_those_that_hold_most_of_a_class():
    fraction = np.zeros((100, 2))
    fraction[:50, 0] = np.linspace(0.5, 0.01, 50)  # the first ten hold most
    (first, second) = choose_photographs(fraction, a_class=4, seed=1)
    assert len(first) == 4
    assert set(first) <= set(range(10))
    assert second == []  # nobody holds it


def test_the_draw_depends_on_seed_and_class_alone():
    fraction = np.random.default_rng(0).random((200, 3))
    drawn = choose_photographs(fraction, a_class=5, seed=3)
    assert drawn == choose_photographs(fraction, a_class=5, seed=3)
    assert drawn != choose_photographs(fraction, a_class=5, seed=4)
    assert drawn[0] == choose_photographs(fraction[:, :1], a_class=5, seed=3)[0]


def test_fewer_holders_than_asked_for_are_all_taken():
    fraction = np.array([[0.2], [0.004], [0.3], [0.005]])  # 0.5 % of the image counts
    assert choose_photographs(fraction, a_class=10) == [[0, 2, 3]]


def test_nothing_to_choose_is_refused():
    with pytest.raises(SampleError, match=r"0 images a class of a share of 0\.2 were asked for"):
        choose_photographs(np.ones((3, 1)), a_class=0)


def test_the_share_lost_of_a_class_counts_pixels_not_instances():
    shares = loss_shares([1, 1, 2], np.array([0.3, 0.1, 0.2]), np.array([1.0, 0.0, 0.25]))
    assert shares == {1: pytest.approx(0.25), 2: pytest.approx(0.75)}
