"""Segmenters: images in, one integer class per pixel out."""

from unseen.segmenters.checks import checked_label_maps, class_names
from unseen.segmenters.loading import (
    check_segmenter,
    load_segmenter,
    segmenter_spec,
)
from unseen.segmenters.protocol import Precision, Segmenter

__all__ = [
    "Precision",
    "Segmenter",
    "check_segmenter",
    "checked_label_maps",
    "class_names",
    "load_segmenter",
    "segmenter_spec",
]
