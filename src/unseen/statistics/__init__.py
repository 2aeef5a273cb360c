"""Statistics of class areas. NumPy and SciPy alone."""

from unseen.statistics.classes import (
    PRESENCE_THRESHOLD,
    ClassComparison,
    compare_classes,
    own_thresholds,
    smallest_detectable_drop,
)
from unseen.statistics.design import INDEPENDENT, Design, effective_images
from unseen.statistics.frechet import FrechetDistance, frechet_distance, frechet_shares
from unseen.statistics.frechet_change import FrechetDifference, frechet_difference
from unseen.statistics.generator_change import GeneratorChange, compare_generators
from unseen.statistics.inference import FrechetInference, frechet_inference
from unseen.statistics.instance_counts import CountComparison, compare_instances
from unseen.statistics.planning import images_needed
from unseen.statistics.samples import self_halves

__all__ = [
    "INDEPENDENT",
    "PRESENCE_THRESHOLD",
    "ClassComparison",
    "CountComparison",
    "Design",
    "FrechetDifference",
    "FrechetDistance",
    "FrechetInference",
    "GeneratorChange",
    "compare_classes",
    "compare_generators",
    "compare_instances",
    "effective_images",
    "frechet_difference",
    "frechet_distance",
    "frechet_inference",
    "frechet_shares",
    "images_needed",
    "own_thresholds",
    "self_halves",
    "smallest_detectable_drop",
]
