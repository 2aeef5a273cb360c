"""How fast images are inverted: a plain loop against the package, on the same images.

Both minimise the same loss with the same layers perturbed. The plain loop is what one writes first,
and what the paper's release does: 3,000 steps of PyTorch's Adam, an image at a time. The package's
way is a preset of `unseen invert`, in batches. Wall clock and CPU seconds; the ways take turns,
batch by batch, so that a busy machine is shared fairly.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from unseen.bench.inversion_methods import MethodComparison
from unseen.bench.timing import machine
from unseen.core.errors import SpecError
from unseen.core.files import package_version, write_aside, write_json, write_text
from unseen.core.tables import markdown_table
from unseen.distribution.segment import default_segmenter
from unseen.generators import load_layered
from unseen.generators.drawn_images import DrawnImages
from unseen.images import Preparation, open_images, subset
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.methods import PRESETS, Inverted, PreparedMethod
from unseen.inversion.optimise import Adam
from unseen.inversion.perceptual import load_perceptual
from unseen.segmenters import load_segmenter

PLAIN = "plain"
_PAPER = "iccv2019"
_SUBSET_SEED = 0  # of the photographs

Pictures = Float[Tensor, "n 3 h w"]


@dataclasses.dataclass(eq=False)
class _Way:
    """One way, what it took and what it made."""

    reconstruct: Callable[[Pictures], Sequence[Inverted]]
    seconds: float = 0.0  # wall clock
    cpu_seconds: float = 0.0  # this process
    made: list[Inverted] = dataclasses.field(default_factory=list)

    def run(self, images: Pictures) -> list[Inverted]:
        """Invert some images, on the clock."""
        began, used = time.perf_counter(), time.process_time()
        done = sorted(self.reconstruct(images), key=lambda inverted: inverted.row)
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


def plain_loop(prepared: PreparedMethod, images: Pictures) -> Iterator[Inverted]:
    """Invert one image after another by PyTorch's Adam, as most people write it first."""
    optimiser = PRESETS[_PAPER].optimiser
    assert isinstance(optimiser, Adam)
    for row in range(len(images)):
        problem = prepared.problem(images[row : row + 1], [row])
        point = problem.start.clone().requires_grad_()
        adam = torch.optim.Adam([point], lr=optimiser.learning_rate)
        alone = torch.zeros(1, dtype=torch.long, device=point.device)
        for step in range(optimiser.steps):
            adam.param_groups[0]["lr"] = optimiser.rate(step)
            adam.zero_grad()
            torch.autograd.backward(problem.loss(point, alone).sum())
            adam.step()
        solved = problem.solved(0, point.detach()[0], optimiser.steps, None)
        yield dataclasses.replace(solved, row=row)


def measure_speed(
    task: MethodComparison, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Invert the first photographs, and as many of the generator's images, in both ways.

    Args:
        task: `examples` says how many; method f alone is timed.
        say: told of every batch.

    Returns:
        JSON: the task, the machine, both ways, the ratio of their times, and per image the
        package's loss over the plain loop's. It is written to `speed.json` in the task's folder,
        beside `speed.md` and the reconstructions, `speed.png`.

    Raises:
        SpecError: the paper's preset, which the plain loop has.
    """
    targets, ways, settings = _prepare(task)
    images = torch.from_numpy(to_unit(targets))
    for batch in torch.split(images, task.batch_size):
        for name, way in ways.items():
            losses = ", ".join(f"{inverted.loss:.4f}" for inverted in way.run(batch))
            say(f"{name}: {len(way.made)} of {len(images)} images, loss {losses}")
    plain, ours = ways.values()
    result = {
        "task": {key: value for key, value in dataclasses.asdict(task).items() if key != "out"},
        "settings": settings,
        "package_version": package_version(),
        "machine": {**machine(), "device": task.device},
        "photographs": task.examples,
        "ways": [way.to_json(name) for name, way in ways.items()],
        "times_faster": plain.seconds / ours.seconds,
        "times_faster_cpu": plain.cpu_seconds / ours.cpu_seconds,
        "loss_ratios": [
            ours.loss / theirs.loss for theirs, ours in zip(plain.made, ours.made, strict=True)
        ],
    }
    rebuilt = [
        to_uint8(np.stack([inverted.reconstruction.cpu().numpy() for inverted in way.made]))
        for way in ways.values()
    ]
    _write_rows(task.out / "speed.png", [targets, *rebuilt])
    write_json(task.out / "speed.json", result)
    write_text(task.out / "speed.md", speed_table(result) + "\n")
    return result


def _prepare(
    task: MethodComparison,
) -> tuple[UInt8[np.ndarray, "n 3 h w"], dict[str, _Way], dict[str, Any]]:
    """The images, photographs first; the two ways; the settings of the package's."""
    if task.preset == _PAPER:
        raise SpecError(f"the plain loop is {_PAPER} by itself; name another preset")
    generator = load_layered(task.generator, device=task.device)
    inverter = load_inverter(task.inverter, generator)
    source = open_images(task.photographs)
    preparation = Preparation(generator.resolution)
    targets = [
        preparation.apply(source.read(index))
        for index in subset(source, task.examples, _SUBSET_SEED)
    ]
    targets += DrawnImages(generator, seed=task.seed).images(range(task.examples))
    settings = task.settings("f", task.cut or inverter.layer_names[-1])
    segmenter = None
    if settings.perceptual == "segmenter":
        segmenter = load_segmenter(default_segmenter(source), device=task.device)
    perceptual = load_perceptual(
        settings.perceptual,
        segmenter=segmenter,
        inverter=inverter,
        device=generator.latents(range(1)).device,
    )
    prepared = PreparedMethod(generator, inverter, settings, perceptual=perceptual)
    ways = {
        PLAIN: _Way(lambda images: list(plain_loop(prepared, images))),
        task.preset: _Way(lambda images: list(prepared(images))),
    }
    return np.stack(targets), ways, settings.to_json()


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
    lines = [markdown_table(headings, rows), ""]
    count = result["photographs"]
    for what, ratios in (
        ("photographs", result["loss_ratios"][:count]),
        ("of the generator's own images", result["loss_ratios"][count:]),
    ):
        lines.append(
            f"{len(ratios)} {what}: loss over the plain loop's {np.mean(ratios):.3f} on average, "
            f"{min(ratios):.3f} to {max(ratios):.3f}"
        )
    lines.append(
        f"{result['times_faster']:.1f} times as fast ({result['times_faster_cpu']:.1f} in CPU "
        "seconds)"
    )
    return "\n".join(lines)


def _write_rows(path: Path, rows: Sequence[UInt8[np.ndarray, "n 3 h w"]]) -> None:
    """Images side by side, a row below the other, twice as large."""
    picture = np.concatenate([np.concatenate(list(row), axis=2) for row in rows], axis=1)
    large = np.moveaxis(picture, 0, -1).repeat(2, axis=0).repeat(2, axis=1)
    with write_aside(path) as aside:
        Image.fromarray(np.ascontiguousarray(large)).save(aside, format="PNG")
