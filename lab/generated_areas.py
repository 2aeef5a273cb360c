"""Two areas files of any size, made of random numbers, to try a comparison at that size."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np

from unseen.core.options import Option, Place
from unseen.distribution.areas import Areas
from unseen.distribution.areas_file import write_areas

_PIXELS = 256 * 256
_ROWS = 2000  # made at once
_RARER = slice(20, 30)  # classes that half as many generated images hold


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedAreas:
    """Write `real.parquet` and `generated.parquet`, for `unseen compare`."""

    out: Annotated[Path, Place("Folder for both files.", short="-o")]
    images: Annotated[int, Option("Images on each side.", min=2)] = 10_000
    classes: Annotated[int, Option("Classes.", min=31)] = 336


def write_generated_areas(task: GeneratedAreas) -> list[Path]:
    """Class k is in 2 / (k + 1) of the images, 400 to 900 pixels large; class 0 is the rest."""
    presence = np.clip(2.0 / np.arange(1, task.classes + 1), 1e-3, 0.9).astype(np.float32)
    columns = tuple(f"object/class{k}" for k in range(task.classes))
    task.out.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed, (name, factor) in enumerate((("real", 1.0), ("generated", 0.5))):
        presence[_RARER] *= factor
        rng = np.random.default_rng(seed)
        pixels = np.empty((task.images, task.classes), np.uint32)
        for start in range(0, task.images, _ROWS):
            shape = min(_ROWS, task.images - start), task.classes
            held = rng.random(shape, dtype=np.float32) < presence
            block = np.where(held, rng.integers(400, 900, shape, dtype=np.uint32), 0)
            block[:, 0] = _PIXELS - block[:, 1:].sum(axis=1)
            pixels[start : start + len(block)] = block
        names = [f"{index:07}" for index in range(task.images)]
        source = {"spec": name, "fingerprint": f"{name}{task.images}", "count": task.images}
        provenance = {"images": [source], "segmenter": {"name": "random numbers"}}
        paths.append(task.out / f"{name}.parquet")
        write_areas(paths[-1], Areas(names, columns, pixels, _PIXELS, provenance))
    return paths
