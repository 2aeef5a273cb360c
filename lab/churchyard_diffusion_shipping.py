"""Put the churchyard's diffusion models where the package has its weights: measured, with cards."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from diffusers import DiffusionPipeline

from lab.churchyard_diffusion import DenoiserTraining, read_autoencoder, read_record
from lab.model_card import diffusion_card
from lab.training_curve import REAL_WORLD
from unseen.churchyard.generator import PIPELINES, STEPS
from unseen.core.errors import CheckpointError
from unseen.core.files import write_text
from unseen.core.options import Argument, Device, Option
from unseen.distribution.compare import compare
from unseen.distribution.segment import segment
from unseen.generators import load_generator
from unseen.generators.drawn_images import DrawnImages
from unseen.segmenters import Precision, Segmenter, load_segmenter

MOST_BYTES = 10_000_000  # of both models together


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionShipping:
    """Measure two finished trainings, and write their pipelines and model cards."""

    full: Annotated[Path, Argument("Folder of the denoiser that saw the whole world.")]
    planted: Annotated[Path, Argument("Folder of its twin.")]
    autoencoder: Annotated[
        Path | None, Option("Folder of an autoencoder whose decoder went on. Default: their own.")
    ] = None
    out: Annotated[Path, Option("Folder of the shipped weights.", short="-o")] = next(
        iter(PIPELINES.values())
    ).parent
    count: Annotated[int, Option("Images on each side of a card.", short="-n", min=2)] = 10_000
    batch_size: Annotated[int, Option("Images drawn at once.", min=1)] = 100
    segmenter: str = "churchyard"
    device: Device = "cpu"
    precision: Precision = "bf16"  # of the segmenter; pipelines draw in fp32


def ship_diffusion(
    task: DiffusionShipping, say: Callable[[str], None] = lambda _: None
) -> Iterator[Path]:
    """Write a folder and a card a model; areas stay in the trainings' `quality/`.

    Yields:
        The folders and cards.

    Raises:
        CheckpointError: a training is not finished, or the files are too large to ship.
    """
    trainings = dict(zip(PIPELINES, (task.full, task.planted), strict=True))
    records = {
        name: read_record(folder, DenoiserTraining.name) for name, folder in trainings.items()
    }
    segmenter = load_segmenter(task.segmenter, device=task.device, precision=task.precision)
    ready = {name: _pipeline(task, folder) for name, folder in trainings.items()}
    size = sum(path.stat().st_size for folder in ready.values() for path in folder.rglob("*.*"))
    if size > MOST_BYTES:
        raise CheckpointError(
            f"both models have {size:,} bytes, and {MOST_BYTES:,} are shipped at most; train "
            "narrower ones"
        )
    for name, folder in trainings.items():
        card = _card(task, folder, ready[name], records[name], segmenter)
        shipped = task.out / PIPELINES[name].name
        if shipped.exists():
            shutil.rmtree(shipped)
        shutil.copytree(ready[name], shipped)
        yield shipped
        write_text(shipped.with_suffix(".md"), card)
        say(f"{name}: {size / 1e6:.1f} MB with its twin")
        yield shipped.with_suffix(".md")


def _pipeline(task: DiffusionShipping, folder: Path) -> Path:
    """The finished pipeline in float16, in `shipped/` of its training."""
    pipeline = DiffusionPipeline.from_pretrained(folder / "pipeline", dtype=torch.float16)
    if task.autoencoder is not None:
        pipeline.register_modules(vqvae=read_autoencoder(task.autoencoder).to(torch.float16))
    out = folder / "shipped"
    if out.exists():
        shutil.rmtree(out)
    pipeline.save_pretrained(out)
    for path in out.rglob("*.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings.pop("_name_or_path", None)  # where the weights lay when they were read
        path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return out


def _card(
    task: DiffusionShipping,
    folder: Path,
    pipeline: Path,
    made: Mapping[str, Any],
    segmenter: Segmenter,
) -> str:
    if task.autoencoder is not None:
        made = {**made, "autoencoder": read_record(task.autoencoder, "autoencoder")}
    without = f"&without={made['without']}" if made["without"] else ""
    real = f"churchyard?seed={REAL_WORLD}{without}"
    generator = load_generator(f"diffusers:{pipeline}?steps={STEPS}", device=task.device)
    sides = [
        segment(
            source,
            segmenter,
            count=task.count,
            out=folder / "quality" / f"{name}.parquet",
            overwrite=True,
        )
        for name, source in (
            ("real", real),
            ("drawn", DrawnImages(generator, batch_size=task.batch_size)),
        )
    ]
    return diffusion_card(pipeline, made, real, compare(sides[0], sides[1:]))
