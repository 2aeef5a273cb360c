"""Small sets of areas, pictures and records for the tests of comparisons and pages."""

from pathlib import Path

import numpy as np

from unseen.distribution.areas import Areas, areas_identity
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison, write_comparison
from unseen.distribution.example_images import keep_side

SIDE = 16  # pixels of the label maps; 1 pixel is 0.4 %, so presence needs 2 at the default 0.5 %
CLASSES = ("none", "sky", "building", "tree", "person", "car")


def areas(
    n: int,
    presence: dict[str, float],
    *,
    seed: int,
    name: str = "world",
    classes: tuple[str, ...] = CLASSES,
) -> Areas:
    """n images: building fills what is left, other classes cover 4 to 24 pixels where present."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((n, len(classes)), np.uint32)
    for kind, share in presence.items():
        held = rng.random(n) < share
        pixels[:, classes.index(kind)] = held * rng.integers(4, 25, n)
    pixels[:, 2] += np.uint32(SIDE * SIDE) - pixels.sum(axis=1, dtype=np.uint32)
    return Areas(
        names=[f"{name}-{i}.png" for i in range(n)],
        columns=tuple(f"object/{one}" for one in classes),
        pixels=pixels,
        label_map_pixels=SIDE * SIDE,
        provenance={"images": [{"spec": name, "fingerprint": name, "count": n}]},
    )


def show(side: Areas):
    """Pictures whose label maps have the areas of the side, class after class."""

    def pictures(names: list[str]):
        for name in names:
            row = side.pixels[list(side.names).index(name)]
            label_map = np.repeat(np.arange(len(row)), row).reshape(SIDE, SIDE)
            yield name, np.stack([label_map * 40] * 3).astype(np.uint8), label_map

    return pictures


def run(folder: Path, real: Areas, generated: list[Areas], **options: object) -> Comparison:
    """A comparison with pictures, as `unseen compare` leaves it in its folder."""
    comparison = compare(real, generated, **options)  # type: ignore[arg-type]
    comparison = keep_side(folder, "real", comparison, areas_identity(real.provenance), show(real))
    for i, side in enumerate(generated):
        comparison = keep_side(
            folder, f"generated-{i + 1}", comparison, areas_identity(side.provenance), show(side)
        )
    write_comparison(folder / "comparison.json", comparison)
    return comparison


# what an independent script found (photo squeezed to 512 × 512): class → (real, reconstructed)
CHURCH_SHARES = {
    "person": (0.0350, 0.0068),
    "car": (0.0123, 0.0000),
    "sidewalk": (0.0283, 0.0143),
    "plant": (0.0089, 0.0035),
    "sky": (0.2480, 0.2591),
    "tree": (0.0607, 0.0655),
    "building": (0.4533, 0.3609),
    "wall": (0.0588, 0.1291),
}


class Halves:
    """Labels what is darker and what is lighter than grey."""

    channels = {"object": ("dark", "light")}  # noqa: RUF012
    resolution = 64
    provenance = {"spec": "halves"}  # noqa: RUF012

    def label_maps(self, images: np.ndarray, channel: str = "object") -> np.ndarray:
        return (images.mean(axis=1) > 127.5).astype(np.uint8)
