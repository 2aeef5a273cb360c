"""Segmenters: 8-bit RGB images in, one integer class per pixel out.

`loading` goes from a spec to a segmenter; `checks` is what every segmenter and answer passes. `upp`
(with `unified_parsing`, `precise_pooling`), `hf`, `onnx` (with `onnx_files`) and `custom` are the
families of label maps; `label_maps` turns coarse scores into labels; `existing_maps` reads label
maps that are there already. `open_vocabulary` (with `open_networks`, `open_classes`) finds what
words name. `transformers_folder` is what it and `hf` read.
"""

from unseen.segmenters.checks import (
    check_segmenter,
    checked_label_maps,
    checked_labels,
    class_names,
    overlaps,
)
from unseen.segmenters.loading import load_segmenter, segmenter_spec
from unseen.segmenters.protocol import LabelsByName, Precision, Segmenter

__all__ = [
    "LabelsByName",
    "Precision",
    "Segmenter",
    "check_segmenter",
    "checked_label_maps",
    "checked_labels",
    "class_names",
    "load_segmenter",
    "overlaps",
    "segmenter_spec",
]
