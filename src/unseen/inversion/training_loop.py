"""The one training loop of the package: stages in, trained learners and a folder of records out.

It owns order, randomness, logs, checkpoints and resumption. It knows no network, no loss and no
optimiser: a stage is a frozen value that says what is to be trained, and the learner that it
begins owns its networks and optimisers (one, or a GAN's two).

Every step draws from a random stream of its own, derived from (seed, stage, step), so a run that is
killed and started again repeats no draw and, on the same machine, ends in the same bits.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from unseen.core.errors import CheckpointError, TrainingError, memory_for
from unseen.core.files import not_writable, write_aside
from unseen.core.identity import identify
from unseen.core.run_folder import RunFolder

CHECKPOINT_VERSION = 1


@runtime_checkable
class Learner(Protocol):
    """What a stage trains: networks, optimisers and whatever else must survive a restart."""

    def step(self, index: int, generator: torch.Generator) -> Mapping[str, float | torch.Tensor]:
        """Train on batch `index` (from 0).

        Args:
            index: the number of the step.
            generator: on the CPU, seeded for this step alone. The global stream is seeded too, so
                that dropout is repeatable.

        Returns:
            What the log shows, as scalars; a detached tensor avoids waiting for the device.
        """
        ...

    def validate(self) -> Mapping[str, float]:
        """Measure without training: changes no weight and no buffer. May be empty."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dicts: all that the next step depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` described."""
        ...


@runtime_checkable
class Stage(Protocol):
    """One frozen value: what is trained, and for how long."""

    @property
    def name(self) -> str:
        """Unique in its run, and fit for a file name: `segmenter`, `layer4`."""
        ...

    @property
    def steps(self) -> int:
        """How many batches."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """JSON that decides the result; a checkpoint of another identity is refused."""
        ...

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> Learner:
        """Fresh networks and optimisers; the global random stream is seeded for the stage.

        Args:
            device: where to train.
            earlier: the finished learners of the stages before this one, by name.
        """
        ...


@dataclasses.dataclass(frozen=True)
class TrainingProgress:
    """What the callback is told when a stage begins and after every step."""

    stage: str
    step: int  # steps done
    steps: int  # steps in all
    overall: tuple[int, int]  # the same of all stages together
    metrics: Mapping[str, float]  # of a logged step: means since the last row, and a validation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """Train stages one after the other; run it again to go on where it stopped.

    The folder holds `training.json`, which says what is trained, and for every stage
    `NAME.checkpoint.pt` and `NAME.csv`.
    """

    stages: Sequence[Stage]
    folder: Path
    seed: int = 0
    device: str = "cpu"
    log_every: int = 50  # steps averaged in a row of the log
    checkpoint_every: int = 500  # steps; also after the last
    validate_every: int | None = None  # steps; None: after the last only


def train(
    task: Training, *, progress: Callable[[TrainingProgress], None] | None = None
) -> dict[str, Learner]:
    """Run the stages that are not finished yet.

    Args:
        task: what to train and where to keep it.
        progress: called when a stage begins or goes on, and after every step.

    Returns:
        The trained learners by stage name.

    Raises:
        RecordError: the folder holds another training.
        CheckpointError: the folder holds a checkpoint that is unreadable.
        TrainingError: a metric is no longer finite; the last checkpoint is kept.
        OutOfMemoryError: a batch is too large for this machine; the last checkpoint is kept.
        StorageError: the folder cannot be written, or another process is training there.
    """
    names = [stage.name for stage in task.stages]
    if len(set(names)) != len(names):
        raise ValueError(f"stage names must be unique, not {names}")
    device = torch.device(task.device)
    learners: dict[str, Learner] = {}
    devices = [device] if device.type == "cuda" else []
    with _folder(task).writing(), torch.random.fork_rng(devices=devices):
        for stage in task.stages:
            learners[stage.name] = _run_stage(task, stage, device, learners, progress)
    return learners


def _folder(task: Training) -> RunFolder:
    """The training's folder, in which other files may lie."""
    stages = {stage.name: dict(stage.identity()) for stage in task.stages}
    identity = identify("training", CHECKPOINT_VERSION, options={"seed": task.seed, **stages})
    files = [f"{name}.{ending}" for name in stages for ending in ("checkpoint.pt", "csv")]
    there = task.folder.iterdir() if task.folder.is_dir() else ()
    beside = [path.name for path in there if path.name not in files]
    return RunFolder(task.folder, identity, files, "training.json", before=beside)


def step_seed(seed: int, stage: str, step: int) -> int:
    """The 63-bit seed of one step's random stream; step -1 is the stage's beginning."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _run_stage(
    task: Training,
    stage: Stage,
    device: torch.device,
    earlier: Mapping[str, Learner],
    progress: Callable[[TrainingProgress], None] | None,
) -> Learner:
    checkpoint = task.folder / f"{stage.name}.checkpoint.pt"
    log = task.folder / f"{stage.name}.csv"
    torch.manual_seed(step_seed(task.seed, stage.name, -1))
    learner = stage.begin(device, dict(earlier))
    window: list[Mapping[str, float | torch.Tensor]] = []
    first = 0
    rows: list[dict[str, Any]] = []
    if checkpoint.exists():
        state = read_checkpoint(checkpoint)
        learner.load_state_dict(state["learner"])
        first, window, rows = state["step"], state["window"], state["rows"]
    _write_log(log, rows)  # drops rows that an interrupted run wrote after its checkpoint
    generator = torch.Generator()
    before = sum(past.steps for past in task.stages if past.name in earlier)
    total = sum(every.steps for every in task.stages)

    def tell(done: int, metrics: Mapping[str, float]) -> None:
        if progress is not None:
            overall = before + done, total
            progress(TrainingProgress(stage.name, done, stage.steps, overall, metrics))

    if first < stage.steps:
        tell(first, {})
    for index in range(first, stage.steps):
        seed = step_seed(task.seed, stage.name, index)
        torch.manual_seed(seed)
        generator.manual_seed(seed)
        with memory_for(
            f"training stage {stage.name!r}",
            "use a smaller --batch-size, which begins another training, or a larger GPU",
        ):
            window.append(learner.step(index, generator))
            if index == first and device.type == "cuda":
                torch.cuda.synchronize(device)  # the first step's time is told, not its launch's
        done = index + 1
        last = done == stage.steps
        validates = last or (task.validate_every is not None and done % task.validate_every == 0)
        saves = last or done % task.checkpoint_every == 0
        logs = validates or last or done % task.log_every == 0
        if logs or saves:
            window = _finite(window, stage.name, done)
        metrics: dict[str, Any] = {}
        if logs:
            metrics = _means(window)
            window = []
            if validates:
                metrics |= _finite([learner.validate()], stage.name, done)[0]
            rows.append({"step": done, **metrics})
            _append_log(log, rows)
        tell(done, metrics)
        if saves:
            state = {
                "version": CHECKPOINT_VERSION,
                "step": done,
                "window": window,
                "rows": rows,
                "learner": learner.state_dict(),
            }
            content = io.BytesIO()  # torch.save to a full disk raises a RuntimeError
            torch.save(state, content)
            with write_aside(checkpoint) as aside:
                aside.write_bytes(content.getbuffer())
    return learner


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a stage's checkpoint holds: `step`, `rows`, the `learner`'s state, ….

    Raises:
        CheckpointError: it is missing or unreadable.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _ = state["step"], state["rows"], state["window"], state["learner"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(
            f"{path} is no training checkpoint that can be read; remove it to start over"
        ) from error
    return state


def _finite(
    window: Sequence[Mapping[str, float | torch.Tensor]], stage: str, done: int
) -> list[Mapping[str, float | torch.Tensor]]:
    """The same rows as floats; a TrainingError where one is NaN or infinite."""
    rows: list[Mapping[str, float | torch.Tensor]] = []
    for position, row in enumerate(window):
        values = {name: float(value) for name, value in row.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} at step {done - len(window) + position + 1} of stage "
                    f"{stage!r}; lower the learning rate or use fp32, then run the same command "
                    "again: it goes on from the last checkpoint"
                )
        rows.append(values)
    return rows


def _means(window: Sequence[Mapping[str, float | torch.Tensor]]) -> dict[str, Any]:
    """Mean of every metric over the steps that report it."""
    columns: dict[str, list[float]] = {}
    for row in window:
        for name, value in row.items():
            columns.setdefault(name, []).append(float(value))
    return {name: math.fsum(values) / len(values) for name, values in columns.items()}


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _write_log(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with write_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(rows) or ["step"], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _append_log(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the last row; write the file anew when that row brought a new column."""
    if len(rows) < 2 or _columns(rows) != _columns(rows[:-1]):
        _write_log(path, rows)
        return
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, _columns(rows), restval="", lineterminator="\n").writerow(rows[-1])
    except OSError as error:
        raise not_writable(path, error) from error


@contextlib.contextmanager
def evaluating(*networks: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's mode is put back afterwards.

    Batch norm's running statistics are buffers, and evaluation mode leaves them alone.
    """
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
