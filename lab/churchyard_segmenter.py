"""How the churchyard's segmenter is trained and measured.

It sees rendered scenes alone, never a generator's output. Training and measuring use worlds of
different seeds. Every batch is smeared, recoloured, stained, woven, blurred, noised and squeezed at
random, so that labels do not hang on the renderer's own crispness, and nothing is seen in smears.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Integer, UInt8

from unseen.churchyard.classes import CLASS_NAMES, INDEX
from unseen.churchyard.scene import FREQUENCY, RENDERER_VERSION, World
from unseen.churchyard.segmenter import (
    WEIGHTS,
    WIDTHS,
    ChurchyardSegmenter,
    SegmenterNetwork,
    load_network,
    save_network,
)
from unseen.core.errors import UnseenError
from unseen.core.files import sha256_of_file, write_aside, write_text
from unseen.core.options import SEED_MOST, Device, Option
from unseen.inversion.network_learner import Arithmetic, NetworkLearner
from unseen.inversion.training_loop import Learner, Training, TrainingProgress, train
from unseen.segmenters.protocol import Segmenter

TRAINING_SEED = 1_000_003  # seeds of worlds: what is trained on is not measured on
VALIDATION_SEED = 2_000_003
TEST_SEED = 3_000_017
PERTURBATIONS = ("as rendered", "blurred", "noised", "recoloured")


class ScenePool:
    """Training scenes, rendered when first asked for and kept as bytes."""

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        side = world.resolution
        self._pictures = np.zeros((count, 3, side, side), np.uint8)
        self._label_maps = np.zeros((count, side, side), np.uint8)
        self._rendered = np.zeros(count, bool)

    def batch(self, indices: Int64[torch.Tensor, " n"]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (n, 3, h, w) and label maps (n, h, w), both uint8."""
        chosen = indices.numpy()
        for index in chosen[~self._rendered[chosen]]:
            scene = self._world.scene(int(index))
            self._pictures[index], self._label_maps[index] = scene.picture, scene.label_map
            self._rendered[index] = True
        return torch.from_numpy(self._pictures[chosen]), torch.from_numpy(self._label_maps[chosen])


# --- what is done to pictures -------------------------------------------------------------------


def recolour_matrices(
    count: int, strength: float, generator: torch.Generator
) -> Float[torch.Tensor, "n 3 3"]:
    """Turns of the hue and changes of saturation, as matrices on RGB.

    A hue turn is a rotation around the grey axis; saturation is a stretch away from it.
    """
    angle = (torch.rand(count, generator=generator) * 2 - 1) * math.pi * 0.5 * strength
    saturation = 1 + (torch.rand(count, generator=generator) * 2 - 1) * 0.6 * strength
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    turned = cos * (torch.eye(3) - grey) + sin * cross
    return grey + saturation[:, None, None] * turned


def blur(
    images: Float[torch.Tensor, "n c h w"], sigma: Float[torch.Tensor, " n"]
) -> Float[torch.Tensor, "n c h w"]:
    """Gaussian blur of an own width (in pixels) for each image, cut at two pixels."""
    n, c, h, w = images.shape
    offsets = torch.arange(-2, 3, dtype=torch.float32)
    kernel = torch.exp(-(offsets**2) / (2 * sigma[:, None].clamp(min=0.05) ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (n·c, 5)
    flat = images.reshape(1, n * c, h, w)
    flat = torch.nn.functional.pad(flat, (2, 2, 2, 2), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, kernel[:, None, None, :], groups=n * c)
    flat = torch.nn.functional.conv2d(flat, kernel[:, None, :, None], groups=n * c)
    return flat.reshape(n, c, h, w)


def _enlarged(coarse: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """A coarse map, smoothly at the images' size."""
    return torch.nn.functional.interpolate(coarse, images.shape[2:], mode="bilinear")


def stain(
    images: Float[torch.Tensor, "n c h w"],
    strength: Float[torch.Tensor, " n"],
    generator: torch.Generator,
) -> Float[torch.Tensor, "n c h w"]:
    """Add smooth blobs of any colour, of 2 to 16 pixels, with this standard deviation in levels.

    They stand for what an unfinished generator smears: a dark spot on a road is not yet a car.
    """
    n, c, h, w = images.shape
    noise = torch.zeros_like(images)
    for cell in (2, 4, 8, 16):
        coarse = torch.randn(n, c, h // cell, w // cell, generator=generator)
        grey = torch.randn(n, 1, h // cell, w // cell, generator=generator)
        noise += _enlarged(coarse + grey, images)
    scale = noise.std(dim=(1, 2, 3), keepdim=True)
    return images + noise / scale * strength[:, None, None, None]


def weave(
    images: Float[torch.Tensor, "n c h w"],
    strength: Float[torch.Tensor, " n"],
    generator: torch.Generator,
) -> Float[torch.Tensor, "n c h w"]:
    """Add stripes or checks with periods of 2 to 8 pixels, this many levels high.

    Upsampling by two leaves such grids; they come and go over the picture.
    """
    n, _, h, w = images.shape
    period = 2 ** (1 + 2 * torch.rand(n, 2, generator=generator))
    phase = torch.rand(n, 2, generator=generator) * 2 * math.pi
    rows = torch.cos(2 * math.pi * torch.arange(h) / period[:, :1] + phase[:, :1])
    columns = torch.cos(2 * math.pi * torch.arange(w) / period[:, 1:] + phase[:, 1:])
    mixed = torch.rand(n, 1, 1, generator=generator)
    stripes = mixed * rows[:, :, None] + (1 - mixed) * columns[:, None, :]
    checks = rows[:, :, None] * columns[:, None, :]
    grid = torch.where(torch.rand(n, 1, 1, generator=generator) < 0.5, stripes, checks)
    where = torch.rand(n, 1, 4, 4, generator=generator)
    return images + grid[:, None] * _enlarged(where, images) * strength[:, None, None, None]


_BACKGROUND = ("sky", "cloud", "mountain", "tree", "grass", "path", "road")  # what smears cover


def smear(
    images: Float[torch.Tensor, "n c h w"],
    label_maps: Integer[torch.Tensor, "n h w"],
    opacity: Float[torch.Tensor, " n"],
    generator: torch.Generator,
) -> Float[torch.Tensor, "n c h w"]:
    """Melt other scenes into patches of sky, trees and ground; the labels stay what they were.

    Each patch shows the next scene of the batch with its pixels displaced by several of them. It
    has the colours of cars and fences and not their form, as what a generator does not know how to
    draw.
    """
    n, _, h, w = images.shape

    def field(cell: int, channels: int) -> torch.Tensor:
        coarse = torch.randn(n, channels, h // cell, w // cell, generator=generator)
        return _enlarged(coarse, images)

    reach = 2 + 6 * torch.rand(n, 1, 1, 1, generator=generator)  # pixels
    displacement = (field(2, 2) + field(8, 2)) * reach * (2 / h)
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij"
    )
    grid = torch.stack([columns, rows], dim=-1) + displacement.permute(0, 2, 3, 1)
    melted = torch.nn.functional.grid_sample(
        images.roll(1, 0), grid, padding_mode="reflection", align_corners=True
    )
    background = torch.isin(
        label_maps, torch.tensor([INDEX[name] for name in _BACKGROUND], dtype=label_maps.dtype)
    )
    patches = (4 * field(8, 1)).sigmoid() * background[:, None]
    share = patches * opacity[:, None, None, None]
    return images + (melted - images) * share


def augment(
    pictures: UInt8[torch.Tensor, "n 3 h w"],
    label_maps: Integer[torch.Tensor, "n h w"],
    generator: torch.Generator,
) -> Float[torch.Tensor, "n 3 h w"]:
    """Smear, recolour, relight, stain, weave, blur, squeeze and noise; 0 to 255, not rounded."""
    # Colours need more than the eight bits of bf16.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        return _augment(pictures, label_maps, generator)


def _augment(
    pictures: torch.Tensor, label_maps: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:

    def uniform(low: int | float, high: int | float) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(pictures), generator=generator)

    def some(share: float) -> torch.Tensor:
        return torch.rand(len(pictures), generator=generator) < share

    images = pictures.float()
    images = smear(images, label_maps, torch.where(some(0.6), uniform(0.2, 1), 0.0), generator)
    turned = recolour_matrices(len(images), 1.0, generator)
    turned = torch.where(some(0.5)[:, None, None], turned, torch.eye(3))
    images = torch.einsum("nij,njhw->nihw", turned, images)
    contrast, offset = uniform(0.6, 1.25), uniform(-30, 22)
    images = (images - 128) * contrast[:, None, None, None] + 128 + offset[:, None, None, None]
    images = stain(images, torch.where(some(0.4), uniform(0, 30), 0.0), generator)
    images = weave(images, torch.where(some(0.5), uniform(0, 70), 0.0), generator)
    images = torch.where(some(0.45)[:, None, None, None], blur(images, uniform(0.3, 1.15)), images)
    squeezed = some(0.25)
    if squeezed.any():
        images[squeezed] = _squeeze(
            images[squeezed], float(4 + 24 * torch.rand((), generator=generator))
        )
    sigma = torch.where(some(0.5), uniform(0, 16), torch.zeros(len(images)))
    noise = torch.randn(images.shape, generator=generator)
    return (images + noise * sigma[:, None, None, None]).clamp(0, 255)


def _squeeze(images: torch.Tensor, step: float) -> torch.Tensor:
    """What JPEG does: round the cosine transform of blocks of 8 × 8, the finer the coarser."""
    k = torch.arange(8, dtype=torch.float32)
    basis = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / 8) * 0.5
    basis[0] *= math.sqrt(0.5)
    n, c, h, w = images.shape
    blocks = images.reshape(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    coefficients = basis @ blocks @ basis.T
    steps = step * (0.4 + 0.2 * (k[:, None] + k[None]))
    blocks = basis.T @ (torch.round(coefficients / steps) * steps) @ basis
    return blocks.transpose(3, 4).reshape(n, c, h, w)


def perturb(
    pictures: UInt8[torch.Tensor, "n 3 h w"], name: str, generator: torch.Generator
) -> UInt8[torch.Tensor, "n 3 h w"]:
    """One of PERTURBATIONS, for measuring.

    Blurred: Gaussian of 0.8 pixels. Noised: Gaussian of deviation 12 of 255. Recoloured: hue turned
    by up to ±54°, saturation ±36 %, contrast 0.75 to 1.2.
    """
    images = pictures.float()
    if name == "blurred":
        images = blur(images, torch.full((len(images),), 0.8))
    elif name == "noised":
        images = images + 12 * torch.randn(images.shape, generator=generator)
    elif name == "recoloured":
        turned = recolour_matrices(len(images), 0.6, generator)
        images = torch.einsum("nij,njhw->nihw", turned, images)
        contrast = 0.75 + 0.45 * torch.rand(len(images), generator=generator)
        images = (images - 128) * contrast[:, None, None, None] + 128
    return images.round().clamp(0, 255).to(torch.uint8)


# --- measuring ----------------------------------------------------------------------------------


def intersection_over_union(
    confusion: Float64[np.ndarray, "k k"],
) -> Float64[np.ndarray, " k"]:
    """Per class, pixels of all scenes pooled; NaN for a class that neither side shows."""
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    with np.errstate(invalid="ignore"):
        result: np.ndarray = np.where(union > 0, hits / np.maximum(union, 1), np.nan)
    return result


def measure(
    segmenter: Segmenter, world: World, count: int, *, perturbation: str = "as rendered"
) -> Float64[np.ndarray, "k k"]:
    """Confusion of true (row) and found (column) classes, in pixels, over the first scenes."""
    confusion = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)))
    generator = torch.Generator().manual_seed(count)
    for pictures, truth in _batches(world, count):
        altered = perturb(pictures, perturbation, generator).numpy()
        confusion += _confusion(truth, segmenter.label_maps(altered))
    return confusion


def _measure_all(
    segmenters: Mapping[str, Segmenter], world: World, count: int
) -> tuple[dict[str, np.ndarray], float]:
    """`measure` under every perturbation, and the share of pixels that bf16 labels otherwise.

    Scenes are rendered once; each perturbation has the generator that `measure` would give it.
    """
    classes = len(CLASS_NAMES)
    confusions = {name: np.zeros((classes, classes)) for name in PERTURBATIONS}
    generators = {name: torch.Generator().manual_seed(count) for name in PERTURBATIONS}
    differing = []
    for pictures, truth in _batches(world, count):
        for name in PERTURBATIONS:
            altered = perturb(pictures, name, generators[name]).numpy()
            labels = segmenters["fp32"].label_maps(altered)
            confusions[name] += _confusion(truth, labels)
            if name == "as rendered":
                differing.append(
                    (segmenters["bf16"].label_maps(altered) != labels).mean(axis=(1, 2))
                )
    return confusions, float(np.concatenate(differing).mean())


def _batches(world: World, count: int) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    for indices in _chunks(count, 100):
        scenes = [world.scene(index) for index in indices]
        pictures = torch.from_numpy(np.stack([scene.picture for scene in scenes]))
        yield pictures, np.stack([scene.label_map for scene in scenes]).astype(np.intp)


def _confusion(truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    classes = len(CLASS_NAMES)
    pairs = np.bincount((truth * classes + labels).reshape(-1), minlength=classes**2)
    return pairs.reshape(classes, classes)


def _chunks(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


# --- training -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterStage:
    """Cross-entropy over pixels, rare classes weighted up, on scenes that are all altered."""

    steps: Annotated[int, Option("Batches of the training.", min=1)] = 2000
    batch_size: Annotated[int, Option("Scenes in a batch.", min=1)] = 16
    scenes: Annotated[int, Option("Different scenes in all.", min=1)] = 10_000
    learning_rate: Annotated[
        float, Option("Highest learning rate of AdamW in one cycle.", max=1)
    ] = 3e-3
    weight_decay: float = 0.02
    least_frequency: float = 0.12  # of rare classes in the training world
    average_decay: float = 0.995
    precision: str = "bf16"
    weight_scenes: int = 200  # that decide the classes' weights
    largest_weight: Annotated[
        float,
        Option("Largest weight of a rare class in the loss. More finds more, and more wrongly."),
    ] = 3.0
    start: Annotated[Path | None, Option("Weights to begin with. Default: fresh weights.")] = None
    validation_scenes: int = 100

    @property
    def name(self) -> str:
        """The stage's name."""
        return "segmenter"

    def identity(self) -> Mapping[str, Any]:
        """Settings, renderer and architecture."""
        return {
            **dataclasses.asdict(self),
            "start": None if self.start is None else sha256_of_file(self.start),
            "renderer": RENDERER_VERSION,
            "classes": list(CLASS_NAMES),
            "widths": list(WIDTHS),
            "seed": TRAINING_SEED,
        }

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:  # noqa: ARG002
        """A fresh network and its AdamW."""
        world = World(seed=TRAINING_SEED, least_frequency=self.least_frequency)
        pool = ScenePool(world, self.scenes)
        arithmetic = Arithmetic(
            precision="bf16" if self.precision == "bf16" else "fp32", channels_last=True
        )
        network = SegmenterNetwork() if self.start is None else load_network(self.start)
        arithmetic.place(network, device)
        weights = class_weights(world, self.weight_scenes, self.largest_weight).to(device)

        def losses(
            network: torch.nn.Module, index: int, generator: torch.Generator
        ) -> dict[str, torch.Tensor]:
            # Early steps draw from few scenes, so that rendering is spread over the training.
            ready = min(self.scenes, 8 * self.batch_size + index * self.batch_size // 2)
            chosen = torch.randint(ready, (self.batch_size,), generator=generator)
            pictures, label_maps = pool.batch(chosen)
            if torch.rand((), generator=generator) < 0.5:
                pictures, label_maps = pictures.flip(3), label_maps.flip(2)
            images = augment(pictures, label_maps, generator) / 127.5 - 1
            truth = label_maps.to(device).long()
            logits = network(arithmetic.images(images, device))
            loss = torch.nn.functional.cross_entropy(logits.float(), truth, weights)
            accuracy = (logits.detach().argmax(1) == truth).float().mean()
            return {"loss": loss, "accuracy": accuracy}

        return NetworkLearner(
            network,
            torch.optim.AdamW(
                network.parameters(), self.learning_rate, weight_decay=self.weight_decay
            ),
            losses,
            device=device,
            arithmetic=arithmetic,
            learning_rate=self.rate,
            average_decay=self.average_decay,
            clip_norm=2.0,
            validation=lambda network: self.validation(network, device),
        )

    def rate(self, index: int) -> float:
        """The learning rate of step `index`, from 0."""
        return one_cycle(self.learning_rate, self.steps, index)

    def validation(self, network: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """Mean and least IoU on some scenes of the validation world."""
        assert isinstance(network, SegmenterNetwork)
        segmenter = ChurchyardSegmenter(network, device=device, precision="fp32", provenance={})
        world = World(seed=VALIDATION_SEED, least_frequency=self.least_frequency)
        scores = intersection_over_union(measure(segmenter, world, self.validation_scenes))
        return {"mean_iou": float(np.nanmean(scores)), "least_iou": float(np.nanmin(scores))}


def one_cycle(highest: float, steps: int, index: int) -> float:
    """Up over the first twentieth, then down along a cosine to nothing."""
    warm = max(1, steps // 20)
    if index < warm:
        return highest * (index + 1) / warm
    share = (index - warm) / max(1, steps - warm)
    return highest * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-6


def prior_correction(stage: SegmenterStage) -> Float[torch.Tensor, " k"]:
    """What is added to the logits so that they answer for the world as it is.

    Training weights rare classes up and shows them more often. The network's posterior holds both
    as factors, and their logarithms are taken out again: without that, horses are found in 4 % of
    scenes instead of in 0.5 %.
    """
    world = World(seed=TRAINING_SEED, least_frequency=stage.least_frequency)
    weights = class_weights(world, stage.weight_scenes, stage.largest_weight)
    shown = [
        min(1.0, FREQUENCY.get(name, 1.0) / max(stage.least_frequency, FREQUENCY.get(name, 1.0)))
        for name in CLASS_NAMES
    ]
    return torch.tensor(shown).log() - weights.log()


def class_weights(world: World, scenes: int, largest: float) -> Float[torch.Tensor, " k"]:
    """Square root of the inverse share of pixels, from 0.5 to `largest` times the median's."""
    counts = np.ones(len(CLASS_NAMES))
    for index in range(scenes):
        label_map = world.scene(index).label_map
        counts += np.bincount(label_map.reshape(-1), minlength=len(CLASS_NAMES))
    weights = np.sqrt(np.median(counts) / counts)
    return torch.tensor(np.clip(weights, 0.5, largest), dtype=torch.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterTraining:
    """Train the segmenter, measure it and write weights and model card."""

    folder: Annotated[
        Path, Option("Folder of the training. A run goes on there.", name="--out", short="-o")
    ]
    out: Path = WEIGHTS
    stage: SegmenterStage = SegmenterStage()
    seed: Annotated[int, Option("Seed of the first weights and of the batches.", max=SEED_MOST)] = 1
    device: Device = "cpu"
    test_scenes: Annotated[int, Option("Scenes that the model card measures.", min=1)] = 2000
    checkpoint_every: int = 250
    validate_every: int | None = 1000


def train_segmenter(
    task: SegmenterTraining, *, progress: Callable[[TrainingProgress], None] | None = None
) -> Path:
    """Train, or go on training, then write `out` and its card `out` with `.md`.

    Returns:
        The weights' path.

    Raises:
        CheckpointError, TrainingError, StorageError: see `unseen.inversion.training_loop.train`.
    """
    learners = train(
        Training(
            stages=[task.stage],
            folder=task.folder,
            seed=task.seed,
            device=task.device,
            checkpoint_every=task.checkpoint_every,
            validate_every=task.validate_every,
        ),
        progress=progress,
    )
    learner = learners[task.stage.name]
    assert isinstance(learner, NetworkLearner)
    write_weights(learner.result, task)
    return task.out


def write_weights(network: torch.nn.Module, task: SegmenterTraining) -> None:
    """Weights, and the card with what they measure on the test world."""
    network = copy.deepcopy(network)
    assert isinstance(network, SegmenterNetwork)
    assert network.head.bias is not None
    with torch.no_grad():
        # Pixel shuffle takes four channels of the head a class.
        network.head.bias += prior_correction(task.stage).repeat_interleave(4).to(task.device)
    with write_aside(task.out) as aside:
        save_network(network.cpu(), aside)
    write_text(task.out.with_suffix(".md"), model_card(task))


def model_card(task: SegmenterTraining) -> str:
    """The model card of written weights: measures them anew on `task.test_scenes` scenes."""
    if task.test_scenes < 1:
        raise UnseenError(f"{task.test_scenes} scenes measure nothing; give at least 1")
    device = torch.device("cpu")
    segmenters = {
        precision: ChurchyardSegmenter(
            load_network(task.out), device=device, precision=precision, provenance={}
        )
        for precision in ("fp32", "bf16")
    }
    plain = World(seed=TEST_SEED)
    confusions, differing = _measure_all(segmenters, plain, task.test_scenes)
    tables = {name: intersection_over_union(confusions[name]) for name in PERTURBATIONS}
    stage = task.stage
    rare = ", ".join(name for name in FREQUENCY if FREQUENCY[name] < stage.least_frequency)
    rows = [
        f"| {name} | " + " | ".join(f"{tables[p][INDEX[name]]:.3f}" for p in PERTURBATIONS) + " |"
        for name in CLASS_NAMES
    ]
    means = " | ".join(f"**{np.nanmean(tables[p]):.3f}**" for p in PERTURBATIONS)
    parameters = sum(p.numel() for p in load_network(task.out).parameters())
    newline = "\n"
    command = (
        f"python -m lab train segmenter --steps {stage.steps} "
        f"--batch-size {stage.batch_size} --scenes {stage.scenes} --seed {task.seed} "
        f"--learning-rate {stage.learning_rate:g} --largest-weight {stage.largest_weight:g}"
    )
    if stage.start is not None:
        command += f" --start {stage.start.name}"
        started = f", after weights of SHA-256 `{sha256_of_file(stage.start)}`"
    else:
        started = ""
    return f"""# Model card: the churchyard's segmenter

Labels every pixel of a churchyard scene as one of {len(CLASS_NAMES)} classes. A U-Net of three
scales, {parameters:,} parameters (`unseen.churchyard.segmenter`). It is the yardstick of
calibration runs and of the demo; it knows nothing of photographs.

- File: `segmenter.safetensors`, SHA-256 `{sha256_of_file(task.out)}`
- Made by: `{command} --out FOLDER`
- Data: {stage.scenes:,} rendered scenes of the world with seed {TRAINING_SEED} (renderer version
  {RENDERER_VERSION}), where the rarest classes ({rare}) are raised to
  {stage.least_frequency:.0%} of scenes. No generator's output. At random, scenes are smeared with
  others, recoloured, relit, stained with blobs, woven with stripes, blurred, squeezed as JPEG
  does, noised and mirrored.
- Training: {stage.steps:,} steps of {stage.batch_size}, AdamW at {stage.learning_rate:g} (one
  cycle), {stage.precision} autocast, moving average of weights ({stage.average_decay}){started}.
  Afterwards the head's biases take out the weights of the loss and the raised frequencies.
- Precision: bf16 and fp32 label {differing:.2%} of pixels differently.

## Measured

Intersection over union, pixels of {task.test_scenes:,} scenes pooled (world seed {TEST_SEED},
never trained on), fp32. Blurred: Gaussian of 0.8 pixels. Noised: Gaussian of deviation 12 of 255.
Recoloured: hue turned by up to ±54°, saturation ±36 %, contrast 0.75 to 1.2.

| class | {" | ".join(PERTURBATIONS)} |
| --- | {" | ".join("---:" for _ in PERTURBATIONS)} |
{newline.join(rows)}
| **mean** | {means} |

Horse, fountain and flag are in few scenes, so their figures are uncertain by several hundredths.

Licence: Apache-2.0, as the package.
"""
