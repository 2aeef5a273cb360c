"""Train the churchyard's latent diffusion model: scenes in, a folder of diffusers' own format out.

Two stages, each a run of its own: an autoencoder of scenes, then a U-Net that predicts the velocity
of its latents. Scenes and latents are made when a step first asks for them, and kept on disk.
Source: Rombach et al., 2022 (latent diffusion); Salimans and Ho, 2022 (velocity); Nichol and
Dhariwal, 2021 (cosine schedule); Song et al., 2021 (DDIM).
"""

import copy
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, LDMPipeline, UNet2DModel
from jaxtyping import Bool, Float, Int64, Shaped, UInt8
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from lab.generator_training import TRAINING_WORLD, write_square
from unseen.churchyard.classes import CLASS_NAMES, THINGS
from unseen.churchyard.source import ChurchyardSource, open_churchyard
from unseen.core.errors import CheckpointError
from unseen.core.files import (
    canonical_json,
    package_version,
    sha256_of_file,
    sha256_of_parts,
    write_aside,
    write_json,
)
from unseen.core.options import SEED_MOST, Device, Option
from unseen.core.registry import parse_spec
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.network_learner import Arithmetic, NetworkLearner
from unseen.inversion.training_loop import (
    Learner,
    Training,
    TrainingProgress,
    evaluating,
    read_checkpoint,
    train,
)

SHARD = 1000  # scenes in a file
HELD_OUT = 50_000_000  # the first scene that validation sees, far behind those of any training
GRID = 8  # images a side of a sample grid
NOISE_STEPS = 1000  # noise levels of the schedule

Folder = Annotated[
    Path, Option("Folder of the training. A run goes on there.", name="--out", short="-o")
]
Data = Annotated[Path, Option("Folder that keeps scenes and latents, for all trainings.")]
Without = Annotated[str, Option("Classes that the world is without, e.g. car,fence.")]
Start = Annotated[Path | None, Option("Folder of a training to go on from, of another setting.")]
Seed = Annotated[int, Option("Seed of the first weights and of the batches.", max=SEED_MOST)]


@dataclasses.dataclass(frozen=True)
class Shards:
    """Rows by index, computed a shard at a time when first asked for, and kept as `.npy`."""

    folder: Path
    make: Callable[[range], Shaped[np.ndarray, "n ..."]]  # depends on the indices alone

    def rows(self, indices: Int64[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
        """The rows with these indices, in their order."""
        shards = indices // SHARD
        rows: np.ndarray | None = None
        for shard in np.unique(shards):
            chosen = shards == shard
            values = self._shard(int(shard))[indices[chosen] - shard * SHARD]
            if rows is None:
                rows = np.empty((len(indices), *values.shape[1:]), values.dtype)
            rows[chosen] = values
        assert rows is not None
        return rows

    def _shard(self, shard: int) -> Shaped[np.ndarray, "n ..."]:
        path = self.folder / f"{shard:06}.npy"
        if not path.exists():
            values = self.make(range(shard * SHARD, (shard + 1) * SHARD))
            with write_aside(path) as aside, aside.open("wb") as file:
                np.save(file, values)
        return _mapped(path)


@functools.lru_cache(maxsize=4096)
def _mapped(path: Path) -> Shaped[np.ndarray, "n ..."]:
    rows: np.ndarray = np.load(path, mmap_mode="r")
    return rows


def _world(without: str, resolution: int) -> ChurchyardSource:
    left_out = f"&without={without}" if without else ""
    spec = f"churchyard?seed={TRAINING_WORLD}&resolution={resolution}{left_out}"
    return open_churchyard(parse_spec(spec))


def scene_shards(data: Path, source: ChurchyardSource) -> Shards:
    """The scenes of a world, uint8 (n 3 h w)."""

    def render(indices: range) -> UInt8[np.ndarray, "n 3 h w"]:
        return np.stack([source.read(index) for index in indices])

    return Shards(data / f"scenes-{source.fingerprint()[:12]}", render)


def thing_shards(data: Path, source: ChurchyardSource) -> Shards:
    """Where scenes show things (cars, fences, persons, …), by the exact label maps: (n h w)."""
    first = CLASS_NAMES.index(THINGS[0])

    def render(indices: range) -> Bool[np.ndarray, "n h w"]:
        return np.stack([source.label_map(index) >= first for index in indices])

    return Shards(data / f"things-{source.fingerprint()[:12]}", render)


def latent_shards(data: Path, source: ChurchyardSource, autoencoder: AutoencoderKL) -> Shards:
    """The means of the scenes' latents, scaled to deviation 1, float16 (n c h w)."""
    scenes = scene_shards(data, source)
    weights = [name + str(value.double().sum().item()) for name, value in _state(autoencoder)]
    identity = sha256_of_parts([source.fingerprint(), canonical_json(weights)])

    def encode(indices: range) -> Float[np.ndarray, "n c h w"]:
        pictures = scenes.rows(np.asarray(indices))
        parts = np.array_split(pictures, max(1, len(pictures) // 100))
        latents = [encode_scenes(autoencoder, part) for part in parts]
        scale = float(autoencoder.config.scaling_factor)
        scaled: np.ndarray = (torch.cat(latents) * scale).numpy()
        return scaled.astype(np.float16)

    return Shards(data / f"latents-{identity[:12]}", encode)


def _state(network: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return sorted(network.state_dict().items())


def encode_scenes(
    autoencoder: AutoencoderKL, pictures: UInt8[np.ndarray, "n 3 h w"]
) -> Float[torch.Tensor, "n c h2 w2"]:
    """The means of the latents, as the autoencoder gives them."""
    with evaluating(autoencoder):
        images = torch.from_numpy(to_unit(pictures))
        means: torch.Tensor = autoencoder.encode(images).latent_dist.mode().float()
    return means


# --- the autoencoder ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderTraining:
    """Train the autoencoder on scenes, each shown once. Run it again to go on.

    Things cover few pixels and count more in the loss: the mean error alone lets persons fade.
    """

    folder: Folder
    data: Data
    start: Start = None
    without: Without = ""
    steps: Annotated[int, Option("Batches to show. More batches go on.", min=1)] = 5000
    batch_size: Annotated[int, Option("Scenes in a step.", min=1)] = 16
    learning_rate: Annotated[float, Option("Learning rate of AdamW.", max=1)] = 1.5e-3
    resolution: int = 64
    widths: tuple[int, ...] = (16, 32, 48)  # 64×64, 32×32, 16×16: 4 times smaller at the end
    latent_channels: int = 8
    edge_weight: float = 1.0  # of the error of differences between neighbours: thin things count
    thing_weight: Annotated[float, Option("Weight of a pixel that shows a thing.", min=1)] = 8.0
    kl_weight: float = 1e-3  # of the mean divergence of one latent number from N(0, 1)
    average_decay: float = 0.998
    seed: Seed = 0
    device: Device = "cpu"
    checkpoint_every: int = 100
    validate_every: int = 500

    name = "autoencoder"

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the weights after so many steps."""
        left_out = ("folder", "data", "steps", "seed", "device", "checkpoint_every")
        settings = dataclasses.asdict(self)
        settings = {name: settings[name] for name in settings if name not in left_out}
        return settings | {
            "data": _world(self.without, self.resolution).fingerprint(),
            "start": None if self.start is None else "another training",
        }

    @property
    def command(self) -> str:
        """What a shell is told to make the same weights."""
        return _command(self, "without", "batch_size", "learning_rate", "thing_weight")

    def network(self) -> AutoencoderKL:
        """Fresh weights."""
        levels = len(self.widths)
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.widths,
            layers_per_block=1,
            latent_channels=self.latent_channels,
            norm_num_groups=8,
            sample_size=self.resolution,
            mid_block_add_attention=False,
        )

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:  # noqa: ARG002
        """A fresh network and its AdamW."""
        world = _world(self.without, self.resolution)
        scenes, things = scene_shards(self.data, world), thing_shards(self.data, world)
        network = self.network().to(device)

        def losses(
            network: torch.nn.Module, index: int, generator: torch.Generator
        ) -> dict[str, torch.Tensor]:
            indices = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
            images = torch.from_numpy(to_unit(scenes.rows(indices))).to(device)
            shown = torch.from_numpy(things.rows(indices)).to(device)
            return self.losses(network, images, shown, generator)

        def validation(network: torch.nn.Module) -> dict[str, float]:
            pictures = scenes.rows(np.arange(HELD_OUT, HELD_OUT + GRID**2 // 2))
            images = torch.from_numpy(to_unit(pictures)).to(device)
            assert isinstance(network, AutoencoderKL)
            rebuilt = network.decode(network.encode(images).latent_dist.mode()).sample.float()
            both = np.concatenate([pictures, to_uint8(rebuilt.cpu().numpy())])
            write_square(both, self.folder / "samples" / f"{_count(self.folder):04}.png")
            return {"validation_error": float(functional.l1_loss(rebuilt, images))}

        learner = NetworkLearner(
            network,
            torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=0.01),
            losses,
            device=device,
            arithmetic=Arithmetic(precision="bf16"),
            learning_rate=lambda index: warmed(self.learning_rate, index),
            average_decay=self.average_decay,
            clip_norm=1.0,
            validation=validation,
        )
        return _started(learner, self)

    def losses(
        self,
        network: torch.nn.Module,
        images: Float[torch.Tensor, "n 3 h w"],
        things: Bool[torch.Tensor, "n h w"],
        generator: torch.Generator,
    ) -> dict[str, torch.Tensor]:
        """Mean of w · |x' − x|, + edge_weight · w · |∇x' − ∇x| + kl_weight · KL, likewise.

        w is thing_weight where a pixel shows a thing, and 1 elsewhere.
        """
        assert isinstance(network, AutoencoderKL)
        posterior = network.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(images.device)
        rebuilt = network.decode(posterior.mean + posterior.std * noise).sample.float()
        error = rebuilt - images
        weight = (1 + (self.thing_weight - 1) * things.float())[:, None]
        edges = (weight[:, :, 1:] * error.diff(dim=2).abs()).mean()
        edges = edges + (weight[..., 1:] * error.diff(dim=3).abs()).mean()
        # KL of N(m, s²) from N(0, 1): (m² + s² − 1 − log s²) / 2
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = (weight * error.abs()).mean()
        loss = loss + self.edge_weight * edges + self.kl_weight * divergence
        return {"loss": loss, "error": error.detach().abs().mean(), "divergence": divergence}


def _started(
    learner: NetworkLearner, task: "AutoencoderTraining | DenoiserTraining"
) -> NetworkLearner:
    """The learner in the state of the start, where the task has one."""
    if task.start is not None:
        state = read_checkpoint(task.start / f"{task.name}.checkpoint.pt")
        learner.load_state_dict(state["learner"])
    return learner


def warmed(rate: float, index: int, steps: int = 200) -> float:
    """The learning rate, rising over the first steps; constant, so that a training can go on."""
    return rate * min(1.0, (index + 1) / steps)


def train_autoencoder(
    task: AutoencoderTraining, *, progress: Callable[[TrainingProgress], None] | None = None
) -> Path:
    """Train, and write the moving average as `vqvae` in the folder, with its scaling factor.

    Raises:
        CheckpointError: the training to start from is not finished.
        RecordError, TrainingError, StorageError: see `unseen.inversion.training_loop.train`.
    """
    earlier = _earlier(task)
    learner = train(_run(task, task), progress=progress)[task.name]
    assert isinstance(learner, NetworkLearner)
    autoencoder = copy.deepcopy(learner.result).cpu()
    assert isinstance(autoencoder, AutoencoderKL)
    scenes = scene_shards(task.data, _world(task.without, task.resolution))
    latents = encode_scenes(autoencoder, scenes.rows(np.arange(HELD_OUT, HELD_OUT + 200)))
    autoencoder.register_to_config(scaling_factor=float(1 / latents.std()))
    path = task.folder / "vqvae"
    autoencoder.to(torch.float16).save_pretrained(path)
    _write_record(task, earlier)
    return path


def _command(task: "AutoencoderTraining | DenoiserTraining", *options: str) -> str:
    defaults = {field.name: field.default for field in dataclasses.fields(task)}
    told = [
        f" --{name.replace('_', '-')} {getattr(task, name)}"
        for name in options
        if getattr(task, name) != defaults[name]
    ]
    return (
        f"python -m lab train {task.name} --steps {task.steps} --seed {task.seed}{''.join(told)}"
        f"{' --start EARLIER' if task.start else ''} --data DATA --out FOLDER"
    )


def _run(task: "AutoencoderTraining | DenoiserTraining", stage: Any) -> Training:
    return Training(
        stages=[stage],
        folder=task.folder,
        seed=task.seed,
        device=task.device,
        checkpoint_every=task.checkpoint_every,
        validate_every=task.validate_every,
    )


def _earlier(task: "AutoencoderTraining | DenoiserTraining") -> dict[str, Any]:
    """The records of the trainings that this one builds on, under the names of its settings."""
    records: dict[str, Any] = {"start": None}
    if task.start is not None:
        records["start"] = read_record(task.start, task.name)
    if isinstance(task, DenoiserTraining):
        records["autoencoder"] = read_record(task.autoencoder, AutoencoderTraining.name)
    return records


def _write_record(
    task: "AutoencoderTraining | DenoiserTraining", earlier: Mapping[str, Any]
) -> None:
    """Settings and command, with the records of the trainings before."""
    settings = dataclasses.asdict(task)
    del settings["folder"], settings["data"]
    made = {"version": package_version(), **settings, "command": task.command, **earlier}
    write_json(task.folder / f"{task.name}.json", made)


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """What a finished training of this name says of itself.

    Raises:
        CheckpointError: there is none.
    """
    path = folder / f"{name}.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is missing or no record; finish the training with `python -m lab train {name}`"
        ) from error
    return record


def read_autoencoder(folder: Path) -> AutoencoderKL:
    """The autoencoder that `train_autoencoder` left in its folder, in float32.

    Raises:
        CheckpointError: there is none.
    """
    if not (folder / "vqvae" / "config.json").is_file():
        raise CheckpointError(
            f"{folder} holds no finished autoencoder; run `python -m lab train autoencoder`"
        )
    autoencoder: AutoencoderKL = AutoencoderKL.from_pretrained(
        folder / "vqvae", torch_dtype=torch.float32, low_cpu_mem_usage=False
    )
    return autoencoder.eval().requires_grad_(False)


# --- the denoiser -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiserTraining:
    """Train the denoiser of a finished autoencoder's latents. Run it again to go on.

    A training with `start` goes on from another one's weights, in its own world: what was trained
    without cars can so become a model that has seen cars, and not the other way round.
    """

    folder: Folder
    data: Data
    autoencoder: Annotated[Path, Option("Folder of a finished training of an autoencoder.")]
    start: Start = None
    without: Without = ""
    steps: Annotated[int, Option("Batches to show. More batches go on.", min=1)] = 20_000
    scenes: Annotated[int, Option("Different scenes in all.", min=1)] = 100_000
    batch_size: Annotated[int, Option("Latents in a step.", min=1)] = 128
    learning_rate: Annotated[float, Option("Learning rate of AdamW.", max=1)] = 1e-3
    widths: tuple[int, ...] = (32, 88, 88)  # 16×16, 8×8, 4×4; attention at the last
    average_decay: Annotated[float, Option("Decay of the moving average that is kept.", max=1)] = (
        0.9995
    )
    seed: Seed = 0
    device: Device = "cpu"
    sample_steps: int = 25  # of DDIM, in sample grids
    checkpoint_every: int = 100
    validate_every: int = 500

    name = "denoiser"

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the weights after so many steps."""
        left_out = ("folder", "data", "autoencoder", "start", "steps", "seed", "device")
        settings = dataclasses.asdict(self)
        settings = {name: settings[name] for name in settings if name not in left_out}
        weights = self.autoencoder / "vqvae" / "diffusion_pytorch_model.safetensors"
        return settings | {
            "checkpoint_every": None,
            "data": _world(self.without, self._autoencoder.config.sample_size).fingerprint(),
            "autoencoder": sha256_of_file(weights),
            "start": None if self.start is None else "another training",
        }

    @property
    def command(self) -> str:
        """What a shell is told to make the same weights."""
        told = _command(self, "without", "scenes", "batch_size", "learning_rate", "average_decay")
        return f"{told} --autoencoder AUTOENCODER"

    @functools.cached_property
    def _autoencoder(self) -> AutoencoderKL:
        return read_autoencoder(self.autoencoder)

    def network(self) -> UNet2DModel:
        """Fresh weights."""
        config = self._autoencoder.config
        down = ("DownBlock2D",) * (len(self.widths) - 1) + ("AttnDownBlock2D",)
        up = ("AttnUpBlock2D",) + ("UpBlock2D",) * (len(self.widths) - 1)
        return UNet2DModel(
            sample_size=config.sample_size // 2 ** (len(config.block_out_channels) - 1),
            in_channels=config.latent_channels,
            out_channels=config.latent_channels,
            down_block_types=down,
            up_block_types=up,
            block_out_channels=self.widths,
            layers_per_block=1,
            attention_head_dim=self.widths[-1] // 2,
            norm_num_groups=8,
            time_embedding_dim=self.widths[-1],
        )

    def scenes_of(self, index: int) -> Int64[np.ndarray, " n"]:
        """The scenes of a batch: in order at first, then in an own order an epoch."""
        positions = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
        epochs = positions // self.scenes
        indices = positions % self.scenes
        for epoch in np.unique(epochs[epochs > 0]):
            order = np.random.default_rng([self.seed, int(epoch)]).permutation(self.scenes)
            indices[epochs == epoch] = order[indices[epochs == epoch]]
        return indices

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:  # noqa: ARG002
        """A fresh network, or that of the start, and its AdamW."""
        source = _world(self.without, self._autoencoder.config.sample_size)
        shards = latent_shards(self.data, source, self._autoencoder)
        arithmetic = Arithmetic(precision="bf16", channels_last=True)
        network = arithmetic.place(self.network(), device)
        scheduler = noise_schedule()

        def batch(
            network: torch.nn.Module, indices: np.ndarray, generator: torch.Generator
        ) -> dict[str, torch.Tensor]:
            latents = torch.from_numpy(shards.rows(indices)).float()
            noise = torch.randn(latents.shape, generator=generator)
            # One noise level from each of n equal parts: less variance than n independent ones.
            parts = torch.arange(len(latents)) + torch.rand(len(latents), generator=generator)
            times = (parts / len(latents) * NOISE_STEPS).long().clamp(max=NOISE_STEPS - 1)
            noisy = scheduler.add_noise(latents, noise, times)
            velocity = scheduler.get_velocity(latents, noise, times)
            # The fused attention's gradient is ten times slower on so few positions on a CPU.
            with sdpa_kernel(SDPBackend.MATH):
                predicted = network(arithmetic.images(noisy, device), times.to(device)).sample
            return {"loss": functional.mse_loss(predicted.float(), velocity.to(device))}

        def losses(
            network: torch.nn.Module, index: int, generator: torch.Generator
        ) -> dict[str, torch.Tensor]:
            return batch(network, self.scenes_of(index), generator)

        def validation(network: torch.nn.Module) -> dict[str, float]:
            held_out = np.arange(HELD_OUT, HELD_OUT + SHARD)
            loss = batch(network, held_out, torch.Generator().manual_seed(1))["loss"]
            assert isinstance(network, UNet2DModel)
            pipeline = self.pipeline(network)
            grid = draw_grid(pipeline, GRID**2, self.sample_steps)
            write_square(grid, self.folder / "samples" / f"{_count(self.folder):04}.png")
            pipeline.to(torch.float16).save_pretrained(self.folder / "pipeline")
            return {"validation_loss": float(loss)}

        learner = NetworkLearner(
            network,
            torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=0.01),
            losses,
            device=device,
            arithmetic=arithmetic,
            learning_rate=lambda index: warmed(self.learning_rate, index),
            average_decay=self.average_decay,
            clip_norm=1.0,
            validation=validation,
        )
        return _started(learner, self)

    def pipeline(self, network: UNet2DModel) -> LDMPipeline:
        """A stock pipeline of copies of both networks, on the CPU in float32."""
        pipeline = LDMPipeline(
            vqvae=copy.deepcopy(self._autoencoder),
            unet=copy.deepcopy(network).cpu().float().to(memory_format=torch.contiguous_format),
            scheduler=noise_schedule(),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def noise_schedule() -> DDIMScheduler:
    """The cosine schedule, velocity as the target, the last step at clean latents."""
    return DDIMScheduler(
        num_train_timesteps=NOISE_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,  # latents are not bounded
        timestep_spacing="trailing",
    )


def draw_grid(pipeline: LDMPipeline, count: int, steps: int) -> UInt8[np.ndarray, "n 3 h w"]:
    """The first images, each from a generator of its own."""
    generators = [torch.Generator().manual_seed(index) for index in range(count)]
    with torch.autocast("cpu", enabled=False):
        drawn = pipeline(
            batch_size=count, generator=generators, num_inference_steps=steps, output_type="np"
        )
    return to_uint8(np.asarray(drawn.images).transpose(0, 3, 1, 2) * 2 - 1)


def _count(folder: Path) -> int:
    """The sample grids in a folder of a training."""
    return len(list((folder / "samples").glob("*.png")))


def train_denoiser(
    task: DenoiserTraining, *, progress: Callable[[TrainingProgress], None] | None = None
) -> Path:
    """Train, and write `pipeline` in the folder: load it with diffusers, or `diffusers:FOLDER`.

    The folder also gets sample grids as the training goes, and the pipeline of that moment.

    Raises:
        CheckpointError: there is no finished autoencoder, or no training to start from.
        RecordError, TrainingError, StorageError: see `unseen.inversion.training_loop.train`.
    """
    earlier = _earlier(task)
    learner = train(_run(task, task), progress=progress)[task.name]
    assert isinstance(learner, NetworkLearner)
    network = learner.result
    assert isinstance(network, UNet2DModel)
    path = task.folder / "pipeline"
    task.pipeline(network).to(torch.float16).save_pretrained(path)
    _write_record(task, earlier)
    return path
