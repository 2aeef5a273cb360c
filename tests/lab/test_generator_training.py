"""The churchyard's generator: what its training writes, and how it goes on."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab.__main__ import run
from lab.generator_training import GeneratorTraining, _RealImages, train_generator
from PIL import Image

from unseen.core.errors import CheckpointError, RecordError, SpecError
from unseen.generators import load_generator
from unseen.images import open_images
from unseen.images.pixels import to_uint8
from unseen.inversion.training_loop import read_checkpoint

TOY: dict[str, Any] = {
    "widths": (4, 4, 4, 4),  # 16×16, the churchyard's smallest
    "discriminator_widths": (4, 4, 4),
    "batch_size": 4,
    "checkpoint_images": 4,
    "snapshot_images": 8,
    "workers": 0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_generator(GeneratorTraining(folder=folder, images=12, **TOY))
    return folder


def test_the_kept_weights_are_a_progan_that_draws_the_grid(folder: Path) -> None:
    generator = load_generator(f"progan:{folder / 'generator.safetensors'}")
    assert generator.resolution == 16
    grid = np.asarray(Image.open(folder / "samples" / "00000012.png"))
    assert grid.shape == (160, 160, 3)  # ten a side
    third = to_uint8(generator(generator.latents([2], seed=1)).numpy())[0].transpose(1, 2, 0)
    # one level: rounding, after convolutions over another batch size
    assert np.abs(grid[:16, 32:48].astype(int) - third.astype(int)).max() <= 1


def test_there_is_a_snapshot_and_a_grid_in_time_and_at_the_end(folder: Path) -> None:
    names = ["00000008", "00000012"]
    assert sorted(path.stem for path in (folder / "snapshots").iterdir()) == names
    assert sorted(path.stem for path in (folder / "samples").iterdir()) == names
    rows = (folder / "generator.csv").read_text().splitlines()
    assert rows[0].split(",")[0] == "step"
    assert rows[-1].split(",")[0] == "3"  # 12 images in batches of 4


def test_what_made_it_is_written_beside_it(folder: Path) -> None:
    record = json.loads((folder / "generator.json").read_text())
    assert record["source"] == "churchyard?seed=1000003&resolution=16"
    assert record["images"] == 12


def test_more_images_go_on_from_the_last_checkpoint(folder: Path, tmp_path: Path) -> None:
    train_generator(GeneratorTraining(folder=tmp_path, images=8, **TOY))
    train_generator(GeneratorTraining(folder=tmp_path, images=12, **TOY))
    kept = (tmp_path / "generator.safetensors").read_bytes()
    assert kept == (folder / "generator.safetensors").read_bytes()


def test_smaller_batches_go_on_in_another_folder(folder: Path, tmp_path: Path) -> None:
    smaller = GeneratorTraining(
        folder=tmp_path, start=folder, images=20, learning_rate=1e-4, **{**TOY, "batch_size": 2}
    )
    train_generator(smaller)
    record = json.loads((tmp_path / "generator.json").read_text())
    assert record["images"] == 20
    assert record["start"]["images"] == 12
    assert "--batch-size 2 --learning-rate 0.0001" in record["command"]
    rows = (tmp_path / "generator.csv").read_text().splitlines()
    assert rows[-1].split(",")[0] == "4"  # the 8 images that the start was not shown
    assert (tmp_path / "snapshots" / "00000020.safetensors").exists()
    earlier, later = (
        read_checkpoint(f / "generator.checkpoint.pt")["learner"] for f in (folder, tmp_path)
    )
    assert later["generator_adam"]["param_groups"][0]["lr"] == 1e-4
    moved = earlier["generator"]["layer1.conv.weight"] - later["generator"]["layer1.conv.weight"]
    assert 0 < moved.abs().max() < 2e-3  # it went on from there: N(0, 1) weights would differ by 1


def test_it_goes_on_in_another_world_and_says_so(folder: Path, tmp_path: Path) -> None:
    other = GeneratorTraining(folder=tmp_path, start=folder, without="car", images=20, **TOY)
    train_generator(other)
    record = json.loads((tmp_path / "generator.json").read_text())
    assert record["source"].endswith("&without=car")
    assert not record["start"]["source"].endswith("&without=car")


def test_a_start_of_other_networks_is_refused(folder: Path, tmp_path: Path) -> None:
    wider = {**TOY, "discriminator_widths": (8, 4, 4)}
    with pytest.raises(CheckpointError, match="another discriminator_widths"):
        train_generator(GeneratorTraining(folder=tmp_path, start=folder, images=20, **wider))


def test_a_start_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no finished training"):
        train_generator(GeneratorTraining(folder=tmp_path, start=tmp_path, images=20, **TOY))


def test_another_world_does_not_go_on_in_the_same_folder(folder: Path) -> None:
    with pytest.raises(RecordError, match="another run"):
        train_generator(GeneratorTraining(folder=folder, without="car", images=12, **TOY))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six grey squares of 20×20, each of its own brightness."""
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(6):
        Image.new("RGB", (20, 20), (40 * index,) * 3).save(folder / f"{index}.png")
    return folder


def test_images_are_learnt_from_in_passes_and_resumed_equals_unbroken(
    photographs: Path, tmp_path: Path
) -> None:
    task = GeneratorTraining(
        folder=tmp_path / "whole",
        data=str(photographs),
        mirror=True,
        augment=("colour", "translation", "cutout"),
        images=16,
        **TOY,
    )
    train_generator(task)
    parts = dataclasses.replace(task, folder=tmp_path / "parts")
    train_generator(dataclasses.replace(parts, images=8))  # in the second pass of six
    train_generator(parts)
    kept = [(t.folder / "generator.safetensors").read_bytes() for t in (task, parts)]
    assert kept[0] == kept[1]
    record = json.loads((task.folder / "generator.json").read_text())
    assert record["source"] == str(photographs)
    assert f"--data {photographs} --mirror --widths 4,4,4,4" in record["command"]
    assert "--augment colour,translation,cutout" in record["command"]


def test_every_pass_shows_every_image_once(photographs: Path) -> None:
    task = GeneratorTraining(folder=photographs, data=str(photographs), images=24, **TOY)
    source = open_images(str(photographs))
    shown = np.concatenate(list(_RealImages(source, task, 0)(0)))[:, 0, 0, 0]
    passes = shown.reshape(4, 6).tolist()
    assert all(sorted(order) == [0, 40, 80, 120, 160, 200] for order in passes)
    assert len({tuple(order) for order in passes}) > 1  # each in an order of its own
    later = np.concatenate(list(_RealImages(source, task, 4)(2)))  # from image 4 + 2 × 4 on
    assert later[:, 0, 0, 0].tolist() == shown[12:].tolist()


def test_about_every_second_image_is_mirrored(photographs: Path, tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None], (16, 16, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    task = GeneratorTraining(
        folder=tmp_path, data=str(tmp_path), mirror=True, images=200, **{**TOY, "batch_size": 10}
    )
    images = np.concatenate(list(_RealImages(open_images(str(tmp_path)), task, 0)(0)))
    left = images[:, 0, 0, 0]
    assert set(left.tolist()) == {0, 15}
    assert 60 < (left == 15).sum() < 140  # of 200 halves: 5.7 standard deviations
    again = np.concatenate(list(_RealImages(open_images(str(tmp_path)), task, 0)(7)))
    assert np.array_equal(again, images[70:])


def test_other_changes_of_the_images_are_another_training(
    photographs: Path, tmp_path: Path
) -> None:
    task = GeneratorTraining(folder=tmp_path, data=str(photographs), images=4, **TOY)
    train_generator(task)
    for other in ({"mirror": True}, {"augment": ("cutout",)}):
        with pytest.raises(RecordError, match="another run"):
            train_generator(dataclasses.replace(task, **other))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"without": "cathedral"}, "cannot be without 'cathedral'"),
        ({"images": 3}, "less than one batch of 4"),
        ({"data": "photos/", "without": "car"}, "car"),
        ({"augment": ("color",)}, "color"),
        ({"discriminator_widths": (4, 4)}, "one less"),
    ],
)
def test_settings_that_make_no_training_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        train_generator(GeneratorTraining(folder=tmp_path, **{**TOY, **settings}))


def test_the_command_trains_and_names_what_it_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lab.commands.run_generator_training",
        lambda task, progress: train_generator(dataclasses.replace(task, **TOY), progress=progress),
    )
    command = ["train", "generator", "--out", str(tmp_path), "--images", "8"]
    assert run([*command, "--without", "car,fence", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'generator.safetensors'}: load it")
    record = json.loads((tmp_path / "generator.json").read_text())
    assert record["source"].endswith("&without=car,fence")
    assert record["seed"] == 3


def test_a_class_that_the_world_has_not_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "generator", "--out", str(tmp_path), "--without", "bench"]
    assert run(command) == 1
    assert "cannot be without 'bench'" in capsys.readouterr().err
