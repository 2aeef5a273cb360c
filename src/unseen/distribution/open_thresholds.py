"""Thresholds for a segmenter of open vocabulary, from images that a person labelled.

Labels are a CSV file as `unseen audit` exports it. Both sides get one threshold a class, with which
at most 2 % of the images without the class are called on either side.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float32

from unseen.core.errors import ImageError, SegmenterError, SpecError
from unseen.core.files import write_text
from unseen.core.options import Argument, Device, Option, check_options
from unseen.core.progress import Progress, silent
from unseen.distribution.audit_labels import labels_by_column, read_answers
from unseen.distribution.designs import side_keys
from unseen.distribution.segment import BatchSize
from unseen.generators.sources import Drawing
from unseen.images import ImageSource, Preparation, batches
from unseen.images.preparation import Fit
from unseen.segmenters import load_segmenter
from unseen.segmenters.open_classes import OpenClass, classes_csv, with_classes
from unseen.segmenters.open_vocabulary import OpenVocabularySegmenter
from unseen.segmenters.protocol import OpenClasses, SegmenterPrecision
from unseen.statistics import PRESENCE_THRESHOLD
from unseen.statistics.score_thresholds import MOST_CALLED, threshold_of_absent

Labels = dict[str, dict[str, dict[str, bool]]]  # side → name of an image → class → present


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThresholdTask:
    """Which images were labelled, and which segmenter is to call them."""

    real: Annotated[str, Argument("The real side: a folder or archive of images.")]
    generated: Annotated[Sequence[str], Argument("The generated sides, likewise.")] = ()
    segmenter: Annotated[str, Option("Spec of a segmenter of open vocabulary.")]
    labels: Annotated[
        Path, Option("CSV file with the columns class, side, name and label (y or n).")
    ]
    out: Annotated[Path, Option("File for the classes with their thresholds (.csv).", short="-o")]
    open_classes: OpenClasses = None
    most: Annotated[
        float,
        Option("Share of the images without a class that may be called.", min=0.001, max=0.5),
    ] = MOST_CALLED
    presence_threshold: Annotated[
        float,
        Option("Fraction of the image from which on a class is present.", min=1e-6, max=0.99),
    ] = PRESENCE_THRESHOLD
    fit: Fit = "crop"
    device: Device = "auto"
    precision: SegmenterPrecision = "fp32"
    batch_size: BatchSize = 16

    def __post_init__(self) -> None:
        check_options(self, SpecError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundThreshold:
    """The threshold of a class, and what it calls of the labelled images."""

    name: str
    threshold: float
    absent: tuple[tuple[int, int], ...]  # a side: images without the class that are called, of all
    present: tuple[tuple[int, int], ...]  # a side: images with the class that are called, of all


def find_thresholds(
    task: ThresholdTask, *, progress: Progress | None = None
) -> list[FoundThreshold]:
    """Find a threshold for every labelled class, and write the classes with them.

    Classes that nobody labelled keep the threshold that they have.

    Raises:
        SpecError: the segmenter has no open vocabulary; labels that are none.
        ImageError: a labelled image is not there.
        SampleError: too few images without a class.
    """
    spec = with_classes(task.segmenter, task.open_classes)
    assert spec is not None
    segmenter = load_segmenter(spec, device=task.device, precision=task.precision)
    if not isinstance(segmenter, OpenVocabularySegmenter):
        raise SegmenterError(f"{spec} has no thresholds; name a segmenter open:KIND:FOLDER")
    names = [found.name for found in segmenter.classes]
    texts = [task.real, *task.generated]
    labels = _labels(task.labels, names, side_keys(len(texts)))
    scores = {
        key: _scores(Drawing().open(text), list(of_side), segmenter, task, progress or silent)
        for (key, of_side), text in zip(labels.items(), texts, strict=True)
    }
    found = []
    for k, name in enumerate(names):
        sides = []
        for key in labels:
            known = [(i, of[name]) for i, of in enumerate(labels[key].values()) if name in of]
            with_class = scores[key][[i for i, present in known if present], k]
            without = scores[key][[i for i, present in known if not present], k]
            sides.append((without, with_class))
        if not any(len(part) for side in sides for part in side):
            continue
        threshold = threshold_of_absent([without for without, _ in sides], most=task.most)
        if threshold > 1:
            raise SegmenterError(
                f"{spec} gives images without {name!r} the score 1; no threshold tells them apart"
            )
        called = [[(int((part >= threshold).sum()), len(part)) for part in s] for s in sides]
        found.append(
            FoundThreshold(
                name=name,
                threshold=threshold,
                absent=tuple(side[0] for side in called),
                present=tuple(side[1] for side in called),
            )
        )
    write_text(task.out, classes_csv(_with_thresholds(segmenter.classes, found)))
    return found


def _with_thresholds(
    classes: Sequence[OpenClass], found: Sequence[FoundThreshold]
) -> list[OpenClass]:
    thresholds = {threshold.name: threshold.threshold for threshold in found}
    return [
        dataclasses.replace(known, threshold=thresholds.get(known.name, known.threshold))
        for known in classes
    ]


def _labels(path: Path, names: Sequence[str], keys: Sequence[tuple[str, ...]]) -> Labels:
    """The labels of every side; what nobody could say is left out, and classes not asked for."""
    asked = {name.casefold() for name in names}
    answers = [a for a in read_answers([path]) if a.class_name.casefold() in asked]
    labels: Labels = {of_side[0]: {} for of_side in keys}
    for name, told in labels_by_column(answers, names, keys).items():
        for side, images in told.majority.items():
            for image, present in images.items():
                if not np.isnan(present):
                    labels[side].setdefault(image, {})[name] = bool(present)
    return labels


def _scores(
    source: ImageSource,
    names: Sequence[str],
    segmenter: OpenVocabularySegmenter,
    task: ThresholdTask,
    progress: Progress,
) -> Float32[np.ndarray, "n k"]:
    """The score with which each of these images is still called of each class."""
    if getattr(source, "endless", False):
        raise ImageError(f"{source.spec} draws images; give those that were labelled as a folder")
    place = {name: index for index, name in enumerate(source.names)}
    absent = [name for name in names if name not in place]
    if absent:
        raise ImageError(f"{source.spec} has no image {absent[0]!r}, which {task.labels} labels")
    preparation = Preparation(segmenter.resolution, None, task.fit)
    rows = [np.zeros((0, len(segmenter.classes)), np.float32)]
    stream = batches(
        source,
        [place[name] for name in names],
        preparation,
        batch_size=task.batch_size,
        workers=0,
    )
    for batch in stream:
        squares = preparation.squares(batch.images, batch.sizes)
        scores = [segmenter.call_scores(square, task.presence_threshold) for square in squares]
        rows.append(np.maximum.reduce(scores))  # of tiles: what either is called by
        progress(sum(map(len, rows)), len(names))
    return np.concatenate(rows)
