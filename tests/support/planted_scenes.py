"""Areas of made-up scenes in which a class can be planted or left out."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from unseen.bench.calibration_report import Cell

COLUMNS = ("object/sky", "object/tree", "object/person")
PIXELS = 1000  # of a label map
OF_PERSONS: dict[str, Any] = {  # a small calibration
    "classes": ("person",),
    "presences": (0.05,),
    "removals": (1.0, 0.5),
    "counts": (200, 1000),
    "pool": 4000,
    "repetitions": 10,
    "null_repetitions": 20,
}


def scenes_with_persons(size: int = 4000, share: float = 0.25, seed: int = 5) -> np.ndarray:
    """Pixels of sky, tree and person; a person takes 50 pixels of the sky."""
    rng = np.random.default_rng(seed)
    tree = np.where(rng.random(size) < 0.5, rng.integers(50, 300, size), 0)
    person = np.where(rng.random(size) < share, 50, 0)
    return np.stack([PIXELS - tree - person, tree, person], axis=1).astype(np.uint32)


def assert_removals_are_found(cells: Iterable[Cell]) -> None:
    """Of `OF_PERSONS`: persons wholly gone are found, and half of them sooner in more images."""
    rate = {(cell.removal, cell.count): cell.detected / cell.repetitions for cell in cells}
    assert rate[1.0, 1000] == 1.0  # 50 against 0 images
    assert rate[0.5, 1000] >= rate[0.5, 200]
