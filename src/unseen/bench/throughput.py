"""Images a second through the whole path, against a plain loop in the same run.

The whole path is `unseen.segment`: decode in worker processes, segment, count. Of a model of
transformers, what one would take instead takes part, too: see `runtimes`. The plain loop is
what one writes first: images decoded one after another, batches of 10, float32, and for Unified
Perceptual Parsing the softmax of every head at full resolution; one bincount an image. Both take
the same images, turn by turn, so that what else the machine does meets both.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, UInt8
from torch.nn import functional as F  # noqa: N812 - the name that everyone reads

from unseen.bench.runtimes import PIPELINE, other_ways
from unseen.bench.timing import Compared, take_turns, timing_record, timing_table
from unseen.core.devices import resolve_device
from unseen.core.options import Argument, Device, Option, Seed, check_options
from unseen.distribution.segment import segment
from unseen.images import ImageSource, Preparation, open_images, subset
from unseen.images.protocol import read_image
from unseen.segmenters import (
    Precision,
    Segmenter,
    checked_label_maps,
    load_segmenter,
    segmenter_spec,
)
from unseen.segmenters.hf import TransformersSegmenter
from unseen.segmenters.unified_parsing import UnifiedParsing
from unseen.segmenters.upp import (
    UnifiedParsingSegmenter,
    Vocabulary,
    network_input,
    published_network,
)
from unseen.statistics.label_layers import deepened, pixels_of_classes

_PLAIN_BATCH = 10  # images, as the 2019 code had it
_COLUMNS = (
    # share of pixels whose label is another than the plain way's
    Compared("differing", "labels that differ", lambda share: f"{100 * share:.3g} %"),
    # largest lead, in logits, of the plain way's class at such a pixel: near 0 it was a tie
    Compared("widest_margin", "widest margin there", "{:.2g}".format),
)

Plain = Callable[[np.ndarray], tuple[np.ndarray, torch.Tensor | None]]
"""From images to label maps and, where the way has them, scores at full resolution."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmenting:
    """What a measurement of speed segments, and how often."""

    segmenter: Annotated[str, Argument("Spec of the segmenter.")] = "upp"
    images: Annotated[str, Option("Images: a folder, an archive or a spec.")] = (
        "churchyard?seed=1&resolution=256"
    )
    count: Annotated[int, Option("Images in a turn.", short="-n", min=1)] = 20
    rounds: Annotated[int, Option("Turns of each way that count.", min=1)] = 3
    seed: Seed = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Throughput(Segmenting):
    """Measure one segmenter on one set of images, after a turn that warms up."""

    device: Device = "auto"
    precisions: Annotated[
        tuple[Precision, ...], Option("Number formats to measure: fp32,bf16.")
    ] = ("fp32", "bf16")
    workers: Annotated[int, Option("Processes that decode images.", max=1024)] = 1

    def __post_init__(self) -> None:
        check_options(self)


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentingWays:
    """The plain way, what one would take instead, and the package's segmenter."""

    plain: Plain
    segmenters: Mapping[Precision, Segmenter]
    others: Mapping[str, Plain] = dataclasses.field(default_factory=dict)
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)  # others that are not here


def measure(
    task: Throughput,
    say: Callable[[str], None] = lambda _: None,
    *,
    ways: SegmentingWays | None = None,
) -> dict[str, Any]:
    """Run the plain loop and the whole path turn by turn.

    Args:
        task: what to measure.
        say: told of every turn.
        ways: None for those of the task's segmenter.

    Returns:
        JSON: the task, the machine, for each way its speed and how its labels differ, and why ways
        were skipped.

    Raises:
        UnseenError: from the image source or the segmenter.
    """
    source = open_images(task.images)
    indices = subset(source, task.count, task.seed)
    ways = ways or _ways(task, source, indices)
    for way, reason in ways.skipped.items():
        say(f"{way}: skipped, {reason}")
    first = ways.segmenters[task.precisions[0]]
    work: dict[str, Callable[[], object]] = {
        way: functools.partial(plain_loop, source, indices, first, label)
        for way, label in {"plain": ways.plain, **ways.others}.items()
    }
    for precision, segmenter in ways.segmenters.items():
        work[precision] = functools.partial(
            segment, source, segmenter, count=task.count, seed=task.seed, workers=task.workers
        )
    timed = take_turns(work, images=task.count, rounds=task.rounds, say=say)
    agreement = _agreement(source, indices, ways)
    return timing_record(task, timed, _COLUMNS, agreement, ways.skipped)


def table(result: dict[str, Any]) -> str:
    """The measurements as a table in Markdown."""
    return timing_table(result, _COLUMNS)


def plain_loop(
    source: ImageSource, indices: Sequence[int], segmenter: Segmenter, plain: Plain
) -> Float[np.ndarray, "n k"]:
    """Fractions of every class, by the code that most people write first."""
    classes = len(next(iter(segmenter.channels.values())))
    rows = []
    for images in prepared_batches(source, indices, segmenter.resolution):
        rows += [
            pixels_of_classes(label_map, classes) / math.prod(label_map.shape[-2:])
            for label_map in plain(images)[0]
        ]
    return np.stack(rows)


def prepared_batches(
    source: ImageSource, indices: Sequence[int], resolution: int
) -> Iterator[UInt8[np.ndarray, "n 3 h w"]]:
    """Images in batches of 10, decoded here and now."""
    preparation = Preparation(resolution)
    for start in range(0, len(indices), _PLAIN_BATCH):
        chosen = indices[start : start + _PLAIN_BATCH]
        yield np.stack([preparation.apply(read_image(source, index)) for index in chosen])


def _ways(task: Throughput, source: ImageSource, indices: Sequence[int]) -> SegmentingWays:
    spec = segmenter_spec(task.segmenter)
    if spec.name == "upp":
        return upp_ways(task, *published_network(spec))
    segmenters = {
        precision: load_segmenter(task.segmenter, device=task.device, precision=precision)
        for precision in task.precisions
    }
    first = segmenters[task.precisions[0]]
    itself = functools.partial(checked_label_maps, first)
    if not isinstance(first, TransformersSegmenter) or resolve_device(task.device) != "cpu":
        return SegmentingWays(_without_scores(itself), segmenters)
    example = next(prepared_batches(source, indices[:1], first.resolution))
    others, skipped = other_ways(first, example)
    plain = others.pop(PIPELINE, itself)
    labelling = {way: _without_scores(labels) for way, labels in others.items()}
    return SegmentingWays(_without_scores(plain), segmenters, labelling, skipped)


def _without_scores(labels: Callable[[np.ndarray], np.ndarray]) -> Plain:
    return lambda images: (labels(images), None)


def upp_ways(
    task: Throughput,
    network: UnifiedParsing,
    vocabulary: Vocabulary,
    provenance: Mapping[str, Any],
) -> SegmentingWays:
    """The ways of Unified Perceptual Parsing, whose plain loop has a softmax for every head."""
    device = torch.device(resolve_device(task.device))
    segmenters: dict[Precision, Segmenter] = {
        precision: UnifiedParsingSegmenter(
            network, vocabulary, provenance, device=str(device), precision=precision
        )
        for precision in task.precisions
    }
    network = network.to(device)
    return SegmentingWays(
        lambda images: plain_labels(network, vocabulary, images, device), segmenters
    )


@torch.inference_mode()
def plain_labels(
    network: UnifiedParsing,
    vocabulary: Vocabulary,
    images: UInt8[np.ndarray, "n 3 h w"],
    device: torch.device,
) -> tuple[np.ndarray, torch.Tensor]:
    """Object labels by the softmax of every head at full resolution, and the scores."""
    size = images.shape[-2:]
    scores = network(network_input(torch.from_numpy(images).to(device)).contiguous())
    fine = {
        head: F.interpolate(scores[head], size, mode="bilinear", align_corners=False)
        for head in ("object", "part", "material")
    }
    objects = fine["object"].softmax(1)
    fine["material"].softmax(1).argmax(1)
    for owned in vocabulary.parts:
        own = fine["part"][:, owned.first : owned.first + len(owned.labels)]
        own.softmax(1).argmax(1)
    return objects.argmax(1).cpu().numpy(), fine["object"]


def _differ(
    first: Integer[np.ndarray, "n *layers h w"], second: Integer[np.ndarray, "n *layers2 h w"]
) -> Bool[np.ndarray, "n h w"]:
    """The pixels that have other classes."""
    if first.ndim == 4:
        layers = max(first.shape[1], second.shape[1])
        first, second = deepened(first, layers), deepened(second, layers)
    differs: np.ndarray = first != second
    if first.ndim == 4:
        differs = np.logical_or.reduce(differs, axis=1)
    return differs


def _labels_of(plain: Plain, images: np.ndarray) -> np.ndarray:
    return plain(images)[0]


def _agreement(
    source: ImageSource, indices: Sequence[int], ways: SegmentingWays
) -> dict[str, dict[str, float]]:
    """How the labels of every way differ from the plain way's."""
    pixels = 0
    labelling: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        way: functools.partial(_labels_of, plain) for way, plain in ways.others.items()
    }
    for precision, segmenter in ways.segmenters.items():
        labelling[precision] = functools.partial(checked_label_maps, segmenter)
    differing: dict[str, int] = dict.fromkeys(labelling, 0)
    widest: dict[str, float] = {}
    first = next(iter(ways.segmenters.values()))
    for images in prepared_batches(source, indices, first.resolution):
        expected, scores = ways.plain(images)
        pixels += math.prod(expected.shape[-2:]) * len(expected)
        for way, labels_of in labelling.items():
            labels = labels_of(images)
            differs = _differ(expected, labels)
            differing[way] += int(differs.sum())
            if scores is not None:
                n, y, x = differs.nonzero()
                fine = scores.cpu().numpy()
                lead = fine[n, expected[differs], y, x] - fine[n, labels[differs], y, x]
                widest[way] = max(widest.get(way, 0.0), float(lead.max(initial=0.0)))
    return {
        way: {
            "differing": differing[way] / pixels,
            **({"widest_margin": widest[way]} if way in widest else {}),
        }
        for way in labelling
    }
