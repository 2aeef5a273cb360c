"""What any segmenter's answer must be, checked batch by batch."""

from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from unseen.core.errors import SegmenterError
from unseen.segmenters.protocol import Segmenter


def class_names(segmenter: Segmenter, channel: str) -> tuple[str, ...]:
    """The class names of one channel, in label order.

    Raises:
        SegmenterError: the segmenter has no such channel.
    """
    if channel not in segmenter.channels:
        known = ", ".join(segmenter.channels)
        raise SegmenterError(f"{_name(segmenter)} has no channel {channel!r}; it has: {known}")
    return tuple(segmenter.channels[channel])


def checked_label_maps(
    segmenter: Segmenter, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
) -> Integer[np.ndarray, "n h2 w2"]:
    """Segment a batch, and refuse an answer that is not one class in range per pixel.

    Args:
        segmenter: anyone's.
        images: 8-bit RGB.
        channel: one of the segmenter's.

    Returns:
        The segmenter's own array: indices into `segmenter.channels[channel]`.

    Raises:
        SegmenterError: unknown channel; no integers (NaN is named); a label out of range; another
            number of label maps than of images.
    """
    classes = class_names(segmenter, channel)
    maps: Any = segmenter.label_maps(images, channel)
    name = _name(segmenter)
    if not isinstance(maps, np.ndarray):
        raise SegmenterError(
            f"{name} gave a {type(maps).__name__}; label maps are a NumPy array of integers"
        )
    if not np.issubdtype(maps.dtype, np.integer):
        what = f"label maps of {maps.dtype}"
        if np.issubdtype(maps.dtype, np.inexact) and np.isnan(maps).any():
            share = np.isnan(maps).mean()
            what = f"NaN in {100 * share:.3g} % of the pixels of its label maps ({maps.dtype})"
        raise SegmenterError(
            f"{name} gave {what}; a label map holds one integer class per pixel: return the argmax"
        )
    if maps.ndim != 3 or len(maps) != len(images) or maps.size == 0:
        raise SegmenterError(
            f"{name} gave label maps of shape {maps.shape} for {len(images)} images; needed is "
            f"({len(images)}, height, width)"
        )
    low, high = int(maps.min()), int(maps.max())
    if low < 0 or high >= len(classes):
        found = low if low < 0 else high
        raise SegmenterError(
            f"{name} gave the label {found}; channel {channel!r} has {len(classes)} classes, "
            f"so labels are 0 to {len(classes) - 1}"
        )
    if maps.dtype.type in (np.longlong, np.ulonglong):  # no int64 by NumPy's own names
        return maps.astype(np.int64)
    return maps


def _name(segmenter: Segmenter) -> str:
    """How messages call it: its spec, or its class."""
    return str(segmenter.provenance.get("spec") or type(segmenter).__name__)
