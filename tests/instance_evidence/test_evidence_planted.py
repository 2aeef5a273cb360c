"""A planted omission, from scenes to verdicts, without a generator.

The reconstruction of a scene is the same scene rendered without two classes, blurred and noised:
what a perfect search in the range of a generator that lacks them would find.
"""

from pathlib import Path

import numpy as np
import scipy.ndimage
from PIL import Image

import unseen
from unseen.distribution.areas import Areas
from unseen.images import open_images
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.inversion.photograph_selection import select_photographs
from unseen.statistics.retention import Judging

POOL = 120  # scenes that are chosen from
MISSING = ("car", "fence")


def chosen(source, *, each):
    """Scenes that hold most of any class, by the rule."""
    count = len(source.class_names)
    pixels = [np.bincount(source.label_map(i).ravel(), minlength=count) for i in range(POOL)]
    areas = Areas(
        names=[str(i) for i in range(POOL)],
        columns=tuple(f"object/{name}" for name in source.class_names),
        pixels=np.array(pixels, np.uint32),
        label_map_pixels=64 * 64,
    )
    selection = select_photographs(areas, a_class=each, seed=0)
    return sorted({int(name) for names in selection.chosen.values() for name in names})


def save(folder: Path, name: str, image: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1))).save(folder / f"{name}.png")


def rebuilt(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    blurred = scipy.ndimage.gaussian_filter(image.astype(float), (0, 0.5, 0.5))
    return (blurred + random.normal(0, 8, image.shape)).round().clip(0, 255).astype(np.uint8)


def test_what_is_planted_is_called_and_nothing_else(tmp_path):
    random = np.random.default_rng(0)
    photographs = open_images("churchyard?seed=1")
    lacking = open_images("churchyard?seed=1&without=car,fence")  # the same scenes
    own = open_images("churchyard?seed=2&without=car,fence")
    for i in chosen(photographs, each=2):
        name = photographs.names[i]
        save(tmp_path / "rebuilt", name, rebuilt(lacking.read(i), random))
    for i in chosen(own, each=2):
        save(tmp_path / "own", str(i), own.read(i))
        save(tmp_path / "own-rebuilt", str(i), rebuilt(own.read(i), random))
    record = unseen.evidence(
        photographs,
        tmp_path / "rebuilt",
        controls=(tmp_path / "own", tmp_path / "own-rebuilt"),
        out=tmp_path / "out",
        task=EvidenceTask(
            device="cpu",
            label_maps="true",
            judging=Judging(resamples=99),
        ),
    )
    assert sorted(one.name for one in record.named("cannot draw")) == list(MISSING)
    for one in record.named("cannot draw"):
        found = one.by("given")
        assert found.matched.mean < found.controls.mean / 3
    assert len(record.classes) > 10  # of which the others are not called
    first = {one.column for one in record.instances[:5]}
    assert first <= {f"object/{name}" for name in MISSING}
