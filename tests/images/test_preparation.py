import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unseen.core.errors import ImageError
from unseen.images import Preparation
from unseen.images.preparation import PreparedTogether


def _noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)


def _torchvision(image, side):
    """Resize(side) and CenterCrop(side) as torchvision 0.3 defined them, on the whole picture."""
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    width, height = picture.size
    if width <= height:
        size = (side, int(side * height / width))
    else:
        size = (int(side * width / height), side)
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - side) / 2.0), round((size[1] - side) / 2.0)
    crop = picture.crop((left, top, left + side, top + side))
    return np.asarray(crop).transpose(2, 0, 1)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), side=st.integers(1, 40))
def test_it_is_resize_and_centre_crop_as_the_paper_used_them(height, width, side):
    image = _noise(height, width)
    found = Preparation(side).apply(image).astype(int)
    # Cropping first changes where Pillow rounds its filter weights: one level, rarely.
    assert np.abs(found - _torchvision(image, side)).max() <= 1


def test_an_image_of_the_right_size_is_unchanged():
    image = _noise(16, 16)
    np.testing.assert_array_equal(Preparation(16).apply(image), image)


def test_a_thin_strip_takes_no_memory_to_speak_of():
    # Scaled as a whole it would be 256 × 25,600,000 pixels: 20 GB.
    assert Preparation(256).apply(np.zeros((3, 1, 100_000), np.uint8)).shape == (3, 256, 256)


def test_matching_a_resolution_loses_what_that_resolution_cannot_hold():
    stripes = np.zeros((3, 64, 64), np.uint8)
    stripes[:, :, ::2] = 255  # one pixel wide: gone at 16 × 16
    found = Preparation(64, match_resolution=16).apply(stripes)
    assert found.shape == (3, 64, 64)
    assert np.ptp(found[:, :, 8:-8]) <= 1  # grey, but for the filter's rounding
    smooth = np.full((3, 64, 64), 99, np.uint8)
    np.testing.assert_array_equal(Preparation(64, match_resolution=16).apply(smooth), smooth)


def test_matching_means_prepared_at_the_native_size_and_enlarged():
    image = _noise(50, 40)
    small = Preparation(16).apply(image)
    np.testing.assert_array_equal(
        Preparation(32, match_resolution=16).apply(image), Preparation(32).apply(small)
    )


@pytest.mark.parametrize("sizes", [(0, None), (8, 0)])
def test_a_resolution_below_one_is_refused(sizes):
    with pytest.raises(ImageError, match="at least 1"):
        Preparation(*sizes)


SIZES = st.tuples(st.integers(24, 96), st.integers(24, 96))  # height, width


@pytest.mark.parametrize("fit", ["squash", "tiles", "pad"])
@settings(max_examples=40, deadline=None)
@given(size=SIZES, edge=st.floats(0.1, 0.9), upright=st.booleans())
def test_label_maps_are_of_the_whole_frame_unless_it_is_cropped(fit, size, edge, upright):
    height, width = size
    image = np.zeros((3, height, width), np.uint8)
    image[:, *((slice(None), slice(round(edge * width), None)) if upright else ())] = 255
    share = (image > 0).mean()
    preparation = Preparation(32, fit=fit)
    prepared = preparation.apply(image)
    assert prepared.shape == (3, *preparation.shape)
    label_maps = [
        (square[:, 0] > 127).astype(np.uint8)
        for square in preparation.squares(prepared[None], [size])
    ]
    (whole,) = preparation.whole(label_maps, [size])
    assert whole.shape == (32, 32)
    assert whole.mean() == pytest.approx(share, abs=2 / 32)  # an edge at most a pixel off, twice
    picture = preparation.picture(prepared, size)
    if fit != "tiles":  # which narrow a frame of more than two squares
        assert picture.shape[2] / picture.shape[1] == pytest.approx(width / height, rel=0.08)


def test_tiles_leave_nothing_of_a_street_scene_out_where_a_crop_loses_a_quarter():
    image = np.zeros((3, 360, 480), np.uint8)
    image[:, 100:260, :50] = 255  # a pedestrian at the left edge
    assert Preparation(64).apply(image).max() == 0
    preparation = Preparation(64, fit="tiles")
    prepared = preparation.apply(image)
    left, right = preparation.squares(prepared[None], [(360, 480)])
    assert left.max() == 255
    assert right.max() == 0
    assert preparation.picture(prepared, (360, 480)).shape == (3, 64, 85)
    assert len(preparation.squares(prepared[None], [(360, 360)])) == 1  # a square is one tile


def test_preparations_of_one_image_are_unpacked_as_they_are_alone():
    image = _noise(30, 40)
    parts = (Preparation(8), Preparation(16, fit="tiles"), Preparation(8, fit="pad"))
    together = PreparedTogether(parts=parts)
    unpacked = together.unpack(together.apply(image)[None])
    for part in parts:
        np.testing.assert_array_equal(unpacked[part][0], part.apply(image))
