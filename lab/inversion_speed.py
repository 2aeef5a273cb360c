"""How fast images are inverted: the paper's schedule against the default's, on the same images.

Both minimise the same loss with the same layers perturbed; only the optimiser and the batch
differ. The paper's takes one image at a time, as its release does. Wall clock and CPU seconds;
the ways take turns, batch by batch, so that a busy machine is shared fairly.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from unseen.bench.timing import machine, markdown
from unseen.core.errors import SpecError
from unseen.core.files import package_version, write_aside
from unseen.distribution.segment import default_segmenter
from unseen.generators import load_generator
from unseen.images import Preparation, open_images, subset
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.invert import default_perceptual
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.methods import PRESETS, Inverted, Reconstruction, inversion_preset
from unseen.inversion.perceptual import load_perceptual
from unseen.segmenters import load_segmenter

PAPER = "iccv2019"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """Invert the same images by method f in both ways."""

    generator: str
    inverter: str
    images: str
    count: int = 8
    seed: int = 0  # of the subset
    batch_size: int = 8  # of the default
    preset: str = "default"
    perceptual: str | None = None  # of both; None: the default's for these images
    perturbed: int | None = None  # of both; None: all layers up to the cut
    device: str = "cpu"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """What one way took and reached; means over the images."""

    name: str
    steps: float
    seconds: float  # an image, wall clock
    cpu_seconds: float  # an image, this process
    loss: float
    terms: dict[str, float]


def measure_speed(
    task: Speed,
    *,
    picture: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run both ways.

    Args:
        task: on what.
        picture: where a row of targets, of the paper's and of the default's reconstructions go.
        say: told what is done.

    Returns:
        JSON: the task, the machine, both ways, the ratio of their times, and per image the
        default's loss over the paper's.
    """
    generator = load_generator(task.generator, device=task.device)
    inverter = load_inverter(task.inverter, generator)
    source = open_images(task.images)
    preparation = Preparation(generator.resolution)
    indices = subset(source, task.count, task.seed)
    targets = np.stack([preparation.apply(source.read(index)) for index in indices])
    default = inversion_preset(
        task.preset,
        perceptual=task.perceptual or default_perceptual(task.images),
        perturbed=task.perturbed,
    )
    segmenter = None
    if default.perceptual == "segmenter":
        segmenter = load_segmenter(default_segmenter(source), device=task.device)
    perceptual = load_perceptual(
        default.perceptual, segmenter=segmenter, inverter=inverter, device=task.device
    )
    paper = dataclasses.replace(default, optimiser=PRESETS[PAPER].optimiser)
    ways = {
        PAPER: (Reconstruction(generator, inverter, paper, perceptual=perceptual), 1),
        task.preset: (
            Reconstruction(generator, inverter, default, perceptual=perceptual),
            task.batch_size,
        ),
    }
    if len(ways) < 2:
        raise SpecError(f"{PAPER} would be compared with itself; name another preset")
    wall = dict.fromkeys(ways, 0.0)
    cpu = dict.fromkeys(ways, 0.0)
    found: dict[str, list[Inverted]] = {name: [] for name in ways}
    images = torch.from_numpy(to_unit(targets))
    for start in range(0, len(images), task.batch_size):
        batch = images[start : start + task.batch_size]
        for name, (way, size) in ways.items():
            for first in range(0, len(batch), size):
                began, used = time.perf_counter(), time.process_time()
                done = sorted(way(batch[first : first + size]), key=lambda each: each.row)
                wall[name] += time.perf_counter() - began
                cpu[name] += time.process_time() - used
                found[name] += done
                losses = ", ".join(f"{each.loss:.4f}" for each in done)
                say(f"{name}: {len(found[name])} of {len(images)} images, loss {losses}")
    if picture is not None:
        rebuilt = [
            to_uint8(np.stack([each.reconstruction.cpu().numpy() for each in found[name]]))
            for name in ways
        ]
        _write_rows(picture, [targets, *rebuilt])
    measured = [
        Way(
            name=name,
            steps=float(np.mean([each.steps for each in found[name]])),
            seconds=wall[name] / len(images),
            cpu_seconds=cpu[name] / len(images),
            loss=float(np.mean([each.loss for each in found[name]])),
            terms={
                term: float(np.mean([each.terms[term] for each in found[name]]))
                for term in found[name][0].terms
            },
        )
        for name in ways
    ]
    return {
        "task": dataclasses.asdict(task),
        "settings": default.to_json(),
        "package_version": package_version(),
        "machine": {**machine(), "device": task.device},
        "ways": [dataclasses.asdict(way) for way in measured],
        "times_faster": measured[0].seconds / measured[1].seconds,
        "times_faster_cpu": measured[0].cpu_seconds / measured[1].cpu_seconds,
        "loss_ratios": [
            ours.loss / theirs.loss
            for theirs, ours in zip(found[PAPER], found[task.preset], strict=True)
        ],
    }


def speed_table(result: dict[str, Any]) -> str:
    """The measurement as a table in Markdown, and what follows from it."""
    rows = [
        [
            f"`{way['name']}`",
            f"{way['steps']:,.0f}",
            f"{way['seconds']:.3g}",
            f"{way['cpu_seconds']:.3g}",
            f"{way['loss']:.4f}",
            ", ".join(f"{name} {value:.4f}" for name, value in way["terms"].items()),
        ]
        for way in result["ways"]
    ]
    headings = ("way", "steps", "s/image", "CPU s/image", "loss", "its terms")
    lines = [markdown(headings, rows)]
    ratios = result["loss_ratios"]
    lines += [
        "",
        f"{result['times_faster']:.1f} times as fast ({result['times_faster_cpu']:.1f} in CPU "
        f"seconds); loss over the paper's schedule's {np.mean(ratios):.3f} on average, "
        f"{min(ratios):.3f} to {max(ratios):.3f}, of {len(ratios)} images",
    ]
    return "\n".join(lines)


def _write_rows(path: Path, rows: Sequence[UInt8[np.ndarray, "n 3 h w"]]) -> None:
    """Images side by side, a row below the other, twice as large."""
    picture = np.concatenate([np.concatenate(list(row), axis=2) for row in rows], axis=1)
    large = np.moveaxis(picture, 0, -1).repeat(2, axis=0).repeat(2, axis=1)
    with write_aside(path) as aside:
        Image.fromarray(np.ascontiguousarray(large)).save(aside, format="PNG")
