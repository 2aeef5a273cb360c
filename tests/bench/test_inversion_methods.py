"""Figure 6 on a generator of a few thousand weights: numbers, tables, pictures, resumption."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from tests.support.bench_runs import assert_figures, forbid_optimising
from tests.support.inversion_worlds import own_images, tiny_generator, tiny_inverter

from unseen.bench.grids import PictureRow, draw_pictures
from unseen.bench.inversion_methods import MethodComparison, compare_methods
from unseen.bench.inversion_methods_report import MethodsResult, order_markdown
from unseen.cli.main import run
from unseen.core.errors import RecordError, SpecError
from unseen.inversion.inversions import read_inversions
from unseen.inversion.inverter_file import write_inverter
from unseen.statistics.agreement import Step

COUNT = 6  # generated images


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of a generator, an inverter and an encoder, and three photographs."""
    folder = tmp_path_factory.mktemp("world")
    generator = tiny_generator()
    state = generator.network.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "generator.safetensors")
    write_inverter(tiny_inverter(generator), folder / "inverter.safetensors")
    write_inverter(tiny_inverter(generator, seed=1), folder / "encoder.safetensors")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return {
        "generator": f"progan:{folder / 'generator.safetensors'}",
        "inverter": str(folder / "inverter.safetensors"),
        "encoder": str(folder / "encoder.safetensors"),
        "photographs": str(folder / "photos"),
    }


def task(world: dict[str, str], out: Path, **changes: Any) -> MethodComparison:
    few = {"perceptual": "none", "steps": 6}
    fields = {"count": COUNT, "examples": 2, "draws": 50, **few, **world, **changes}
    return MethodComparison(out=out, **fields)


@pytest.fixture(scope="module")
def folder(world: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "figure6"
    list(compare_methods(task(world, out)))
    return out


def test_every_method_quantity_and_definition_has_a_line_and_the_right_number(
    folder: Path,
) -> None:
    rows = list(csv.DictReader((folder / "methods.csv").read_text().splitlines()))
    assert len(rows) == 6 * 3 * 3
    found = {(r["method"], r["quantity"], r["definition"]): float(r["correlation"]) for r in rows}
    generator = tiny_generator()
    images = own_images(generator, COUNT, seed=60_006)
    truth = generator.latents(range(COUNT), seed=60_006)
    head, _ = generator.split("layer4")
    estimate = tiny_inverter(generator)(images)
    true, recovered = (head(z).detach().reshape(COUNT, -1).numpy() for z in (truth, estimate))
    each = [np.corrcoef(true[:, k], recovered[:, k])[0, 1] for k in range(true.shape[1])]
    # float32 features, in batches of other sizes
    assert found["d", "layer4", "per_dimension"] == pytest.approx(np.mean(each), abs=1e-4)
    a, b = truth.numpy(), estimate.detach().numpy()
    cosine = ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean()
    assert found["d", "z", "cosine"] == pytest.approx(cosine, abs=1e-4)
    # f begins at d's z and moves its features
    assert found["f", "z", "pooled"] == found["d", "z", "pooled"]
    assert found["f", "x", "pooled"] > found["d", "x", "pooled"]


def test_the_record_says_where_the_order_holds_and_by_what_it_was_made(folder: Path) -> None:
    record = json.loads((folder / "methods.json").read_text())
    assert (record["images"], record["failed"], record["cut"]) == (COUNT, 0, "layer4")
    steps = record["order"]["per_dimension"]["x"]
    assert [(one["lower"], one["higher"]) for one in steps] == [
        *((low, high) for high in "de" for low in "abc"),
        ("d", "f"),
        ("e", "f"),
    ]
    assert set(record["provenance"]["inversions"]) == set("abcdef")
    assert record["provenance"]["inversions"]["b"]["encoder"] is not None
    assert record["provenance"]["inversions"]["d"]["encoder"] is None
    text = (folder / "methods.md").read_text()
    assert "| (a) optimise z from random | " in text
    assert "| a < d | " in text
    assert "Latents are scaled to one length" in text  # behind ProGAN's pixel norm


def test_the_pictures_are_there_in_both_formats(folder: Path) -> None:
    assert_figures(folder, "scatter", "examples", pixels=300)


def test_a_finished_run_is_read_again_and_gives_the_same_bytes(
    world: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    forbid_optimising(monkeypatch)
    counted: list[tuple[int, int]] = []
    written = list(compare_methods(task(world, folder), progress=lambda *n: counted.append(n)))
    assert {path: path.read_bytes() for path in written} == before
    assert counted[-1] == (6 * (COUNT + 2), 6 * (COUNT + 2))


def test_another_setting_is_refused_in_the_same_folder(world: dict[str, str], folder: Path) -> None:
    with pytest.raises(RecordError, match="inversions"):
        list(compare_methods(task(world, folder, seed=1)))


def test_without_an_encoder_its_methods_are_left_out_and_failures_too(
    world: dict[str, str], tmp_path: Path
) -> None:
    alone = task({**world, "encoder": None}, tmp_path)  # type: ignore[dict-item]
    list(compare_methods(alone))
    record = tmp_path / "inversions" / "e" / "inversions.json"
    value = json.loads(record.read_text())
    failed = next(one for one in value["images"] if one["role"] == "control")
    failed["reconstructions"]["e"].update(
        failed="the loss is not a number", image=None, tensors=None
    )
    record.write_text(json.dumps(value))
    said: list[str] = []
    list(compare_methods(alone, say=said.append))
    assert "1 of 6 generated images failed, and are left out" in said
    found = json.loads((tmp_path / "methods.json").read_text())
    assert (found["methods"], found["images"], found["failed"]) == (["a", "d", "e", "f"], 5, 1)
    text = (tmp_path / "methods.md").read_text()
    assert "(b, c not run)" in text
    assert "on 5 generated images (1 more failed" in text


def test_the_papers_presets_go_to_their_methods(world: dict[str, str], tmp_path: Path) -> None:
    paper = task(world, tmp_path, preset="iccv2019", perturbed=2, steps=None, perceptual=None)
    z, layers = (paper.settings(method, "layer4") for method in ("e", "f"))
    assert (z.perceptual, z.optimiser.steps, z.perturbed) == ("latents", 3000, None)
    assert (layers.perceptual, layers.optimiser.steps, layers.perturbed) == ("vgg16", 3000, 2)


def test_a_task_that_cannot_be_measured_is_refused(world: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'iccv2019-z'"):
        task(world, tmp_path, preset="iccv2019-z")
    with pytest.raises(SpecError, match="count"):
        task(world, tmp_path, count=1)


def test_the_command_prints_the_table_and_the_files(
    world: dict[str, str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["bench", "inversion", world["generator"], "--inverter", world["inverter"]]
    more = ["--images", world["photographs"], "--perceptual", "none", "--steps", "3"]
    more += ["--perturbed", "2", "--regularisation", "0.25"]
    out = folder.parent / "command"
    assert run([*given, *more, "--count", "2", "--examples", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "| (f) perturb layers from d | " in printed
    (settings,) = read_inversions(out / "inversions" / "f").provenance["settings"].values()
    assert (settings["perturbed"], settings["regularisation"]) == (["layer1", "layer2"], 0.25)
    assert str(out / "scatter.svg") in printed


def test_a_cell_without_a_picture_says_that_it_failed(tmp_path: Path) -> None:
    picture = np.zeros((3, 4, 4), np.uint8)
    row = PictureRow(pictures=[picture, None], notes=["one", "two"], block="block")
    paths = draw_pictures([row], tmp_path / "grid", headings=["target", "(a)"], caption="caption")
    assert [path.name for path in paths] == ["grid.svg", "grid.png"]
    with Image.open(paths[1]) as drawn:
        assert drawn.width > drawn.height


def test_a_reversed_step_stands_out() -> None:

    step = Step(
        lower="d", higher="f", difference=-0.25, interval=(-0.5, -0.125), verdict="reversed"
    )
    result = MethodsResult(
        package_version="0",
        methods=(),
        quantities=(),
        cut="r",
        images=2,
        failed=0,
        scale_free=False,
        steps={},
        measured=(),
        order={"pooled": {"x": (step,)}},
        provenance={},
    )
    text = order_markdown(result)
    assert "| d < f | **reversed** −0.250 [−0.500, −0.125] |" in text
    assert "| all | 0 of 1 hold |" in text
