"""Labels from coarse logits: the pruned, blockwise way equals the plain one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.core.errors import SegmenterError
from unseen.segmenters import label_maps
from unseen.segmenters.label_maps import (
    interpolated_argmax,
    mean_confidence,
    possible_winners,
)


def _plain(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    fine = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    return fine.softmax(1)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(1, 12),
    side=st.integers(1, 6),
    fine=st.integers(1, 23),
    smooth=st.booleans(),
)
def test_labels_are_the_argmax_of_the_interpolated_softmax(seed, classes, side, fine, smooth):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, side, side + 1, generator=generator)
    if smooth:  # a few classes tower above the rest, as in real pictures
        logits[:, classes // 2 :] -= 20
    size = (fine, fine + 2)
    expected = _plain(logits.double(), size)
    labels = interpolated_argmax(logits, size)
    chosen = expected.gather(1, labels[:, None])[:, 0]
    # 1e-4: float32 against float64 scores of size 10, exponentiated
    assert torch.all(chosen >= expected.amax(1) - 1e-4)


def test_blocks_of_pixels_change_nothing(monkeypatch):
    logits = torch.randn(1, 9, 5, 5, generator=torch.Generator().manual_seed(0))
    whole = interpolated_argmax(logits, (20, 20))
    monkeypatch.setattr(label_maps, "_CHUNK", 70)  # some pixels at a time
    assert torch.equal(interpolated_argmax(logits, (20, 20)), whole)


def test_the_lowest_class_wins_a_tie():
    assert interpolated_argmax(torch.zeros(1, 4, 2, 2), (4, 4)).eq(0).all()


def test_classes_that_never_win_are_left_out():
    logits = torch.zeros(5, 4, 4)
    logits[3] = 7.0
    assert possible_winners(logits).flatten(1).any(1).nonzero().tolist() == [[3]]


def test_nan_scores_are_refused():
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1, 0, 0] = float("nan")
    with pytest.raises(SegmenterError, match="NaN or infinite"):
        interpolated_argmax(logits, (4, 4))


def test_confidence_is_the_mean_probability_of_the_most_probable_class():
    logits = 3 * torch.randn(2, 5, 20, 30, generator=torch.Generator().manual_seed(3))
    expected = logits.double().softmax(1).amax(1).mean((1, 2))
    torch.testing.assert_close(mean_confidence(logits).double(), expected)
    large = logits.repeat_interleave(10, 2).repeat_interleave(10, 3)  # 200 × 300: a sample of it
    torch.testing.assert_close(mean_confidence(large).double(), expected, atol=0.01, rtol=0)
