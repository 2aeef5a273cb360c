import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.core.errors import ImageError
from unseen.images.pixels import to_uint8, to_unit

EVERY_LEVEL = np.arange(256, dtype=np.uint8)


def test_the_ends_and_the_middle_are_where_they_belong():
    np.testing.assert_array_equal(to_unit(np.array([0, 255], np.uint8)), [-1.0, 1.0])
    # ±1/255 around the middle, as 127.5 lies between two levels; float32 near 1.
    np.testing.assert_allclose(
        to_unit(np.array([127, 128], np.uint8)), [-1 / 255, 1 / 255], atol=1e-7
    )
    assert to_unit(EVERY_LEVEL).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_there_and_back_changes_no_level(dtype):
    np.testing.assert_array_equal(to_uint8(to_unit(EVERY_LEVEL).astype(dtype)), EVERY_LEVEL)


def test_outside_of_the_range_is_clamped():
    assert to_uint8(np.array([-9.0, -1.001, 1.001, 9.0, np.inf])).tolist() == [0, 0, 255, 255, 255]


@given(st.integers(0, 254), st.floats(0.01, 0.99))
def test_rounding_is_to_the_nearest_or_down_as_asked(level, part):
    value = np.array([(level + part) / 127.5 - 1])
    assert to_uint8(value, "truncate")[0] == level
    if abs(part - 0.5) > 0.01:
        assert to_uint8(value, "nearest")[0] == level + (part > 0.5)


def test_nan_is_refused():
    with pytest.raises(ImageError, match="NaN"):
        to_uint8(np.array([0.0, np.nan]))
