"""Train the churchyard's generator: scenes in, weights and sample grids out.

Source: ProGAN's architecture (Karras et al., 2018), narrower; the stage of the one training loop.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from safetensors.torch import save
from torch import nn

from lab.adversarial import AdversarialLearner, AdversarialStage
from unseen.churchyard.source import ChurchyardSource, open_churchyard
from unseen.core.errors import CheckpointError, SpecError
from unseen.core.files import package_version, write_aside, write_json
from unseen.core.options import SEED_MOST, Device, Option
from unseen.core.registry import parse_spec
from unseen.generators import Precision
from unseen.generators.latents import LatentStream
from unseen.images import Preparation, batches
from unseen.images.pixels import to_uint8
from unseen.inversion.network_learner import Arithmetic
from unseen.inversion.training_loop import Training, TrainingProgress, read_checkpoint, train

TRAINING_WORLD = 1_000_003  # its seed: far from 0, 1, … that comparisons and segmenters use
GRID = 10  # images a side of a sample grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorTraining:
    """Train a generator on the churchyard, or on a churchyard without some classes.

    The same command with the same folder goes on where it stopped; with more images it goes on
    from the last checkpoint. With other settings a training goes on in another folder, from
    `start`; so does one of another world.
    """

    folder: Annotated[
        Path, Option("Folder of the training. A run goes on there.", name="--out", short="-o")
    ]
    start: Annotated[
        Path | None,
        Option("Folder of a finished training to go on from. Its scenes count."),
    ] = None
    without: Annotated[str, Option("Classes that the world is without, e.g. car,fence.")] = ""
    images: Annotated[int, Option("Scenes to show. More scenes go on.", min=1)] = 400_000
    seed: Annotated[int, Option("Seed of the first weights and of the latents.", max=SEED_MOST)] = 0
    widths: tuple[int, ...] = (128, 128, 128, 64, 32, 16)  # latent, 4×4, 8×8, …, 64×64
    discriminator_widths: tuple[int, ...] = (128, 128, 64, 32, 16)  # 4×4, 8×8, …, 64×64
    batch_size: Annotated[int, Option("Scenes in a step.", min=2)] = 32
    learning_rate: Annotated[float, Option("Learning rate of Adam, for both networks.", max=1)] = (
        1.5e-3
    )
    r1_gamma: Annotated[float, Option("Weight of the R1 penalty.")] = 0.2
    instance_noise: Annotated[
        float,
        Option("Deviation of the noise on all that the discriminator sees. 1 is grey.", max=10),
    ] = 0.0
    average_decay: Annotated[float, Option("Decay of the moving average that is kept.", max=1)] = (
        0.998
    )
    precision: Annotated[
        Precision, Option("Number format of the training: fp32, or bf16 by autocast.")
    ] = "bf16"
    device: Device = "cpu"
    workers: Annotated[int, Option("Processes that render scenes.", max=1024)] = 1
    checkpoint_images: int = 3_200  # between checkpoints, from which a stopped training goes on
    snapshot_images: int = 20_000  # between sample grids, each with the weights that drew it

    @property
    def source(self) -> str:
        """The scenes, as a spec."""
        without = f"&without={self.without}" if self.without else ""
        resolution = 4 * 2 ** (len(self.widths) - 2)
        return f"churchyard?seed={TRAINING_WORLD}&resolution={resolution}{without}"

    @property
    def command(self) -> str:
        """What a shell is told to make the same weights."""
        default = GeneratorTraining(folder=self.folder)
        options = (
            "without",
            "batch_size",
            "learning_rate",
            "r1_gamma",
            "instance_noise",
            "average_decay",
            "precision",
        )
        told = [
            f" --{name.replace('_', '-')} {getattr(self, name)}"
            for name in options
            if getattr(self, name) != getattr(default, name)
        ]
        return (
            f"python -m lab train generator --images {self.images} --seed {self.seed}"
            f"{''.join(told)}{' --start EARLIER' if self.start else ''} --out FOLDER"
        )


def train_generator(
    task: GeneratorTraining,
    *,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Path:
    """Train, and write what is kept.

    The folder then holds `generator.safetensors` (the moving average; load it with `progan:FILE`),
    `generator.json` (how it was made), `generator.csv` (the training curve) and, every
    `snapshot_images`, `samples/IMAGES.png` and `snapshots/IMAGES.safetensors`.

    Returns:
        The path of `generator.safetensors`.

    Raises:
        SpecError: a setting or class that there is not.
        RecordError: the folder holds another training.
        TrainingError: a loss is no longer finite.
        StorageError: the folder cannot be written.
    """
    if task.precision not in ("fp32", "bf16"):
        raise SpecError(f"precision is {task.precision!r}; write fp32 or bf16")
    if task.images < task.batch_size:
        raise SpecError(
            f"{task.images} images are less than one batch of {task.batch_size}; ask for more"
        )
    source = open_churchyard(parse_spec(task.source))
    start = None if task.start is None else _read_start(task.start, task)
    shown = 0 if start is None else start.record["images"]
    stage = AdversarialStage(
        batches=_Scenes(source, task, shown),
        data=source.fingerprint(),
        images=task.images,
        widths=task.widths,
        discriminator_widths=task.discriminator_widths,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        r1_gamma=task.r1_gamma,
        instance_noise=task.instance_noise,
        average_decay=task.average_decay,
        arithmetic=Arithmetic(
            precision="bf16" if task.precision == "bf16" else "fp32", channels_last=True
        ),
        start=None if start is None else start.state,
        shown=shown,
        inspect=_Snapshots(task.folder),
    )
    checkpoint = max(1, task.checkpoint_images // task.batch_size)
    snapshot = max(1, task.snapshot_images // task.batch_size)
    run = Training(
        stages=[stage],
        folder=task.folder,
        seed=task.seed,
        device=task.device,
        log_every=min(snapshot, 100),
        checkpoint_every=checkpoint,
        validate_every=snapshot,
    )
    learner = train(run, progress=progress)[stage.name]
    assert isinstance(learner, AdversarialLearner)
    path = task.folder / "generator.safetensors"
    write_generator(learner.average.network, path)
    places = ("folder", "start", "workers")
    settings = {k: v for k, v in dataclasses.asdict(task).items() if k not in places}
    made = {
        "version": package_version(),
        "source": task.source,
        **settings,
        "images": learner.images_shown,
        "command": dataclasses.replace(task, images=learner.images_shown).command,
        "start": None if start is None else start.record,  # the training this one went on from
    }
    write_json(task.folder / "generator.json", made)
    return path


@dataclasses.dataclass(frozen=True)
class _Start:
    """A finished training that another goes on from."""

    state: Mapping[str, Any]  # of its learner
    record: Mapping[str, Any]  # its `generator.json`


def _read_start(folder: Path, task: GeneratorTraining) -> _Start:
    record, checkpoint = folder / "generator.json", folder / "generator.checkpoint.pt"
    if not record.is_file():
        raise CheckpointError(
            f"{folder} holds no finished training of a generator; finish it with its own command, "
            "whose --images may be what it has been shown"
        )
    state = read_checkpoint(checkpoint)["learner"]
    made = json.loads(record.read_text(encoding="utf-8"))
    for name in ("widths", "discriminator_widths"):
        there, wanted = made[name], json.loads(json.dumps(getattr(task, name)))
        if there != wanted:
            raise CheckpointError(
                f"{folder} was trained with another {name} ({there}, {wanted} here); start from a "
                "training of the same networks"
            )
    if state["step"] * made["batch_size"] + _shown(made) != made["images"]:
        raise CheckpointError(
            f"{checkpoint} is of another moment than {record}; finish that training again"
        )
    return _Start(state, made)


def _shown(made: Mapping[str, Any]) -> int:
    """The scenes that a training's own start had been shown."""
    return int(made["start"]["images"]) if made["start"] else 0


def write_generator(network: nn.Module, path: Path) -> None:
    """Weights as safetensors, under ProGAN's key names, in fp32."""
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    with write_aside(path) as aside:
        aside.write_bytes(save(state))


@dataclasses.dataclass(frozen=True)
class _Scenes:
    """Batch k holds the scenes from k · batch_size on, after those shown: each is shown once."""

    source: ChurchyardSource
    task: GeneratorTraining
    shown: int

    def __call__(self, step: int) -> Iterator[UInt8[np.ndarray, "n 3 h w"]]:
        task = self.task
        first, end = self.shown + step * task.batch_size, task.images
        for batch in batches(
            self.source,
            range(first, end),
            Preparation(self.source.world.resolution),
            batch_size=task.batch_size,
            workers=task.workers,
        ):
            yield batch.images


@dataclasses.dataclass(frozen=True)
class _Snapshots:
    """Keeps the weights and a grid of the same latents."""

    folder: Path

    def __call__(self, network: nn.Module, images: int) -> Mapping[str, float]:
        write_generator(network, self.folder / "snapshots" / f"{images:08}.safetensors")
        size = next(network.parameters()).shape[1]
        device = next(network.parameters()).device
        latents = torch.from_numpy(LatentStream(size).rows(range(GRID**2), seed=1)).to(device)
        samples = to_uint8(network(latents).float().cpu().numpy())
        write_square(samples, self.folder / "samples" / f"{images:08}.png")
        return {}


def write_square(images: UInt8[np.ndarray, "n 3 h w"], path: Path) -> None:
    """Pictures in rows and columns of one number, as PNG; what is over is left out."""
    side = math.isqrt(len(images))
    height, width = images.shape[2:]
    grid = images[: side * side].reshape(side, side, 3, height, width).transpose(0, 3, 1, 4, 2)
    with write_aside(path) as aside:
        Image.fromarray(grid.reshape(side * height, side * width, 3)).save(aside)
