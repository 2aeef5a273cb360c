"""Shows what a generative image model cannot generate.

`import unseen` imports neither torch nor any plug-in: names are resolved when first used.
"""

import importlib
from typing import Any

# name → module that defines it
_PUBLIC: dict[str, str] = {
    "Areas": "unseen.distribution.areas",
    "DrawnImages": "unseen.generators.drawn_images",
    "EvidenceTask": "unseen.instance_evidence.measuring",
    "FunctionGenerator": "unseen.generators.custom",
    "InverterTraining": "unseen.inversion.inverter_training",
    "Sampling": "unseen.generators.sample",
    "Inversion": "unseen.inversion.methods",
    "InversionRun": "unseen.inversion.invert",
    "check_comparable": "unseen.distribution.areas_file",
    "compare": "unseen.distribution.compare",
    "concatenate": "unseen.distribution.areas_file",
    "evidence": "unseen.instance_evidence.measuring",
    "evidence_of_inversions": "unseen.instance_evidence.measuring",
    "inversion_preset": "unseen.inversion.methods",
    "invert": "unseen.inversion.invert",
    "load_generator": "unseen.generators",
    "load_inverter": "unseen.inversion.inverter_file",
    "load_segmenter": "unseen.segmenters",
    "open_images": "unseen.images",
    "read_areas": "unseen.distribution.areas_file",
    "read_comparison": "unseen.distribution.comparison",
    "read_evidence": "unseen.instance_evidence.record",
    "read_inversions": "unseen.inversion.inversions",
    "read_tally": "unseen.distribution.tally_file",
    "report": "unseen.pages",
    "sample": "unseen.generators.sample",
    "segment": "unseen.distribution.segment",
    "train_inverter": "unseen.inversion.inverter_training",
    "write_areas": "unseen.distribution.areas_file",
}

__all__ = [*_PUBLIC, "errors", "statistics"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name == "errors":
        return importlib.import_module("unseen.core.errors")
    if name == "statistics":
        return importlib.import_module("unseen.statistics")
    raise AttributeError(f"module 'unseen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
