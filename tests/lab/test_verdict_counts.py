import csv
import json
from pathlib import Path

import pytest
import torch
from lab.verdict_counts import EvidenceBench, Subject, choose, cut_rule, measure_evidence
from lab.verdict_counts_report import Candidate, Row, aims, evidence_markdown, summarise
from safetensors.torch import save_file
from torch import nn

from unseen.core.errors import SpecError
from unseen.generators import load_generator
from unseen.generators.progan import ProGAN
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import write_inverter
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.layers import split_generator


def candidate(depth, controls, regularisation=1.0, lost=()):
    return Candidate(
        cut=f"layer{depth}",
        depth=depth,
        perturbed="all",
        regularisation=regularisation,
        controls=controls,
        photographs=0.5,
        lost=lost,
    )


def test_the_choice_is_the_smallest_searched_set_that_is_large_enough():
    best = candidate(2, 0.85, regularisation=10.0)
    candidates = [
        candidate(1, 0.79),
        candidate(2, 0.9),
        best,
        candidate(2, 0.6, regularisation=100.0),
        candidate(2, 0.9, regularisation=30.0, lost=("car",)),
        candidate(4, 0.99, regularisation=100.0),
    ]
    assert choose(candidates) == best
    assert cut_rule(best, "full").startswith("the smallest searched set (the earliest cut")
    assert "(here 0.85: all up to layer2, λ_reg 10)" in cut_rule(best, "full")


def test_where_no_set_is_large_enough_the_one_that_loses_least_is_taken_and_the_rule_says_so():
    losing = [candidate(1, 0.9, lost=("car", "door")), candidate(2, 0.85, lost=("car",))]
    assert choose([*losing, candidate(1, 0.3)]) == losing[1]
    assert cut_rule(losing[1], "full").startswith("there is no searched set whose controls retain")
    failing = [candidate(1, 0.3), candidate(4, 0.6)]
    assert choose(failing) == failing[1]


def row(subject, seed, name, verdict, retained, *, drawn=1.0, planted=False):
    return Row(
        subject=subject,
        seed=seed,
        name=name,
        verdict=verdict,
        images=6,
        instances=8,
        retained=retained,
        controls=0.9,
        p_value=0.01,
        real_presence=0.2,
        generated_presence=0.2 * drawn,
        planted=planted,
    )


ROWS = [
    row("full", 1, "car", "can draw", 0.6),
    row("full", 2, "car", "undecided", 0.8),
    row("full", 1, "lamp", "cannot draw", 0.1, drawn=0.3),
    row("full", 1, "tree", "can draw", 0.9),
    row("full", 2, "tree", "cannot draw", 0.2),
    row("planted", 1, "car", "cannot draw", 0.1, drawn=0.0, planted=True),
    row("planted", 2, "car", "undecided", 0.3, drawn=0.0, planted=True),
]


def test_aims_count_seeds_and_compare_retention_with_the_first_generators():
    car, full, planted = aims(ROWS, ["full", "planted"])
    # 0.2 of 0.7 is 0.29
    assert car == (
        "car, planted in planted: cannot draw in 1 of 2 seeds; retained 0.20 where full retains "
        "0.70: 0.29 of it (aim at most a third: reached)"
    )
    # lamp is drawn at 30 %: calling it is no mistake; tree is
    assert full.startswith("full draws 2 classes at 80 % or more of their real presence; in 1 of 2")
    assert full.endswith("(tree)")
    assert "planted draws 0 classes" in planted


def test_the_share_of_another_generators_retention_has_an_interval_where_there_are_five_seeds():
    rows = []
    for seed in range(20):
        kept = 0.1 + 0.02 * (seed % 2)  # means 0.11 and 0.44: a quarter
        rows.append(row("full", seed, "car", "undecided", 4 * kept + 0.1 * (seed % 3 - 1)))
        rows.append(row("planted", seed, "car", "cannot draw", kept, drawn=0.0, planted=True))
    car = aims(rows, ["full", "planted"])[0]
    low, high = map(float, car.split("[")[1].split("]")[0].split(", "))
    assert 0.2 < low < 0.25 < high < 0.3
    assert "[" not in aims(rows[:8], ["full", "planted"])[0]


def test_summaries_are_means_over_seeds_and_the_account_has_a_table_each():
    tree = next(one for one in summarise(ROWS) if one.name == "tree")
    assert tree.retained == pytest.approx(0.55)
    assert tree.verdicts == {"can draw": 1, "cannot draw": 1}
    text = evidence_markdown([candidate(1, 0.9)], candidate(1, 0.9), "rule", ROWS, ["full"])
    assert "| car | 20.0 % | 100 % | 0.70 | 0.90 | – | 0 | 1 | 1 | 0 |" in text
    assert "| all up to layer1, λ_reg 1 | 0.900 | 0.500 | – | chosen |" in text


def mosaic(window, lost=(), samples=1000, controls=0.85):
    return Candidate(samples=samples, window=window, controls=controls, photographs=0.4, lost=lost)


def test_of_mosaics_the_fewest_samples_and_largest_window_that_lose_nothing_drawn_are_taken():
    best = mosaic(0.03)
    losing = [mosaic(0.05, lost=("car",)), mosaic(0.02, samples=500, controls=0.79)]
    assert choose([mosaic(0.02), best, mosaic(0.05, samples=2000), *losing]) == best
    assert cut_rule(best, "full").startswith(
        "the smallest searched set (the fewest samples, there the largest window) whose controls "
        "retain 0.8 on average, and that loses no class which full draws at 0.5 of its real "
        "presence or more (here 0.85: 1,000 samples, a window of 0.03)"
    )


def test_the_bench_of_mosaics_needs_no_inverter_and_counts_verdicts_as_the_other_does(tmp_path):
    task = EvidenceBench(
        out=tmp_path,
        subjects=[Subject(name="full", generator="churchyard-full")],
        methods=("nearest",),
        samples=(12,),
        windows=(0.03,),
        seeds=1,
        first_seed=40_000,
        classes=("tree",),
        by_class=1,
        development_by_class=1,
        pool=12,
        presence_count=8,
        workers=0,
    )
    paths = list(measure_evidence(task))
    assert paths[-1].name == "evidence.png"
    rows = list(csv.DictReader((tmp_path / "verdicts.csv").read_text().splitlines()))
    assert {(one["seed"], one["name"]) for one in rows} == {("40000", "tree")}
    assert all(0 <= float(one["reference"]) <= 1 for one in rows)
    assert "| 12 samples, a window of 0.03 |" in (tmp_path / "evidence.md").read_text()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained generator of churchyard size, and an inverter that knows nothing."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = ProGAN((8, 8, 8, 8, 8, 8))
    with torch.no_grad():
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3 if parameter.ndim == 1 else 1.0)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / "generator.safetensors")
    generator = load_generator(f"progan:{folder / 'generator.safetensors'}")
    small = Architecture(width=4, largest_width=8, blocks=1, last_blocks=1)
    inverter = Inverter(split_generator(generator, "layer4").shapes, small, {"spec": "tiny"})
    write_inverter(inverter.eval(), folder / "inverter.safetensors")
    return folder


@pytest.mark.slow
def test_the_bench_of_searches_that_begin_at_the_nearest_sample_needs_no_inverter(
    weights, tmp_path
):
    task = EvidenceBench(
        out=tmp_path,
        subjects=[
            Subject(name="full", generator=f"progan:{weights / 'generator.safetensors'}"),
        ],
        start="nearest",
        cuts=("layer1",),
        perturbed=("all",),
        regularisations=(1.0,),
        seeds=1,
        by_class=1,
        development_by_class=1,
        pool=8,
        presence_count=8,
        steps=1,
        methods=("d", "f"),
        workers=0,
    )
    assert list(measure_evidence(task))[-1].name == "evidence.png"
    record = json.loads(
        (tmp_path / "reporting" / "full" / "seed-30003" / "inversions.json").read_text()
    )
    assert record["provenance"]["settings"]["f"]["start"] == "nearest"
    assert record["provenance"]["inverter"] is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_bench_on_an_untrained_generator_and_again_without_inverting(
    weights, tmp_path, monkeypatch
):
    subject = {
        "generator": f"progan:{weights / 'generator.safetensors'}",
        "inverter": str(weights / "inverter.safetensors"),
    }
    task = EvidenceBench(
        out=tmp_path,
        subjects=[
            Subject(name="full", **subject),
            Subject(name="planted", without=("car",), **subject),
        ],
        cuts=("layer1", "layer2"),
        perturbed=("all",),
        regularisations=(1.0,),
        seeds=1,
        by_class=1,
        development_by_class=1,
        pool=8,
        presence_count=8,
        steps=1,
        methods=("d", "f"),
        workers=0,
    )
    said: list[str] = []
    paths = list(measure_evidence(task, said.append))
    assert [path.name for path in paths] == [
        "development.csv",
        "verdicts.csv",
        "evidence.md",
        "evidence.svg",
        "evidence.png",
    ]
    rows = list(csv.DictReader((tmp_path / "verdicts.csv").read_text().splitlines()))
    assert {one["subject"] for one in rows} == {"full", "planted"}
    assert {one["seed"] for one in rows} == {"30003"}
    developed = (tmp_path / "development.csv").read_text().splitlines()
    assert [one["cut"] for one in csv.DictReader(developed)] == ["layer1", "layer2"]
    record = json.loads(
        (tmp_path / "reporting" / "planted" / "seed-30003" / "evidence.json").read_text()
    )
    assert "on which nothing is reported" in record["cut_rule"]
    assert record["selection"]["pool"] == 8
    assert len([one for one in record["methods"] if one["method"] == "f"]) == 2  # the curve
    before = {path.name: path.read_bytes() for path in paths}
    monkeypatch.setattr("unseen.inversion.invert._Run._invert", None)  # nothing is inverted again
    monkeypatch.setattr("unseen.instance_evidence.measuring.evidence", None)
    assert {path.name: path.read_bytes() for path in measure_evidence(task)} == before


def test_a_bench_without_anything_to_measure_is_refused(tmp_path: Path):
    with pytest.raises(
        SpecError, match=r"a generator, method f \(or nearest alone\), a cut and a seed are needed"
    ):
        EvidenceBench(out=tmp_path, subjects=[])
    with pytest.raises(SpecError, match="seed 20002 is the one on which the choice is made"):
        EvidenceBench(
            out=tmp_path, subjects=[Subject(name="full", generator="full")], first_seed=20_000
        )
