"""Train a ProGAN on the churchyard or on images of your own: weights and sample grids come out.

Source: ProGAN's architecture (Karras et al., 2018), narrower; the stage of the one training loop.
"""

import dataclasses
import json
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from safetensors.torch import save
from torch import nn

from lab.adversarial import AdversarialLearner, AdversarialStage
from lab.augmentation import check_changes
from unseen.core.errors import CheckpointError, SpecError
from unseen.core.files import package_version, write_aside, write_json
from unseen.core.options import SEED_MOST, Device, Option
from unseen.generators import Precision
from unseen.generators.latents import LatentStream
from unseen.images import ImageSource, Preparation, batches, open_images
from unseen.images.pixels import to_uint8
from unseen.inversion.network_learner import Arithmetic
from unseen.inversion.training_loop import Training, TrainingProgress, read_checkpoint, train

TRAINING_WORLD = 1_000_003  # its seed: far from 0, 1, … that comparisons and segmenters use
GRID = 10  # images a side of a sample grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorTraining:
    """Train a generator on the churchyard, with or without some classes, or on images.

    The same command with the same folder goes on where it stopped; with more images it goes on
    from the last checkpoint. With other settings a training goes on in another folder, from
    `start`; so does one of another world or of other images.
    """

    folder: Annotated[
        Path, Option("Folder of the training. A run goes on there.", name="--out", short="-o")
    ]
    start: Annotated[
        Path | None,
        Option("Folder of a finished training to go on from. Its images count."),
    ] = None
    data: Annotated[
        str | None,
        Option("Images to learn from instead of the churchyard, as a path or spec."),
    ] = None
    mirror: Annotated[bool, Option("Mirror every second image, by chance.")] = False
    without: Annotated[str, Option("Classes that the world is without, e.g. car,fence.")] = ""
    images: Annotated[int, Option("Images to show. More images go on.", min=1)] = 400_000
    seed: Annotated[
        int, Option("Seed of the first weights, latents and order of images.", max=SEED_MOST)
    ] = 0
    widths: Annotated[
        tuple[int, ...],
        Option("Size of the latent, then channels at 4×4, 8×8, …: they decide the resolution."),
    ] = (128, 128, 128, 64, 32, 16)
    discriminator_widths: Annotated[
        tuple[int, ...], Option("Channels of the discriminator at 4×4, 8×8, ….")
    ] = (128, 128, 64, 32, 16)
    batch_size: Annotated[int, Option("Images in a step.", min=2)] = 32
    learning_rate: Annotated[float, Option("Learning rate of Adam, for both networks.", max=1)] = (
        1.5e-3
    )
    r1_gamma: Annotated[float, Option("Weight of the R1 penalty.")] = 0.2
    augment: Annotated[
        tuple[str, ...],
        Option("Random changes of all that the discriminator sees: colour,translation,cutout."),
    ] = ()
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
    workers: Annotated[int, Option("Processes that render or decode images.", max=1024)] = 1
    checkpoint_images: int = 3_200  # between checkpoints, from which a stopped training goes on
    snapshot_images: Annotated[
        int, Option("Images between sample grids, each with the weights that drew it.", min=1)
    ] = 20_000

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return 4 << (len(self.widths) - 2)

    @property
    def source(self) -> str:
        """The images, as a path or spec."""
        if self.data is not None:
            return self.data
        without = f"&without={self.without}" if self.without else ""
        return f"churchyard?seed={TRAINING_WORLD}&resolution={self.resolution}{without}"

    @property
    def command(self) -> str:
        """What a shell is told to make the same weights."""
        default = GeneratorTraining(folder=self.folder)
        options = (
            "data",
            "mirror",
            "without",
            "widths",
            "discriminator_widths",
            "batch_size",
            "learning_rate",
            "r1_gamma",
            "augment",
            "instance_noise",
            "average_decay",
            "precision",
        )
        told = [
            f" --{name.replace('_', '-')}{_told(getattr(self, name))}"
            for name in options
            if getattr(self, name) != getattr(default, name)
        ]
        return (
            f"python -m lab train generator --images {self.images} --seed {self.seed}"
            f"{''.join(told)}{' --start EARLIER' if self.start else ''} --out FOLDER"
        )


def _told(value: Any) -> str:
    """The value of an option behind its name, as a command line has it."""
    if value is True:
        return ""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f" {shlex.quote(text)}"


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
        SpecError: a setting or class that there is not, or settings that exclude each other.
        ImageError: the images cannot be opened.
        RecordError: the folder holds another training.
        TrainingError: a loss is no longer finite.
        StorageError: the folder cannot be written.
    """
    _check(task)
    source = open_images(task.source)
    start = None if task.start is None else _read_start(task.start, task)
    shown = 0 if start is None else start.record["images"]
    stage = AdversarialStage(
        batches=_RealImages(source, task, shown),
        data=source.fingerprint() + (" mirrored" if task.mirror else ""),
        images=task.images,
        widths=task.widths,
        discriminator_widths=task.discriminator_widths,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        r1_gamma=task.r1_gamma,
        augmentation=task.augment,
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
    places = ("folder", "start", "workers", "data")  # `source` says what the data was
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


def _check(task: GeneratorTraining) -> None:
    if task.precision not in ("fp32", "bf16"):
        raise SpecError(f"precision is {task.precision!r}; write fp32 or bf16")
    if task.data is not None and task.without:
        raise SpecError(
            f"without is {task.without!r}, which is of the churchyard, and data names "
            f"{task.data!r}; leave one of them out"
        )
    if len(task.discriminator_widths) != len(task.widths) - 1:
        raise SpecError(
            f"{len(task.widths)} widths and {len(task.discriminator_widths)} of the discriminator "
            "were given; the discriminator has one less, since it has no latent"
        )
    check_changes(task.augment)
    if task.images < task.batch_size:
        raise SpecError(
            f"{task.images} images are less than one batch of {task.batch_size}; ask for more"
        )


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
class _RealImages:
    """Batch k holds the images from k · batch_size on, after those shown.

    A scene of the churchyard is shown once; other images once in every pass, each pass in an order
    of its own. Order and mirror images depend on the seed and the place alone.
    """

    source: ImageSource
    task: GeneratorTraining
    shown: int

    def __call__(self, step: int) -> Iterator[UInt8[np.ndarray, "n 3 h w"]]:
        task = self.task
        first = self.shown + step * task.batch_size
        wanted = batches(
            self.source,
            self._indices(first, task.images),
            Preparation(task.resolution),
            batch_size=task.batch_size,
            workers=task.workers,
        )
        for number, batch in enumerate(wanted):
            images = batch.images
            if task.mirror:
                place = first + number * task.batch_size
                mirrored = np.random.default_rng((task.seed, place)).random(len(images)) < 0.5
                images = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
            yield images

    def _indices(self, first: int, end: int) -> Sequence[int]:
        if self.source.endless:
            return range(first, end)
        size = len(self.source.names)
        passes = range(first // size, -(-end // size))
        orders = [np.random.default_rng((self.task.seed, k)).permutation(size) for k in passes]
        start = passes.start * size
        indices: list[int] = np.concatenate(orders)[first - start : end - start].tolist()
        return indices


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
