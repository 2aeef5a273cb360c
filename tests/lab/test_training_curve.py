"""The measured training of a churchyard generator: table, figure, model card."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest
from lab.__main__ import run
from lab.generator_training import GeneratorTraining, train_generator
from lab.training_curve import Checkpoint, Checkpoints, checkpoints_csv, measure_checkpoints

from unseen.core.errors import RecordError

TOY: dict[str, Any] = {
    "widths": (4, 4, 4, 4),  # 16×16
    "discriminator_widths": (4, 4, 4),
    "batch_size": 4,
    "snapshot_images": 4,
    "workers": 0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_generator(GeneratorTraining(folder=folder, images=12, without="car,fence", **TOY))
    return folder


def test_each_snapshot_gets_a_row_and_the_last_one_a_card(folder: Path) -> None:
    task = Checkpoints(folder=folder, count=24, every=2, without="car,fence")
    said: list[str] = []
    written = [path.name for path in measure_checkpoints(task, said.append)]
    assert written == ["quality.csv", "quality.svg", "quality.png", "generator.md"]
    rows = list(csv.DictReader((folder / "quality.csv").read_text().splitlines()))
    assert [row["images"] for row in rows] == ["4", "12"]  # every second, back from the last
    for row in rows:
        assert float(row["share"]) == pytest.approx(
            float(row["corrected"]) / float(row["variance"]), rel=1e-4
        )
    assert len(said) == 2
    card = (folder / "generator.md").read_text()
    digest = hashlib.sha256((folder / "generator.safetensors").read_bytes()).hexdigest()
    assert digest in card
    assert "--images 12 --seed 0 --without car,fence" in card
    assert "without car and fence" in card
    assert "| sky | 100 % |" in card


def test_a_training_on_photographs_is_not_measured_by_scenes(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "00000004.safetensors").touch()
    (tmp_path / "generator.json").write_text('{"source": "photos/"}')
    with pytest.raises(RecordError, match="photos/"):
        list(measure_checkpoints(Checkpoints(folder=tmp_path)))


def test_a_card_tells_every_part_of_a_training(folder: Path, tmp_path: Path) -> None:
    later = {**TOY, "batch_size": 2, "instance_noise": 0.15}
    task = GeneratorTraining(
        folder=tmp_path,
        start=folder,
        images=16,
        seed=5,
        **later,  # now in the whole world
    )
    train_generator(task)
    list(measure_checkpoints(Checkpoints(folder=tmp_path, count=24)))
    card = (tmp_path / "generator.md").read_text()
    assert "2. `python -m lab train generator --images 16 --seed 5" in card
    assert "--instance-noise 0.15 --start EARLIER" in card
    assert "&without=car,fence` | 4 | 0.0015 | 0.2 | 0 | 0.998 | bf16 | 0 |" in card
    assert "| 16 | `churchyard?seed=1000003&resolution=16` | 2 | 0.0015 | 0.2 | 0.15 |" in card


def test_a_card_of_other_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    first = folder / "snapshots" / "00000004.safetensors"
    (tmp_path / "snapshots" / first.name).write_bytes(first.read_bytes())
    for name in ("generator.json", "generator.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(RecordError, match="12 scenes and the last snapshot measured 4"):
        list(measure_checkpoints(Checkpoints(folder=tmp_path, count=24)))


def test_a_folder_without_snapshots_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["checkpoints", str(tmp_path)]) == 1
    assert "has no snapshots/*.safetensors" in capsys.readouterr().err


def test_the_table_holds_every_number_and_the_share() -> None:
    row = Checkpoint(
        images=5, fsd=12.0, corrected=10.0, low=8.0, high=12.5, floor=1.5, variance=200.0
    )
    assert checkpoints_csv([row]).splitlines() == [
        "images,fsd,corrected,low,high,floor,variance,share",
        "5,12,10,8,12.5,1.5,200,0.05",
    ]
