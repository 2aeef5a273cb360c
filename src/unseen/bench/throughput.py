"""Images a second through the whole path, against a plain loop in the same run.

The whole path is `unseen.segment`: decode in worker processes, segment, count. The plain loop is
what one writes first: images decoded one after another, batches of 10, float32, and for Unified
Perceptual Parsing the softmax of every head at full resolution; one bincount an image. Both take
the same images, turn by turn, so that what else the machine does meets both.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name that everyone reads

from unseen.bench.timing import HEADINGS, Timed, cells, machine, markdown, take_turns
from unseen.core.errors import SpecError
from unseen.core.files import package_version
from unseen.distribution.segment import segment
from unseen.images import ImageSource, Preparation, open_images, subset
from unseen.segmenters import Segmenter, load_segmenter, segmenter_spec
from unseen.segmenters.unified_parsing import Sizes, UnifiedParsing
from unseen.segmenters.upp import (
    UnifiedParsingSegmenter,
    Vocabulary,
    network_input,
    published_network,
    vocabulary_of,
)

_PLAIN_BATCH = 10  # images, as the 2019 code had it
_LOGITS_STD = 3.0  # spread of random scores; trained networks' are of this size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Throughput:
    """Measure one segmenter on one set of images."""

    segmenter: str  # a spec
    images: str  # a spec, a folder or an archive
    count: int = 20  # images a turn
    rounds: int = 3  # turns of each way; the first pair warms up and is not counted
    seed: int = 0  # of the subset and of random weights
    random_weights: bool = False  # UPP without its files: for speed alone, labels mean nothing
    device: str = "cpu"
    precisions: tuple[str, ...] = ("fp32", "bf16")
    workers: int = 1  # decoding processes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured(Timed):
    """One way's speed and how its labels agree with the plain loop's."""

    differing: float | None = None  # share of pixels whose label is another
    widest_margin: float | None = None  # largest lead of the plain winner at such a pixel, logits


# images → label maps and, where the way has them, scores at full resolution
Plain = Callable[[np.ndarray], tuple[np.ndarray, torch.Tensor | None]]


def measure(task: Throughput, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run the plain loop and the whole path turn by turn.

    Returns:
        JSON: the task, the machine, and one entry of `Measured` a way.

    Raises:
        SpecError: random weights for anything but UPP.
        UnseenError: from the image source or the segmenter.
    """
    source = open_images(task.images)
    indices = subset(source, task.count, task.seed)
    plain, fast = _ways(task, source, indices)
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_loop(source, indices, fast[task.precisions[0]], plain)
    }
    for way, segmenter in fast.items():
        ways[way] = functools.partial(
            segment, source, segmenter, count=task.count, seed=task.seed, workers=task.workers
        )
    timed = take_turns(ways, images=task.count, rounds=task.rounds, say=say)
    agreement = _agreement(source, indices, plain, fast)
    measured = [
        Measured(**{**dataclasses.asdict(each), **agreement.get(each.way, {})}) for each in timed
    ]
    return {
        "task": {**dataclasses.asdict(task), "precisions": list(task.precisions)},
        "package_version": package_version(),
        "machine": machine(),
        "measured": [dataclasses.asdict(each) for each in measured],
    }


def table(result: dict[str, Any]) -> str:
    """The measurements as a table in Markdown."""
    rows = [
        [
            *cells(each),
            "" if each["differing"] is None else f"{100 * each['differing']:.3g} %",
            "" if each["widest_margin"] is None else f"{each['widest_margin']:.2g}",
        ]
        for each in result["measured"]
    ]
    return markdown([*HEADINGS, "labels that differ", "widest margin there"], rows)


def plain_loop(
    source: ImageSource, indices: Sequence[int], segmenter: Segmenter, plain: Plain
) -> Float[np.ndarray, "n k"]:
    """Fractions of every class, the way one writes it first."""
    classes = len(next(iter(segmenter.channels.values())))
    rows = []
    for images in _plain_batches(source, indices, segmenter.resolution):
        rows += [
            np.bincount(label_map.ravel(), minlength=classes) / label_map.size
            for label_map in plain(images)[0]
        ]
    return np.stack(rows)


def _plain_batches(source: ImageSource, indices: Sequence[int], resolution: int) -> Any:
    preparation = Preparation(resolution)
    for start in range(0, len(indices), _PLAIN_BATCH):
        chosen = indices[start : start + _PLAIN_BATCH]
        yield np.stack([preparation.apply(source.read(index)) for index in chosen])


def _ways(
    task: Throughput, source: ImageSource, indices: Sequence[int]
) -> tuple[Plain, dict[str, Segmenter]]:
    """The plain way, and the segmenter in every precision."""
    spec = segmenter_spec(task.segmenter)
    if task.random_weights:
        if spec.name != "upp":
            raise SpecError(f"{task.segmenter!r}: random weights are for upp alone")
        sample = next(iter(_plain_batches(source, indices[:8], UnifiedParsingSegmenter.resolution)))
        network, vocabulary = random_network(sample, task.seed)
        provenance = {"spec": task.segmenter, "family": "upp", "random_weights": task.seed}
    elif spec.name == "upp":
        network, vocabulary, provenance = published_network(spec)
    else:
        fast = {
            precision: load_segmenter(task.segmenter, device=task.device, precision=precision)
            for precision in task.precisions
        }
        return (lambda images: (fast[task.precisions[0]].label_maps(images), None)), fast
    device = torch.device(task.device)
    ready = {
        precision: UnifiedParsingSegmenter(
            network,
            vocabulary,
            provenance,
            device=task.device,
            precision="bf16" if precision == "bf16" else "fp32",
        )
        for precision in task.precisions
    }
    network = network.to(device)
    return (lambda images: plain_labels(network, vocabulary, images, device)), dict(ready)


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


def random_network(
    images: UInt8[np.ndarray, "n 3 h w"], seed: int
) -> tuple[UnifiedParsing, Vocabulary]:
    """A network of the published widths with random weights: for speed, its labels mean nothing.

    Batch norm's statistics are those of the given images, residual branches are damped, and the
    classifiers scaled, so that features and scores have the sizes of a trained network's.
    """
    vocabulary = vocabulary_of(
        {
            "object": ["-", *(f"object {k}" for k in range(1, 336))],
            "material": ["-", *(f"material {k}" for k in range(1, 26))],
            "scene": [f"scene {k}" for k in range(365)],
            "part": [],
            # 427 scores, as in the published files, for seven owners
            "object_part": {f"object {k}": [f"part {j}" for j in range(61)] for k in range(1, 8)},
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UnifiedParsing(Sizes(classes=vocabulary.scores))
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # statistics of this one batch
            if name.endswith("bn3") and "layer" in name:
                nn.init.constant_(module.weight, 0.25)
    network.train()
    with torch.no_grad():
        inputs = network_input(torch.from_numpy(images)).contiguous()
        for head, scores in network(inputs).items():
            last = 2 if head == "scene" else 1
            classifier = network.decoder.get_submodule(f"{head}_head.{last}")
            assert isinstance(classifier, nn.Conv2d)
            classifier.weight *= _LOGITS_STD / scores.std()
    return network.eval(), vocabulary


def _agreement(
    source: ImageSource, indices: Sequence[int], plain: Plain, fast: dict[str, Segmenter]
) -> dict[str, dict[str, float]]:
    """How the labels of every way differ from the plain loop's."""
    pixels = 0
    differing = dict.fromkeys(fast, 0)
    widest: dict[str, float] = {}
    first = next(iter(fast.values()))
    for images in _plain_batches(source, indices, first.resolution):
        expected, scores = plain(images)
        pixels += expected.size
        for way, segmenter in fast.items():
            found = segmenter.label_maps(images)
            other = expected != found
            differing[way] += int(other.sum())
            if scores is not None:
                n, y, x = other.nonzero()
                fine = scores.cpu().numpy()
                lead = fine[n, expected[other], y, x] - fine[n, found[other], y, x]
                widest[way] = max(widest.get(way, 0.0), float(lead.max(initial=0.0)))
    return {
        way: {
            "differing": differing[way] / pixels,
            **({"widest_margin": widest[way]} if way in widest else {}),
        }
        for way in fast
    }
