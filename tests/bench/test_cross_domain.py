"""Groups of images through a generator of a few thousand weights, and through a second one."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from PIL import Image
from safetensors.torch import save_file
from tests.support.bench_runs import assert_figures, forbid_optimising
from tests.support.inversion_worlds import tiny_generator, tiny_inverter

from unseen.bench.cross_domain import CrossDomain, invert_domains
from unseen.bench.cross_domain_report import Difference, Group, GroupImage, sentence
from unseen.cli.main import run
from unseen.core.errors import SampleError, SpecError
from unseen.images import open_images, subset
from unseen.inversion.inverter_file import write_inverter

COUNT = 4  # images a group
NO_GROUPS: dict[str, Any] = {
    "training": None,
    "held_out": None,
    "other": [],
    "unrelated": None,
    "also": [],
    "also_inverter": [],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators with their inverters, and six photographs."""
    folder = tmp_path_factory.mktemp("world")
    for number in range(2):
        generator = tiny_generator(seed=number)
        state = generator.network.state_dict()
        save_file({k: v.contiguous() for k, v in state.items()}, folder / f"{number}.safetensors")
        write_inverter(tiny_inverter(generator), folder / f"inverter-{number}.safetensors")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return folder


def task(world: Path, out: Path, **changes: Any) -> CrossDomain:
    fields: dict[str, Any] = {
        "out": out,
        "generator": f"progan:{world / '0.safetensors'}",
        "inverter": str(world / "inverter-0.safetensors"),
        "training": "churchyard?seed=1000003&resolution=16",
        "held_out": "churchyard?seed=5&resolution=16",
        "other": [f"photos outdoor={world / 'photos'}"],
        "unrelated": "python:lab.out_of_domain:unrelated?seed=5&resolution=16",
        "also": [f"progan:{world / '1.safetensors'}"],
        "also_inverter": [str(world / "inverter-1.safetensors")],
        "count": COUNT,
        "seed": 3,
        "shown": 2,
        "perceptual": "none",
        "steps": 5,
    }
    return CrossDomain(**{**fields, **changes})


@pytest.fixture(scope="module")
def folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    list(invert_domains(task(world, out)))
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "cross-domain.csv").read_text().splitlines()))


def test_every_group_is_the_first_of_its_seeded_subset(world: Path, folder: Path) -> None:
    rows = rows_of(folder)
    assert [row["group"] for row in rows[::COUNT]] == [
        "own images",
        "training",
        "held out",
        "photos outdoor",
        "unrelated",
        "unrelated",
    ]
    assert [row["generator"] for row in rows[::COUNT]] == ["progan:0"] * 5 + ["progan:1"]
    source = open_images(world / "photos")
    taken = [row["image"] for row in rows if row["group"] == "photos outdoor"]
    assert taken == [source.names[index] for index in subset(source, COUNT, 3)]
    # the same unrelated images through both generators
    images = [row["image"] for row in rows[-2 * COUNT :]]
    assert images[:COUNT] == images[COUNT:]
    losses = [row["loss"] for row in rows[-2 * COUNT :]]
    assert losses[:COUNT] != losses[COUNT:]


def test_training_minus_held_out_has_welchs_interval(folder: Path) -> None:
    rows = rows_of(folder)
    first, second = (
        [float(row["loss"]) for row in rows if row["group"] == name]
        for name in ("training", "held out")
    )
    record = json.loads((folder / "cross-domain.json").read_text())
    found = record["training_minus_held_out"][0]
    assert found["measure"] == "loss"
    expected = scipy.stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    # the table has six digits
    assert found["value"] == pytest.approx(np.mean(first) - np.mean(second), abs=2e-6)
    assert found["interval"] == pytest.approx([expected.low, expected.high], abs=1e-5)
    text = (folder / "cross-domain.md").read_text()
    assert "| unrelated, progan:1 | " in text
    assert f"- loss {found['value']:+.4f}".replace("-0", "−0") in text


def test_the_figures_are_there_in_both_formats(folder: Path) -> None:
    assert_figures(folder, "groups", "losses", "generators", pixels=200)


def test_a_finished_run_is_read_again_and_gives_the_same_bytes(
    world: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    forbid_optimising(monkeypatch)
    counted: list[tuple[int, int]] = []
    written = list(
        invert_domains(task(world, folder), progress=lambda *numbers: counted.append(numbers))
    )
    assert {path: path.read_bytes() for path in written} == before
    assert counted[-1] == (6 * COUNT, 6 * COUNT)


def test_all_groups_are_compared_by_the_same_features(world: Path, tmp_path: Path) -> None:
    churchyard = task(world, tmp_path, perceptual=None)
    assert churchyard.settings.perceptual == "segmenter"  # the churchyard's, of the first group
    photos = task(world, tmp_path, perceptual=None, training="photos/")
    assert photos.settings.perceptual == "vgg16"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (NO_GROUPS, "no groups"),
        ({"other": ["own images=photos/"]}, "cannot be called 'own images'"),
        ({"other": ["photos/outdoor"]}, "'photos/outdoor' gives its group no name"),
        ({"also_inverter": []}, "1 further generators and 0 inverters"),
        ({"inverter": None}, "1 further generators and 1 inverters"),
        ({"unrelated": None}, "invert the group 'unrelated', and there is none"),
        ({"method": "c"}, "method is 'c'"),
        ({"count": 1}, "count"),
    ],
)
def test_a_task_that_cannot_be_done_is_refused(
    world: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        task(world, tmp_path, **changes)


def test_a_group_of_failures_has_no_interval() -> None:
    image = GroupImage(name="0", loss=1.0, pixel=0.1, correlation=0.5)
    with pytest.raises(SampleError, match="1 images of photos/ were reconstructed, and 3 failed"):
        Group(name="x", generator="g", spec="photos/", images=(image,), failed=3)


@pytest.mark.parametrize(
    ("measure", "interval", "words"),
    [
        ("loss", (-0.3, -0.1), "reconstructed better"),
        ("loss", (0.1, 0.3), "reconstructed worse"),
        ("loss", (-0.1, 0.3), "not told apart"),
        ("correlation", (0.1, 0.3), "reconstructed better"),
        ("correlation", (-0.3, -0.1), "reconstructed worse"),
    ],
)
def test_a_lower_loss_and_a_higher_correlation_are_better(
    measure: str, interval: tuple[float, float], words: str
) -> None:
    difference = Difference(
        measure=measure, value=sum(interval) / 2, interval=interval, held_out=2.0
    )
    assert sentence(difference).endswith(words)


def test_the_percentages_are_of_the_held_out_mean() -> None:
    difference = Difference(measure="loss", value=-0.2, interval=(-0.3, -0.1), held_out=2.0)
    assert sentence(difference) == (
        "loss −0.2000 [−0.3000, −0.1000], −10.0% [−15.0%, −5.0%] of the held-out mean: training "
        "images are reconstructed better"
    )


def test_the_command_takes_groups_by_name(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["bench", "cross-domain", f"progan:{world / '0.safetensors'}"]
    given += ["--inverter", str(world / "inverter-0.safetensors"), "--out", str(tmp_path / "out")]
    few = ["--perceptual", "none", "--steps", "2", "--count", "2", "--shown", "2"]
    assert run([*given, *few, "--other", f"indoor={world / 'photos'}", "--method", "d"]) == 0
    printed = capsys.readouterr().out
    assert "| indoor | `" in printed
    assert "Training and held-out images were not both given" in printed
    assert run([*given, "--other", str(world / "photos")]) == 1
    assert str(world / "photos") in capsys.readouterr().err
    assert run([*given, "--training", "x", "--also", "progan:x.pth"]) == 1
    assert "1 further generators and 0 inverters" in capsys.readouterr().err


def test_without_inverters_every_search_begins_at_the_nearest_sample(
    world: Path, tmp_path: Path
) -> None:
    few = task(world, tmp_path, inverter=None, also_inverter=[], samples=8, steps=1, count=2)
    list(invert_domains(few))
    record = json.loads((tmp_path / "cross-domain.json").read_text())
    for provenance in record["provenance"]["inversions"]:
        assert provenance["inverter"] is None
        assert provenance["settings"]["f"]["start"] == "nearest"
        assert provenance["settings"]["f"]["samples"] == 8
