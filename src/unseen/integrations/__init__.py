"""The same statistics inside other tools: TorchMetrics, and what builds on it.

In: images of a training loop. Out: the numbers and the record of `unseen.compare`. Each tool is an
extra of its own, and is imported when its name is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unseen.integrations.segmentation_statistics import (
        SegmentationStatistics as SegmentationStatistics,
    )

_PUBLIC = {"SegmentationStatistics": "unseen.integrations.segmentation_statistics"}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'unseen.integrations' has no attribute {name!r}")
