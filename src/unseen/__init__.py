"""Shows what a generative image model cannot generate.

`import unseen` imports neither torch nor any plug-in: names are resolved when first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from unseen import statistics as statistics
    from unseen.core import errors as errors
    from unseen.distribution.areas import Areas as Areas
    from unseen.distribution.areas_file import check_comparable as check_comparable
    from unseen.distribution.areas_file import concatenate as concatenate
    from unseen.distribution.areas_file import read_areas as read_areas
    from unseen.distribution.areas_file import write_areas as write_areas
    from unseen.distribution.areas_shards import merge_areas as merge_areas
    from unseen.distribution.comparison import Comparison as Comparison
    from unseen.distribution.comparison import read_comparison as read_comparison
    from unseen.distribution.comparison_run import ComparisonRun as ComparisonRun
    from unseen.distribution.comparison_run import compare as compare
    from unseen.distribution.segment import segment as segment
    from unseen.distribution.tally import read_tally as read_tally
    from unseen.generators import load_generator as load_generator
    from unseen.generators.custom import FunctionGenerator as FunctionGenerator
    from unseen.generators.drawn_images import DrawnImages as DrawnImages
    from unseen.generators.sample import Sampling as Sampling
    from unseen.generators.sample import sample as sample
    from unseen.images import open_images as open_images
    from unseen.instance_evidence.measuring import EvidenceTask as EvidenceTask
    from unseen.instance_evidence.measuring import evidence as evidence
    from unseen.instance_evidence.record import Evidence as Evidence
    from unseen.instance_evidence.record import read_evidence as read_evidence
    from unseen.inversion.inversions import Inversions as Inversions
    from unseen.inversion.inversions import read_inversions as read_inversions
    from unseen.inversion.invert import InversionRun as InversionRun
    from unseen.inversion.invert import invert as invert
    from unseen.inversion.inverter_file import load_inverter as load_inverter
    from unseen.inversion.inverter_training import InverterTraining as InverterTraining
    from unseen.inversion.inverter_training import train_inverter as train_inverter
    from unseen.inversion.methods import Inversion as Inversion
    from unseen.inversion.methods import inversion_preset as inversion_preset
    from unseen.pages import figure as figure
    from unseen.pages import report as report
    from unseen.segmenters import load_segmenter as load_segmenter

# name → module that defines it
_PUBLIC: dict[str, str] = {
    "Areas": "unseen.distribution.areas",
    "Comparison": "unseen.distribution.comparison",
    "ComparisonRun": "unseen.distribution.comparison_run",
    "DrawnImages": "unseen.generators.drawn_images",
    "Evidence": "unseen.instance_evidence.record",
    "EvidenceTask": "unseen.instance_evidence.measuring",
    "FunctionGenerator": "unseen.generators.custom",
    "Inversion": "unseen.inversion.methods",
    "InversionRun": "unseen.inversion.invert",
    "Inversions": "unseen.inversion.inversions",
    "InverterTraining": "unseen.inversion.inverter_training",
    "Sampling": "unseen.generators.sample",
    "check_comparable": "unseen.distribution.areas_file",
    "compare": "unseen.distribution.comparison_run",
    "concatenate": "unseen.distribution.areas_file",
    "evidence": "unseen.instance_evidence.measuring",
    "figure": "unseen.pages",
    "inversion_preset": "unseen.inversion.methods",
    "invert": "unseen.inversion.invert",
    "load_generator": "unseen.generators",
    "load_inverter": "unseen.inversion.inverter_file",
    "load_segmenter": "unseen.segmenters",
    "merge_areas": "unseen.distribution.areas_shards",
    "open_images": "unseen.images",
    "read_areas": "unseen.distribution.areas_file",
    "read_comparison": "unseen.distribution.comparison",
    "read_evidence": "unseen.instance_evidence.record",
    "read_inversions": "unseen.inversion.inversions",
    "read_tally": "unseen.distribution.tally",
    "report": "unseen.pages",
    "sample": "unseen.generators.sample",
    "segment": "unseen.distribution.segment",
    "train_inverter": "unseen.inversion.inverter_training",
    "write_areas": "unseen.distribution.areas_file",
}
_MODULES = {"errors": "unseen.core.errors", "statistics": "unseen.statistics"}

__all__ = [*_PUBLIC, *_MODULES]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'unseen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
