"""The same statistics inside and beside other tools.

In: images of a training loop, or a comparison. Out: its numbers and its record as a metric of
TorchMetrics (`segmentation_statistics`), in the loggers of Lightning (`lightning_callback`), and as
data sets of COCO and FiftyOne (`exports`). Each tool is an extra of its own, and is imported when
its name is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unseen.integrations.exports import export as export
    from unseen.integrations.lightning_callback import SegmentationCallback as SegmentationCallback
    from unseen.integrations.segmentation_statistics import (
        SegmentationStatistics as SegmentationStatistics,
    )

_PUBLIC = {
    "SegmentationCallback": "unseen.integrations.lightning_callback",
    "SegmentationStatistics": "unseen.integrations.segmentation_statistics",
    "export": "unseen.integrations.exports",
}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'unseen.integrations' has no attribute {name!r}")
