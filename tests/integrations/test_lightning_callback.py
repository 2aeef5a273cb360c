"""The callback measures what `unseen.compare` measures, leaves the training alone, and is logged.

Each logger is tried for real: TensorBoard's files, an offline run of Weights & Biases, and a local
store of MLflow are read back.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import unseen
from unseen.core.errors import SampleError

pytestmark = [pytest.mark.integrations, pytest.mark.filterwarnings("default")]


class Brightness:
    """Five classes by brightness: a segmenter that takes no time."""

    channels = {"object": ("none", "dark", "dim", "light", "bright")}  # noqa: RUF012
    resolution = 8
    provenance = {"spec": "brightness"}  # noqa: RUF012

    def label_maps(self, images: np.ndarray, channel: str = "object") -> np.ndarray:
        return (images.mean(axis=1) // 52).astype(np.int64)


REAL = np.random.default_rng(0).integers(0, 128, (200, 3, 8, 8), np.uint8)
REAL[::2] += 120  # in half of the images almost everything is light or bright


def draw(module: torch.nn.Module, n: int) -> torch.Tensor:
    """Dark images of a module that draws: nothing above 0 of −1 to 1."""
    assert not module.training
    return module(torch.randn(n, 4)).reshape(n, 3, 8, 8).sigmoid() - 1


def trained(folder: Path, *callbacks: object, loggers: object = False, **options: object):
    """A small module after a few steps on random numbers."""
    from lightning.pytorch import LightningModule, Trainer, seed_everything

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(4, 192))

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return self.layer(latents)

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            return (self(batch + torch.randn_like(batch)) ** 2).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    seed_everything(0, verbose=False)
    module = Module()
    trainer = Trainer(
        max_steps=6, accelerator="cpu", logger=loggers, callbacks=list(callbacks),
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, log_every_n_steps=1, **options,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=4))
    return module


def callback(**options: object):
    from unseen.integrations import SegmentationCallback

    settings = {"count": 200, "every_n_steps": 3, "batch_size": 64} | options
    return SegmentationCallback(Brightness(), real=REAL, draw=draw, **settings)


def test_it_gives_what_compare_gives_and_leaves_the_training_alone(tmp_path: Path) -> None:
    measuring = callback()
    module, alone = trained(tmp_path, measuring), trained(tmp_path)
    assert module.training
    for ours, theirs in zip(module.parameters(), alone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    # The last measured step is the last step of training, so the module draws the same images now.
    torch.manual_seed(0)
    images = torch.cat([draw(module.eval(), n) for n in (64, 64, 64, 8)]).detach()
    drawn = unseen.open_images(images, value_range=(-1, 1))
    whole = unseen.compare(REAL, drawn, Brightness(), workers=0)
    (measured,), (expected,) = measuring.comparison.generated, whole.generated
    assert measured.fsd == expected.fsd
    assert measured.classes == expected.classes


# Each rank draws 100 images from a seed of its own, in batches of at most 64.
RANKS = """
import sys
from pathlib import Path

import numpy as np
import torch
from tests.integrations.test_lightning_callback import callback, draw, trained

if __name__ == "__main__":
    folder, measuring = Path(sys.argv[1]), callback()
    module = trained(folder, measuring, devices=2, strategy="ddp").eval()
    if torch.distributed.get_rank() == 0:
        measuring.comparison.save(folder / "measured")
        images = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            images += [draw(module, n).detach().numpy() for n in (64, 36)]
        np.save(folder / "images.npy", np.concatenate(images))
    else:
        (folder / "other.txt").write_text(f"{measuring.comparison}")
"""


def test_two_gloo_ranks_give_what_compare_gives_of_the_images_of_both(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(RANKS)
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        check=True, timeout=600, cwd=root, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert (tmp_path / "other.txt").read_text() == "None"  # the first rank alone compares
    images = torch.from_numpy(np.load(tmp_path / "images.npy"))
    drawn = unseen.open_images(images, value_range=(-1, 1))
    (expected,) = unseen.compare(REAL, drawn, Brightness(), workers=0).generated
    (measured,) = unseen.read_comparison(tmp_path / "measured").generated
    assert measured.images == 200
    assert measured.fsd == expected.fsd
    assert measured.classes == expected.classes


def test_tensorboard_holds_numbers_words_and_pictures(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger, measuring = TensorBoardLogger(tmp_path, name="run"), callback()
    trained(tmp_path, measuring, loggers=logger)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    scalars = events.Scalars("unseen/fsd_plug_in")
    assert [scalar.step for scalar in scalars] == [3, 6]
    (side,) = measuring.comparison.generated
    assert scalars[-1].value == pytest.approx(side.fsd.value, rel=1e-6)  # kept as float32
    assert events.Scalars("unseen/omitted")[-1].value == side.counts["omitted"] > 0
    (first, _) = events.Images("unseen/generated")
    assert (first.width, first.height) == (8 * 8, 2 * 8)  # 16 images of 8×8, eight in a row
    assert len(events.Images("unseen/histogram")) == 2
    said = events.Tensors("unseen/summary/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert all(row.name in said for row in side.named("omitted"))


def test_weights_and_biases_keeps_an_offline_run(tmp_path: Path, monkeypatch) -> None:
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="unseen", save_dir=tmp_path, offline=True)
    trained(tmp_path, callback(), loggers=logger)
    summary = dict(logger.experiment.summary)
    assert summary["unseen/omitted"] > 0
    assert summary["unseen/histogram"]["count"] == 1
    logger.experiment.finish()
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert any(name.startswith("run-") and name.endswith(".wandb") for name in kept)
    assert sum(name.startswith("generated_") and name.endswith(".png") for name in kept) == 2
    assert sum(name.startswith("summary_") and name.endswith(".table.json") for name in kept) == 2


def test_mlflow_keeps_a_local_store(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import MLFlowLogger
    from mlflow.tracking import MlflowClient

    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logger = MLFlowLogger(
        "unseen", tracking_uri=address, artifact_location=(tmp_path / "kept").as_uri()
    )
    trained(tmp_path, callback(), loggers=logger)
    client = MlflowClient(address)
    history = client.get_metric_history(logger.run_id, "unseen/omitted")
    assert [metric.step for metric in history] == [3, 6]
    kept = {file.path for file in client.list_artifacts(logger.run_id, "unseen")}
    assert kept == {
        f"unseen/{name}-0000000{step}.{ending}"
        for name, ending in (("summary", "txt"), ("histogram", "png"), ("generated", "png"))
        for step in (3, 6)
    }


def test_steps_and_images_below_one_are_refused() -> None:
    for options in ({"count": 1}, {"every_n_steps": 0}, {"batch_size": 0}):
        with pytest.raises(SampleError):
            callback(**options)
