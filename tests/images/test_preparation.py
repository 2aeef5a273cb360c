import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unseen.core.errors import ImageError
from unseen.images import Preparation


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
