"""Images a second that a generator draws, against a plain loop in the same run.

The package's way is `unseen.DrawnImages`, which `unseen sample`, `segment` and `compare` draw by:
weights in channels-last order, and bf16 by autocast where it is asked for. The plain loop is what
one writes first: the same network in float32 as PyTorch makes it, channels first. Both end in
8-bit images in memory, turn by turn; no file is written.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from unseen.bench.timing import HEADINGS, cells, machine, markdown, take_turns
from unseen.core.devices import resolve_device
from unseen.core.errors import SpecError
from unseen.core.files import package_version
from unseen.generators import Precision, load_generator
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.layered import LayeredGenerator
from unseen.generators.progan import ProGAN

PROGAN_WIDTHS = (512, 512, 512, 512, 256, 128, 64, 32)  # latent, 4×4, …: as published at 256×256


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingSpeed:
    """Measure one generator."""

    generator: str | None = None  # a spec; None for the published ProGAN's shapes, random weights
    count: int = 8  # images a turn
    rounds: int = 3  # turns of each way; the first pair warms up and is not counted
    batch_size: int = 8  # images a call of the generator, either way
    seed: int = 1  # of latents, and of random weights
    device: str = "cpu"
    precisions: tuple[Precision, ...] = ("fp32", "bf16")


def measure(task: SamplingSpeed, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run the plain loop and the package's way turn by turn.

    Returns:
        JSON: the task, the machine, and for each way its speed and by how much its 8-bit values
        differ from the plain loop's, on average and at most.

    Raises:
        SpecError: the generator is not a network of layers, which could be run plainly.
    """
    drawn = {precision: _drawn(task, precision) for precision in task.precisions}
    generator = next(iter(drawn.values())).generator
    if not isinstance(generator, LayeredGenerator):
        raise SpecError(
            f"{task.generator}: only generators that are a network of layers are measured; name "
            "one of the built-in kinds"
        )
    network = copy.deepcopy(generator.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    ways: dict[str, Callable[[], UInt8[np.ndarray, "n 3 h w"]]] = {
        "plain": lambda: plain_loop(task, network, generator)
    }
    for precision, images in drawn.items():
        ways[precision] = functools.partial(_draw, images, task.count)
    timed = take_turns(ways, images=task.count, rounds=task.rounds, say=say)
    expected = ways["plain"]().astype(int)
    measured = []
    for each in timed:
        entry: dict[str, Any] = {**dataclasses.asdict(each), "mean_level": None, "most": None}
        if each.way != "plain":
            difference = np.abs(ways[each.way]() - expected)
            entry |= {"mean_level": float(difference.mean()), "most": int(difference.max())}
        measured.append(entry)
    return {
        "task": {**dataclasses.asdict(task), "precisions": list(task.precisions)},
        "package_version": package_version(),
        "machine": machine(),
        "resolution": generator.resolution,
        "measured": measured,
    }


def table(result: dict[str, Any]) -> str:
    """The measurements as a table in Markdown."""
    rows = [
        [
            *cells(each),
            "" if each["mean_level"] is None else f"{each['mean_level']:.2g}",
            "" if each["most"] is None else str(each["most"]),
        ]
        for each in result["measured"]
    ]
    return markdown([*HEADINGS, "mean difference, of 255", "largest"], rows)


@torch.no_grad()
def plain_loop(
    task: SamplingSpeed, network: nn.Module, generator: LayeredGenerator
) -> UInt8[np.ndarray, "n 3 h w"]:
    """Images of one turn, the way one writes it first."""
    latents = generator.latents(range(task.count), seed=task.seed)
    images = [
        ((network(batch) + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
        for batch in torch.split(latents, task.batch_size)
    ]
    return np.concatenate(images)


def _draw(images: DrawnImages, count: int) -> UInt8[np.ndarray, "n 3 h w"]:
    return np.stack(list(images.images(range(count))))


def _drawn(task: SamplingSpeed, precision: Precision) -> DrawnImages:
    if task.generator is not None:
        generator = load_generator(task.generator, device=task.device, precision=precision)
        return DrawnImages(generator, seed=task.seed, batch_size=task.batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        network = ProGAN(PROGAN_WIDTHS)
        for parameter in network.parameters():
            nn.init.normal_(parameter)  # as its scales expect
    made = LayeredGenerator(
        network,
        latent_size=PROGAN_WIDTHS[0],
        resolution=network.resolution,
        provenance={"family": "progan", "random_weights": task.seed, "precision": precision},
        device=torch.device(resolve_device(task.device)),
        precision=precision,
    )
    return DrawnImages(made, seed=task.seed, batch_size=task.batch_size)
