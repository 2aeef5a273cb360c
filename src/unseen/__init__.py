"""Shows what a generative image model cannot generate.

`import unseen` imports neither torch nor any plug-in: names are resolved when first used.
"""

import importlib
from typing import Any

# name → module that defines it
_PUBLIC: dict[str, str] = {
    "Areas": "unseen.records",
    "DrawnImages": "unseen.pipeline.drawing",
    "EvidenceTask": "unseen.pipeline.evidence",
    "FunctionGenerator": "unseen.generators.custom",
    "InverterTraining": "unseen.inversion.training",
    "Sampling": "unseen.pipeline.sample",
    "Inversion": "unseen.inversion.methods",
    "InversionRun": "unseen.pipeline.invert",
    "check_comparable": "unseen.records",
    "compare": "unseen.pipeline.compare",
    "concatenate": "unseen.records",
    "evidence": "unseen.pipeline.evidence",
    "evidence_of_inversions": "unseen.pipeline.evidence",
    "inversion_preset": "unseen.inversion.methods",
    "invert": "unseen.pipeline.invert",
    "load_generator": "unseen.generators",
    "load_inverter": "unseen.inversion.checkpoints",
    "load_segmenter": "unseen.segmenters",
    "open_images": "unseen.images",
    "read_areas": "unseen.records",
    "read_comparison": "unseen.records.comparison",
    "read_evidence": "unseen.records.evidence",
    "read_inversions": "unseen.records.inversions",
    "read_tally": "unseen.pipeline.tally",
    "report": "unseen.pages",
    "sample": "unseen.pipeline.sample",
    "segment": "unseen.pipeline.segment",
    "train_inverter": "unseen.inversion.training",
    "write_areas": "unseen.records",
}

__all__ = [*_PUBLIC, "errors", "statistics"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in ("errors", "statistics"):
        return importlib.import_module(f"unseen.{name}")
    raise AttributeError(f"module 'unseen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
