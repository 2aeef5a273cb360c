"""Scenes written as files, and presence by class: what `unseen churchyard` shows of the world."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from PIL import Image

from unseen.churchyard.classes import CLASS_NAMES
from unseen.churchyard.source import ChurchyardSource
from unseen.core.errors import SampleError
from unseen.core.files import write_aside


def render_scenes(
    source: ChurchyardSource,
    out: Path,
    indices: range,
    *,
    label_maps: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write scenes as PNG under `out`, each with its name.

    Args:
        source: the world.
        out: the folder.
        indices: which scenes.
        label_maps: also write label maps, as 8-bit grey PNG, under `out/label-maps`; then the
            pictures go to `out/pictures`, so that either folder is an image set of its own.
        progress: called with (done, of how many).

    Returns:
        How many scenes were written.

    Raises:
        StorageError: the folder cannot be written.
    """
    pictures = out / "pictures" if label_maps else out
    for done, index in enumerate(indices, 1):
        scene = source.world.scene(index)
        name = f"{source.names[index]}.png"
        with write_aside(pictures / name) as aside:
            Image.fromarray(scene.picture.transpose(1, 2, 0)).save(aside)
        if label_maps:
            with write_aside(out / "label-maps" / name) as aside:
                Image.fromarray(scene.label_map).save(aside)
        if progress is not None:
            progress(done, len(indices))
    return len(indices)


@dataclasses.dataclass(frozen=True)
class Presence:
    """How often a class is present, and how much it covers."""

    class_name: str
    share: float  # of scenes where it covers at least the threshold
    shown: float  # of scenes where it covers any pixel
    area_percent: float  # mean over all scenes


def presence_by_class(
    source: ChurchyardSource,
    count: int,
    *,
    threshold: float = 0.005,
    progress: Callable[[int, int], None] | None = None,
) -> list[Presence]:
    """Presence of every class in the first `count` scenes, from the exact label maps.

    Args:
        source: the world.
        count: number of scenes.
        threshold: fraction of the image that a present class covers.
        progress: called with (done, of how many).

    Raises:
        SampleError: no scenes.
    """
    if count < 1:
        raise SampleError(f"presence in {count} scenes is not defined; give at least 1")
    fractions: Float64[np.ndarray, "n k"] = np.zeros((count, len(CLASS_NAMES)))
    for index in range(count):
        label_map = source.label_map(index)
        pixels = np.bincount(label_map.reshape(-1), minlength=len(CLASS_NAMES))
        fractions[index] = pixels / label_map.size
        if progress is not None:
            progress(index + 1, count)
    return [
        Presence(
            name,
            float((fractions[:, k] >= threshold).mean()),
            float((fractions[:, k] > 0).mean()),
            float(fractions[:, k].mean() * 100),
        )
        for k, name in enumerate(CLASS_NAMES)
    ]


def presence_table(entries: list[Presence]) -> str:
    """A Markdown table, the most frequent class first."""
    rows = [
        f"| {entry.class_name} | {entry.share:.1%} | {entry.shown:.1%} "
        f"| {entry.area_percent:.2f}% |"
        for entry in sorted(entries, key=lambda entry: -entry.share)
    ]
    head = ["| class | present | any pixel | mean area |", "| --- | ---: | ---: | ---: |"]
    return "\n".join(head + rows)
