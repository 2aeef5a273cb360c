"""The study of CelebA's DCGAN: its generator, what it counts, and its small form."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from lab.case_studies.faces_dcgan import generator, study
from lab.case_studies.faces_dcgan.charts import draw_charts
from tests.support.case_studies import environment, run_study
from tests.support.evidence_world import evidence_world
from torch.nn import functional

from unseen.core.errors import CheckpointError
from unseen.inversion.inversions import ROLES


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Random weights under the names of the file in the wheel."""
    torch.manual_seed(0)
    widths = (generator.LATENT_SIZE, *generator.WIDTHS, 3)
    tensors = {}
    for k in range(1, 6):
        tensors[f"convTr{k}.weight"] = 0.05 * torch.randn(widths[k - 1], widths[k], 4, 4)
        if k < 5:
            for name in ("weight", "bias", "running_mean"):
                tensors[f"batchNorm{k}.{name}"] = torch.randn(widths[k])
            tensors[f"batchNorm{k}.running_var"] = 1 + torch.rand(widths[k])
            tensors[f"batchNorm{k}.num_batches_tracked"] = torch.tensor(7)
    return tensors


def test_it_draws_what_the_published_network_draws(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(published, tmp_path / "weights.pt")
    loaded = generator.load(str(tmp_path / "weights.pt"))
    images = loaded.latents(range(3))[:, :, None, None]
    for k in range(1, 6):  # the forward pass that the wheel's module writes out
        stride, padding = (1, 0) if k == 1 else (2, 1)
        images = functional.conv_transpose2d(
            images, published[f"convTr{k}.weight"], stride=stride, padding=padding
        )
        if k < 5:
            mean, variance, scale, shift = (
                published[f"batchNorm{k}.{name}"]
                for name in ("running_mean", "running_var", "weight", "bias")
            )
            images = functional.batch_norm(images, mean, variance, scale, shift).relu()
    assert loaded.layer_names == ("layer1", "layer2", "layer3", "layer4", "output")
    torch.testing.assert_close(loaded.draw(range(3)), images.tanh())  # the same sums, reordered


def test_weights_of_another_network_are_refused(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    lacking = {name: tensor for name, tensor in published.items() if name != "batchNorm2.bias"}
    torch.save(lacking, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"layer2\.norm\.bias"):
        generator.load(str(tmp_path / "weights.pt"))


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["under", "cannot draw", "undecided"], "agree"),
        (["matched", "can draw", None], "agree"),
        (["under", "can draw", "cannot draw"], "disagree"),
        (["undecided", None, "cannot draw"], "one decides"),
        (["untested", None, "undecided"], "none decides"),
    ],
)
def test_only_verdicts_that_decide_agree_or_not(verdicts: list[str | None], said: str) -> None:
    assert study.agree(verdicts) == said


def test_a_class_without_instances_has_no_verdict_of_a_search() -> None:
    found = study.evidence_numbers(evidence_world())
    runs = dict.fromkeys(study.RUNS, found)
    classes = [{"class": name, "verdict": "under"} for name in ("person", "unicorn")]
    person, unicorn = study.agreement(classes, runs)
    assert person == {
        "class": "person",
        "verdicts": {
            "distribution": "under",
            "mosaics": "cannot draw",
            "inversions": "cannot draw",
            "start-nearest": "cannot draw",
        },
        "agree": "agree",
    }
    assert unicorn["verdicts"]["inversions"] is None
    assert unicorn["agree"] == "one decides"
    assert study.kept_beside(found, "unicorn", "controls") == "–"
    assert study.kept_beside(None, "person", "controls") == "–"


def test_tables_and_charts_are_made_of_classes_with_and_without_instances(tmp_path: Path) -> None:
    run = study.evidence_numbers(evidence_world())
    untested = {"ratio": 2.0, "interval": [None, None], "spread_ratio": None}
    classes = [
        {"class": "person", "ratio": 0.25, "interval": [0.125, None], "spread_ratio": 0.5},
        {"class": "unicorn", **untested},
    ]
    for row in classes:
        row |= {"presence": [0.5, 0.125], "spread_interval": [0.25, 1.0], "verdict": "under"}
        row |= {"depends_on_threshold": row["class"] == "unicorn"}
    correlation = {"value": 0.875, "interval": [0.75, 1.0]}
    runs = dict.fromkeys(study.RUNS, run)
    numbers = {
        "classes": classes,
        "runs": runs,
        "agreement": study.agreement(classes, runs),
        "thresholds": {"person": []},
        "by_eye": study.calls_by_eye(),
        "losses": {"inversions": {role: {"d": 0.5, "f": 0.25} for role in ROLES}},
        "figure6": {"measured": {"per_dimension": {q: {"f": correlation} for q in "zrx"}}},
    }
    table = study.tables(numbers)
    assert study.NOT_YET not in table
    assert "| hat | 28 to 30 of 48 | 0 to 1 of 48 | 2 to 16 of 48 | 0 to 1 of 48 |" in table
    assert "| person | 50.0 % | 12.5 % | 0.25 [0.12 – ∞] | 0.50 [0.25 – 1.00] | under |" in table
    assert "| unicorn | 50.0 % | 12.5 % | 2.00 | – | under, depends on the threshold |" in table
    assert "| unicorn | 2.00: under | – | – | – | one decides |" in table
    assert "| class | regions | d | f up to layer1 | f up to layer2 | beside controls |" in table
    assert "| person | 2 | 0.00 | 0.00 | 0.25 | 0.25 [0.10 – 0.40] | cannot draw |" in table
    assert "| inversions | 0.5000 | 0.2500 | 0.5000 | 0.2500 |" in table
    assert "| f | 0.875 [0.750 – 1.000] |" in table
    assert [path.stat().st_size > 0 for path in draw_charts(numbers, tmp_path)] == [True] * 3

    few = dict.fromkeys(study.RUNS) | {"mosaics": run | {"curve": run["curve"][:1]}}
    numbers |= {"runs": few, "agreement": study.agreement(classes, few), "figure6": None}
    table = study.tables(numbers)
    assert "*Not measured yet: inversions and start-nearest.*" in table
    assert study.NOT_YET in table
    assert [path.name for path in draw_charts(numbers, tmp_path)] == ["faces_dcgan-agreement.svg"]


def test_committed_numbers_make_the_committed_tables() -> None:
    folder = Path(study.__file__).parent
    numbers = json.loads((folder / "numbers.json").read_text())
    assert study.tables(numbers) == (folder / "tables.md").read_text()


def _wheel(real: Path, folder: Path) -> None:
    """Download the wheel into the study's folder, or skip."""
    script = f'out="{folder}"; . "{Path(study.__file__).parent}/weights.sh"'
    command = ["bash", "-ec", script]
    done = subprocess.run(command, env=environment(real), capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the wheel of generateme cannot be downloaded: {done.stderr.strip()[-200:]}")


@pytest.mark.real
def test_the_small_form_makes_numbers_tables_and_charts(real_inputs: Path, tmp_path: Path) -> None:
    _wheel(real_inputs, tmp_path)
    run_study("faces_dcgan", real_inputs, tmp_path, 24)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["images"] == [24, 24]
    for run in numbers["runs"].values():
        assert run["photographs"] >= 1
        assert run["controls"] >= 1
    assert set(numbers["figure6"]["measured"]["pooled"]["x"]) == set("abcdef")
    assert study.tables(numbers) == (tmp_path / "tables.md").read_text()
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == [
        "faces_dcgan-agreement.svg",
        "faces_dcgan-curve.svg",
        "faces_dcgan-methods.svg",
    ]
