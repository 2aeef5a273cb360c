"""Areas of made-up scenes in which a class can be planted or left out."""

import numpy as np

COLUMNS = ("object/sky", "object/tree", "object/person")
PIXELS = 1000  # of a label map


def scenes_with_persons(size: int = 4000, share: float = 0.25, seed: int = 5) -> np.ndarray:
    """Pixels of sky, tree and person; a person takes 50 pixels of the sky."""
    rng = np.random.default_rng(seed)
    tree = np.where(rng.random(size) < 0.5, rng.integers(50, 300, size), 0)
    person = np.where(rng.random(size) < share, 50, 0)
    return np.stack([PIXELS - tree - person, tree, person], axis=1).astype(np.uint32)
