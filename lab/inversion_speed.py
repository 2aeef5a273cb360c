"""How fast images are inverted: the paper's schedule against the default's, on the same images.

Both minimise the same loss with the same layers perturbed; only the optimiser and the batch
differ. The paper's takes one image at a time, as its release does. Wall clock and CPU seconds;
the ways take turns, batch by batch, so that a busy machine is shared fairly.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from unseen.bench.timing import machine
from unseen.core.errors import SpecError
from unseen.core.files import package_version, write_aside
from unseen.core.options import Argument, Device, Option, Seed
from unseen.core.records import to_json
from unseen.core.tables import markdown_table
from unseen.distribution.segment import default_segmenter
from unseen.generators import load_layered
from unseen.images import Preparation, open_images, subset
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.invert import default_perceptual
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.methods import (
    PRESETS,
    Inversion,
    Inverted,
    PreparedMethod,
    inversion_preset,
)
from unseen.inversion.perceptual import load_perceptual
from unseen.segmenters import load_segmenter

PAPER = "iccv2019"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionSpeed:
    """Invert the same images by method f in both ways."""

    generator: Annotated[str, Argument("Spec of the generator.")]
    inverter: Annotated[str, Option("Its inverter: a file or a spec.")]
    images: Annotated[str, Option("Photographs: a folder, an archive or a spec.")]
    count: Annotated[int, Option("Photographs to invert.", short="-n", min=1)] = 8
    seed: Seed = 0
    batch_size: Annotated[
        int,
        Option("Images optimised at once. The paper's way takes one image at a time.", min=1),
    ] = 8
    preset: Annotated[str, Option("Settings that are compared with the paper's schedule.")] = (
        "default"
    )
    perceptual: Annotated[
        str | None, Option("Features of both ways. Default: what suits the photographs.")
    ] = None
    perturbed: Annotated[
        int | None,
        Option("First layers that are perturbed. Default: all layers up to the cut.", min=1),
    ] = None
    device: Device = "cpu"
    picture: Annotated[
        Path | None, Option("File (.png) for targets and both rows of reconstructions.")
    ] = None

    def __post_init__(self) -> None:
        if self.preset == PAPER:
            raise SpecError(f"{PAPER} would be compared with itself; name another preset")


@dataclasses.dataclass(eq=False)
class _Way:
    """One way, what it took and what it made."""

    reconstruct: PreparedMethod
    batch_size: int
    seconds: float = 0.0  # wall clock
    cpu_seconds: float = 0.0  # this process
    made: list[Inverted] = dataclasses.field(default_factory=list)

    def run(self, images: torch.Tensor) -> list[Inverted]:
        """Invert some images, on the clock."""
        done: list[Inverted] = []
        for batch in torch.split(images, self.batch_size):
            began, used = time.perf_counter(), time.process_time()
            done += sorted(self.reconstruct(batch), key=lambda inverted: inverted.row)
            self.seconds += time.perf_counter() - began
            self.cpu_seconds += time.process_time() - used
        self.made += done
        return done

    def to_json(self, name: str) -> dict[str, Any]:
        """Means over the images."""
        count = len(self.made)
        return {
            "name": name,
            "steps": float(np.mean([inverted.steps for inverted in self.made])),
            "seconds": self.seconds / count,
            "cpu_seconds": self.cpu_seconds / count,
            "loss": float(np.mean([inverted.loss for inverted in self.made])),
            "terms": {
                term: float(np.mean([inverted.terms[term] for inverted in self.made]))
                for term in self.made[0].terms
            },
        }


def measure_speed(
    task: InversionSpeed, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Run both ways.

    Returns:
        JSON: the task, the machine, both ways, the ratio of their times, and per image the
        default's loss over the paper's.
    """
    targets, ways, settings = _prepare(task)
    images = torch.from_numpy(to_unit(targets))
    for batch in torch.split(images, task.batch_size):
        for name, way in ways.items():
            losses = ", ".join(f"{inverted.loss:.4f}" for inverted in way.run(batch))
            say(f"{name}: {len(way.made)} of {len(images)} images, loss {losses}")
    if task.picture is not None:
        rebuilt = [
            to_uint8(np.stack([inverted.reconstruction.cpu().numpy() for inverted in way.made]))
            for way in ways.values()
        ]
        _write_rows(task.picture, [targets, *rebuilt])
    paper, default = ways[PAPER], ways[task.preset]
    return {
        "task": to_json(dataclasses.replace(task, picture=None)),
        "settings": settings.to_json(),
        "package_version": package_version(),
        "machine": {**machine(), "device": task.device},
        "ways": [way.to_json(name) for name, way in ways.items()],
        "times_faster": paper.seconds / default.seconds,
        "times_faster_cpu": paper.cpu_seconds / default.cpu_seconds,
        "loss_ratios": [
            ours.loss / theirs.loss for theirs, ours in zip(paper.made, default.made, strict=True)
        ],
    }


def _prepare(
    task: InversionSpeed,
) -> tuple[UInt8[np.ndarray, "n 3 h w"], dict[str, _Way], Inversion]:
    """The images, the two ways, and the settings of the default one."""
    generator = load_layered(task.generator, device=task.device)
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
        name: _Way(PreparedMethod(generator, inverter, settings, perceptual=perceptual), size)
        for name, settings, size in ((PAPER, paper, 1), (task.preset, default, task.batch_size))
    }
    return targets, ways, default


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
    lines = [markdown_table(headings, rows)]
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
