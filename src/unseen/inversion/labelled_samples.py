"""Samples of a generator, and photographs, with the labels that evidence would give them.

Method nearest puts mosaics together of them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from unseen.generators import Generator
from unseen.generators.drawn_images import DrawnImages
from unseen.images import ImageSource, Preparation, batches
from unseen.images.batching import default_workers
from unseen.inversion.nearest import SAMPLES_SEED, NearestSample, Samples
from unseen.segmenters import Segmenter, checked_label_maps, overlaps
from unseen.statistics.label_layers import deepened

LABELLED_CHANNEL = "object"  # whose label maps it keeps
_AT_ONCE = 64  # images a call of the segmenter


class DrawnSamples:
    """What a generator draws, labelled: drawn when it is needed, and kept for the next run.

    Args:
        generator: what draws.
        segmenter: what labels.
    """

    def __init__(self, generator: Generator, segmenter: Segmenter) -> None:
        self._images = DrawnImages(generator, seed=SAMPLES_SEED)
        self._segmenter = segmenter
        self._kept: Samples | None = None
        self.nearest: dict[str, NearestSample] = {}  # described for searches that begin there

    def first(self, count: int) -> Samples:
        """The first so many samples."""
        if self._kept is None or len(self._kept.images) < count:
            images = np.stack(list(self._images.images(range(count))))
            self._kept = labelled(images, self._segmenter)
        return Samples(self._kept.images[:count], self._kept.label_maps[:count])


def labelled_photographs(
    source: ImageSource,
    indices: Sequence[int],
    segmenter: Segmenter,
    preparation: Preparation,
    *,
    workers: int | None,
    skip_broken: bool,
) -> Samples:
    """Photographs, prepared as the generator's images are, with their labels."""
    read = batches(
        source,
        indices,
        preparation,
        batch_size=_AT_ONCE,
        workers=default_workers() if workers is None else workers,
        skip_broken=skip_broken,
    )
    return labelled(np.concatenate([batch.images for batch in read]), segmenter)


def labelled(images: UInt8[np.ndarray, "n 3 s s"], segmenter: Segmenter) -> Samples:
    """Images with the label maps that evidence would give them."""
    prepare = Preparation(segmenter.resolution)
    label_maps = []
    for start in range(0, len(images), _AT_ONCE):
        prepared = [prepare.apply(image) for image in images[start : start + _AT_ONCE]]
        maps = checked_label_maps(segmenter, np.stack(prepared), LABELLED_CHANNEL)
        label_maps.append(maps if overlaps(segmenter) else maps.astype(np.uint16))
    if overlaps(segmenter):
        layers = max(maps.shape[1] for maps in label_maps)
        label_maps = [deepened(maps, layers) for maps in label_maps]
    return Samples(images, np.concatenate(label_maps))
