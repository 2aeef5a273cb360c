"""Images a second that a generator draws, against a plain loop in the same run.

The package's way is `unseen.DrawnImages`, which `unseen sample`, `segment` and `compare` draw by:
weights in channels-last order, bf16 by autocast where it is asked for, and pipelines in batches.
The plain loop is what one writes first: the same network in float32 as PyTorch makes it, channels
first; of a pipeline of diffusers a call an image. Both end in 8-bit images in memory, turn by
turn; no file is written.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from unseen.bench.timing import Compared, take_turns, timing_record, timing_table
from unseen.core.errors import SpecError
from unseen.core.options import SEED_MOST, Argument, Device, Option, check_options
from unseen.generators import Generator, Precision, load_generator
from unseen.generators.diffusers_pipeline import PipelineGenerator
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.layered import NetworkGenerator
from unseen.images.pixels import to_uint8

_COLUMNS = (
    Compared("mean_level", "mean difference, of 255", "{:.2g}".format),
    Compared("most", "largest", "{:.0f}".format),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingSpeed:
    """Measure one generator."""

    generator: Annotated[
        str, Argument("Spec of a generator: a network of layers, or a pipeline of diffusers.")
    ]
    count: Annotated[int, Option("Images in a turn.", short="-n", min=1)] = 8
    rounds: Annotated[
        int, Option("Turns of each way. One more turn before them warms up.", min=1)
    ] = 3
    batch_size: Annotated[int, Option("Images in one call of the generator.", min=1)] = 8
    seed: Annotated[int, Option("Seed of the latents.", name="--sample-seed", max=SEED_MOST)] = 1
    device: Device = "auto"
    precisions: Annotated[
        tuple[Precision, ...], Option("Number formats to measure: fp32,bf16.")
    ] = ("fp32", "bf16")

    def __post_init__(self) -> None:
        check_options(self)


def measure(task: SamplingSpeed, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run the plain loop and the package's way turn by turn.

    Returns:
        JSON: the task, the machine, and for each way its speed and by how much its 8-bit values
        differ from the plain loop's, on average and at most.

    Raises:
        SpecError: the generator is neither, and cannot be run plainly.
    """
    drawn = {precision: _drawn(task, precision) for precision in task.precisions}
    ways: dict[str, Callable[[], UInt8[np.ndarray, "n 3 h w"]]] = {"plain": _plain(task, drawn)}
    for precision, images in drawn.items():
        ways[precision] = functools.partial(_draw, images, task.count)
    timed = take_turns(ways, images=task.count, rounds=task.rounds, say=say)
    expected = ways["plain"]().astype(int)
    differences = {way: np.abs(ways[way]() - expected) for way in drawn}
    compared: dict[str, dict[str, float]] = {
        way: {"mean_level": float(levels.mean()), "most": int(levels.max())}
        for way, levels in differences.items()
    }
    record = timing_record(task, timed, _COLUMNS, compared)
    return {**record, "resolution": expected.shape[-1]}


def table(result: dict[str, Any]) -> str:
    """The measurements as a table in Markdown."""
    return timing_table(result, _COLUMNS)


def _plain(
    task: SamplingSpeed, drawn: Mapping[Precision, DrawnImages]
) -> Callable[[], UInt8[np.ndarray, "n 3 h w"]]:
    """The plain loop over the float32 generator (SpecError where there is none)."""
    of_float32 = drawn.get("fp32") or _drawn(task, "fp32")
    generator: Generator = of_float32.generator
    if isinstance(generator, PipelineGenerator):
        return functools.partial(one_by_one, task, generator)
    if not isinstance(generator, NetworkGenerator):
        raise SpecError(
            f"{task.generator}: only networks of layers and pipelines of diffusers are measured; "
            "name one of the built-in kinds"
        )
    network = copy.deepcopy(generator.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return lambda: plain_loop(task, network, generator)


def one_by_one(task: SamplingSpeed, generator: PipelineGenerator) -> UInt8[np.ndarray, "n 3 h w"]:
    """Images of one turn by a call of the pipeline for each, with the same prompts and streams."""
    images = []
    for index in range(task.count):
        called = generator.pipeline(
            output_type="np", **generator.arguments([index], seed=task.seed)
        )
        images.append(np.asarray(called.images, np.float32).transpose(0, 3, 1, 2))
    return to_uint8(np.concatenate(images) * 2 - 1)


@torch.no_grad()
def plain_loop(
    task: SamplingSpeed, network: nn.Module, generator: NetworkGenerator
) -> UInt8[np.ndarray, "n 3 h w"]:
    """Images of one turn, by the code that most people write first."""
    latents = generator.latents(range(task.count), seed=task.seed)
    images = [
        ((network(batch) + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
        for batch in torch.split(latents, task.batch_size)
    ]
    return np.concatenate(images)


def _draw(images: DrawnImages, count: int) -> UInt8[np.ndarray, "n 3 h w"]:
    return np.stack(list(images.images(range(count))))


def _drawn(task: SamplingSpeed, precision: Precision) -> DrawnImages:
    generator = load_generator(task.generator, device=task.device, precision=precision)
    return DrawnImages(generator, seed=task.seed, batch_size=task.batch_size)
