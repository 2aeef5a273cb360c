"""What steps of networks lose to page faults: glibc as it is, beside freed memory that is kept.

A network is made once. Then processes that are forked from this one take turns: they do the same
steps with or without the setting, and tell their faults and their processor time. Measure one kind
of steps in a call: glibc keeps more by itself once it has given back large blocks.
"""

import dataclasses
import os
import resource
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from lab.random_networks import diffusion, progan, random_upp, write_transformers_model
from unseen.core.errors import SpecError
from unseen.core.freed_memory import keep_freed_memory
from unseen.core.options import Option
from unseen.core.tables import markdown_table
from unseen.generators import Generator, load_layered
from unseen.generators.drawn_images import DrawnImages
from unseen.inversion.invert import InversionRun, invert, preset_for
from unseen.inversion.inverter_file import load_inverter
from unseen.segmenters import Segmenter, load_segmenter
from unseen.segmenters.upp import UnifiedParsingSegmenter

Step = Callable[[], object]
_WAYS = ("given back", "kept")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageFaults:
    """Measure page faults and processor time of a step, with and without freed memory."""

    work: Annotated[
        tuple[str, ...], Option("Kinds of steps: segformer,upp,progan,diffusion,invert,train.")
    ] = ("segformer",)
    steps: Annotated[int, Option("Steps of a turn, after one that warms up.", min=1)] = 1
    turns: Annotated[int, Option("Turns of each way; medians count.", min=1)] = 2


def measure_faults(task: PageFaults, say: Callable[[str], None] = print) -> str:
    """Measure, and give a table.

    Raises:
        SpecError: freed memory is kept already, or no such kind of steps.
    """
    if "glibc.malloc" not in os.environ.get("GLIBC_TUNABLES", ""):
        raise SpecError(
            "this process keeps freed memory already; run it with GLIBC_TUNABLES="
            "glibc.malloc.perturb=0, which changes nothing else"
        )
    if unknown := [name for name in task.work if name not in _WORK]:
        raise SpecError(f"{unknown[0]} is no kind of steps; known: {', '.join(_WORK)}")
    rows = []
    for name in task.work:
        step = _WORK[name]()
        told: dict[str, list[list[float]]] = {way: [] for way in _WAYS}
        for way in _WAYS * task.turns:
            told[way].append(_in_child(step, task.steps, keep=way == "kept"))
            say(f"{name}, {way}: {told[way][-1][1]:.2f} s a step")
        medians = [map(statistics.median, zip(*told[way], strict=True)) for way in _WAYS]
        faults, seconds, peak = zip(*medians, strict=True)
        rows.append(
            [
                name,
                *(f"{value:,.0f}" for value in faults),
                *(f"{value:.2f}" for value in seconds),
                *(f"{value:,.0f}" for value in peak),
            ]
        )
    units = ("faults a step", "s a step", "peak, MiB")
    return markdown_table(["work", *(f"{unit}, {way}" for unit in units for way in _WAYS)], rows)


def _in_child(step: Step, steps: int, *, keep: bool) -> list[float]:
    """Faults a step, seconds of processor time a step, and the peak of memory in MiB."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if keep:
                os.environ.pop("GLIBC_TUNABLES")
                assert keep_freed_memory()
            step()
            before = resource.getrusage(resource.RUSAGE_SELF)
            for _ in range(steps):
                step()
            after = resource.getrusage(resource.RUSAGE_SELF)
            faults = after.ru_minflt - before.ru_minflt
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            told = (faults / steps, seconds / steps, after.ru_maxrss / 1024)
            os.write(writing, " ".join(map(str, told)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="ascii") as answer:
        told_back = [float(number) for number in answer.read().split()]
    os.waitpid(child, 0)
    if not told_back:
        raise SpecError("a step failed; its error stands above")
    return told_back


def _segmenting(segmenter: Segmenter, count: int) -> Step:
    side = segmenter.resolution
    images = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), np.uint8)
    return lambda: segmenter.label_maps(images, next(iter(segmenter.channels)))


def _segformer() -> Step:
    """SegFormer-B0 of 150 classes, 4 images of 512²."""
    with tempfile.TemporaryDirectory() as folder:
        write_transformers_model("segformer-b0", Path(folder), 0)
        return _segmenting(load_segmenter(f"hf:{folder}", device="cpu"), 4)


def _upp() -> Step:
    """Unified Perceptual Parsing, 4 images of 256²."""
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 256, 256), np.uint8)
    network, vocabulary = random_upp(images, 0)
    made = UnifiedParsingSegmenter(network, vocabulary, {"spec": "random"}, device="cpu")
    return _segmenting(made, 4)


def _drawing(generator: Generator, count: int) -> Step:
    drawn = DrawnImages(generator, batch_size=count)
    return lambda: list(drawn.images(range(count)))


def _inverting() -> Step:
    """8 churchyards, 15 steps of method f."""
    generator = load_layered("churchyard-planted", device="cpu")
    inverter = load_inverter("churchyard-planted", generator)
    settings = preset_for("churchyard", "quick")
    few = dataclasses.replace(settings.optimiser, steps=15)
    task = InversionRun(settings=dataclasses.replace(settings, optimiser=few), count=8)
    return lambda: invert("churchyard", generator, inverter, task=task, progress=lambda *_: None)


def _training() -> Step:
    """A step of the churchyard's inverter, 32 images."""
    generator = load_layered("churchyard-planted", device="cpu")
    inverter: Any = load_inverter("churchyard-planted", generator).train()
    inverter.requires_grad_(True)
    optimiser = torch.optim.Adam(inverter.parameters())
    with torch.no_grad():
        images = generator(generator.latents(range(32)))

    def step() -> None:
        optimiser.zero_grad()
        inverter(images).square().mean().backward()
        optimiser.step()

    return step


_WORK: Mapping[str, Callable[[], Step]] = {
    "segformer": _segformer,
    "upp": _upp,
    "progan": lambda: _drawing(progan(device="cpu", precision="fp32"), 8),  # of 256²
    "diffusion": lambda: _drawing(diffusion(device="cpu", precision="fp32", steps="10"), 16),
    "invert": _inverting,
    "train": _training,
}
